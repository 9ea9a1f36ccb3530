"""The options of a model of the user's own: ``--model FILE.py:NAME`` and ``--model-args``.

Nothing is imported here: `train.steps.own_model` does that.
"""

import json
import re
from typing import Any, get_args

from ..python_objects import is_object_name, split_name
from .network import Group
from .networks import DEFAULTS, Model, is_own

HANDED_OVER = {
    "rngs": "--seed",
    "classes": "the images",
    "num_classes": "the images",
    "in_features": "the images",
    "image_shape": "the images",
    "dtype": "--dtype",
    "width": "--width",
    "group": "--group",
}
"""The arguments that the program gives a model which takes them, and what they follow."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WORDS = {"true": True, "false": False, "null": None, "none": None}
_OF_GROUPS = re.compile(r"(.+_)?(sub)?groups?")


def check_own_model(config: Any) -> None:
    """Raise ValueError unless a `Config` names a network of the table, or a model of the user's own
    whose arguments can be read."""
    if not is_own(config.model):
        if config.model not in get_args(Model):
            raise ValueError(
                f"`model` must be one of {', '.join(get_args(Model))}, or FILE.py:NAME or "
                f"MODULE:NAME for one of your own; got {config.model!r}"
            )
        if config.model_args:
            raise ValueError(
                "`model_args` are for a model of your own (--model FILE.py:NAME), not for "
                f"{config.model}"
            )
        return
    if not is_object_name(config.model):
        raise ValueError(
            "`model` of your own must be FILE.py:NAME or MODULE:NAME, such as net.py:Net, got "
            f"{config.model!r}"
        )
    parse_arguments(config.model_args)


def own_name(model: str) -> str:
    """Return the name of a network in tables: of a model of the user's own, that of its class."""
    return split_name(model)[1] if is_own(model) else model


def without_network_options() -> dict[str, Any]:
    """Return the options of networks with the values that stand for none: those of a recipe are of
    its own network."""
    return DEFAULTS | {"width": None}


def parse_arguments(words: tuple[str, ...]) -> dict[str, Any]:
    """Return the arguments of ``--model-args`` by name; groups are `GroupName`.

    ValueError names the word that cannot be read.

    >>> parse_arguments(("depth=3", "rates=[0, .5]", "act=relu", "bias=false", "subgroup=p4"))
    {'depth': 3, 'rates': (0, 0.5), 'act': 'relu', 'bias': False, 'subgroup': GroupName('p4')}
    """
    found: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key.isidentifier():
            raise ValueError(f"`model_args` must be KEY=VALUE, such as depth=3, got {word!r}")
        if key in HANDED_OVER:
            raise ValueError(f"`model_args` {key} follows {HANDED_OVER[key]}: leave out {word!r}")
        if key in found:
            raise ValueError(f"`model_args` has {key} twice: leave out {word!r}")
        try:
            value = parse_value(text)
        except ValueError as error:
            raise ValueError(f"`model_args` {word!r} cannot be read: {error}") from None
        found[key] = _groups(key, value) if _OF_GROUPS.fullmatch(key) else value
    return found


class GroupName(str):
    """The name of a group among the arguments, in place of which the model is given the group."""

    def __repr__(self) -> str:
        return f"GroupName({super().__repr__()})"


def parse_value(text: str) -> Any:
    """Return a number, true or false, none, a string, or a tuple of those from ``[..., ...]``.

    Strings need no quotes, unless they read as something else.

    >>> parse_value("1e-3"), parse_value("[p4m, [1, 2]]"), parse_value('"3"'), parse_value("none")
    (0.001, ('p4m', (1, 2)), '3', None)
    """
    text = text.strip()
    if text.startswith("["):
        if not text.endswith("]"):
            raise ValueError("a list must end with ]")
        return tuple(parse_value(part) for part in _parts(text[1:-1]))
    if text[:1] in ('"', "{"):
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = {}
        if isinstance(value, dict):
            raise ValueError("a value is a number, true, false, none, a string or a list")
        return value
    if not text:
        raise ValueError('it is empty; "" is an empty string')
    if _NUMBER.fullmatch(text):
        return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
    return _WORDS.get(text.lower(), text)


def _parts(text: str) -> list[str]:
    """Return what commas outside of brackets and quotes separate."""
    parts, depth, quoted = [""], 0, False
    for character in text:
        quoted ^= character == '"'
        depth += 0 if quoted else (character == "[") - (character == "]")
        if character == "," and not depth and not quoted:
            parts.append("")
        else:
            parts[-1] += character
    if depth or quoted:
        raise ValueError("brackets and quotes must be closed")
    return parts if text.strip() else []


def _groups(key: str, value: Any) -> Any:
    """Return a value in which the names of groups stand for groups; others stay as they are."""
    if isinstance(value, tuple):
        return tuple(_groups(key, part) for part in value)
    if not isinstance(value, str):
        return value
    if value not in get_args(Group):
        known = ", ".join(get_args(Group))
        raise ValueError(f"`model_args` {key} must name a group, one of {known}; got {value!r}")
    return GroupName(value)
