"""A recipe with the options that a user typed, read in one pass."""

import ast
import dataclasses
import inspect
import itertools
from collections.abc import Sequence
from typing import Annotated, Any, NotRequired, TypedDict, get_args, get_type_hints

import tyro

from ..config import FOLDER, Config, Group
from ..options.networks import NETWORKS, is_own
from ..options.own_model import without_network_options
from ..run_folder.command_line import PROGRAM
from .initial_network import with_initial_network
from .presets import PRESETS, group_of


def configure(name: str, words: Sequence[str]) -> Config:
    """Return the configuration of a recipe, changed by command-line options.

    Args:
        name: One of `PRESETS`.
        words: What is typed after it, such as ``["--epochs", "5"]``.

    Raises:
        ValueError: Options that contradict each other or the network.
        SystemExit: From tyro, after ``--help`` or for options that do not exist.

    >>> config = configure("folder", ["--data", "photos", "--size", "96", "--model", "p4-resnet44"])
    >>> config.image_size, config.model, config.group
    (96, 'resnet44', 'p4')
    """
    description, recipe = PRESETS[name]
    typed = tyro.cli(
        _options(recipe), prog=f"{PROGRAM} {name}", args=words, description=description
    )
    return dataclasses.replace(recipe, **_settings(recipe, dict(typed)))


def _settings(recipe: Config, typed: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of the configuration that are meant by the options that were typed."""
    if isinstance(typed.get("size"), int):  # no size of a network
        if "image_size" in typed:
            raise ValueError(
                f"`size` {typed['size']} is the same as --image-size {typed['image_size']}: leave "
                "out one"
            )
        typed["image_size"] = typed.pop("size")
    for group in get_args(Group):
        if is_own(typed.get("model", "")) or not typed.get("model", "").startswith(f"{group}-"):
            continue
        if "group" in typed:
            raise ValueError(f"`model` {typed['model']} says the group already: leave out --group")
        typed |= {"model": typed["model"].removeprefix(f"{group}-"), "group": group}
        break
    if typed.get("data") is not None:
        typed.setdefault("dataset", FOLDER)
    if typed.get("init"):
        return with_initial_network(typed)
    if is_own(typed.get("model", "")):
        typed = without_network_options() | _with_group(typed)
    elif group_of(recipe.preset) == "folder" and typed.get("model", recipe.model) != recipe.model:
        # The recipe's group and size are those of its own network.
        typed = {"group": None, "blocks": None, "width": None, "patch_size": None} | typed
    return typed


def _with_group(typed: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a model of the user's own, with ``--model-args group=p4`` as
    ``--group p4``."""
    words = typed.get("model_args", ())
    named = [word.partition("=")[2] for word in words if word.startswith("group=")]
    if not named or named[0] not in get_args(Group):
        return typed
    if len(named) > 1 or "group" in typed:
        raise ValueError(f"`model_args` group={named[-1]} says the group again: leave it out")
    rest = tuple(word for word in words if not word.startswith("group="))
    return typed | {"model_args": rest, "group": named[0]}


def _options(recipe: Config) -> type:
    """Return the type from which tyro makes the options: a dictionary of those that are typed,
    whose help shows the values of the recipe."""
    hints = get_type_hints(Config, include_extras=True)
    hints["model"] = Annotated[str, tyro.conf.arg(metavar=f"{{{','.join(NETWORKS)}}}|FILE.py:NAME")]
    choices, *about = get_args(hints["size"])
    hints["size"] = Annotated[choices | int, *about]
    texts = _texts_below_fields()
    fields = {}
    for field in dataclasses.fields(Config):
        shown = tyro.conf.arg(
            help=texts.get(field.name), help_behavior_hint=_shown(getattr(recipe, field.name))
        )
        fields[field.name] = NotRequired[Annotated[hints[field.name], shown]]
    return TypedDict("Options", fields)  # pyright: ignore[reportArgumentType]


def _shown(value: object) -> str:
    """Return the words on a value of the recipe at the end of an option's help."""
    if value is None or value == ():
        return ""  # the help says what happens
    words = " ".join(map(str, value)) if isinstance(value, tuple) else value
    return f"(default: {words})"


def _texts_below_fields() -> dict[str, str]:
    """Return the strings below the fields of the configuration, by field."""
    texts = {}
    for part in filter(dataclasses.is_dataclass, reversed(Config.__mro__)):
        tree = ast.parse(inspect.getsource(part))
        (body,) = [node.body for node in tree.body if isinstance(node, ast.ClassDef)]
        for field, text in itertools.pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                name, value = ast.unparse(field.target), ast.literal_eval(text.value)
                texts[name] = " ".join(value.split())
    return texts
