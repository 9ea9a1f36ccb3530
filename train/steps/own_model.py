"""A model of the user's own: a class or function that returns a Flax module, and its arguments."""

import inspect
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen, nnx

from gconv_jax import FiniteGroup, LieGroup
from gconv_jax.models import LinenModel

from ..config import Config
from ..options.networks import is_own
from ..options.own_model import GroupName, parse_arguments
from ..options.plain import TRANSLATIONS
from ..python_objects import load_object, source_file

Groups = Mapping[str, FiniteGroup | LieGroup]
_KINDS = "an nnx.Module or a linen.Module"


class Signature(NamedTuple):
    """The arguments that a model takes by name."""

    names: tuple[str, ...]
    required: tuple[str, ...]
    open: bool
    """True if it takes any others, too."""


def load_own(config: Config) -> tuple[Callable, Signature]:
    """Return the class or function that ``--model`` names, and what it takes.

    Raises:
        ValueError: it is not there, is no class or function, or does not take the arguments that
            the configuration has.
    """
    found = load_object("model", config.model, "class or function")
    if isinstance(found, nnx.Module | linen.Module):
        raise ValueError(
            f"`model` {config.model} is a module that is made already: name its class, or a "
            "function that returns it"
        )
    if isinstance(found, type) and not issubclass(found, nnx.Module | linen.Module):
        raise ValueError(f"`model` {config.model} is a class, but not of {_KINDS}")
    takes = signature(found)
    given = parse_arguments(config.model_args)
    unknown = [name for name in given if name not in takes.names and not takes.open]
    if unknown:
        known = ", ".join(takes.names) or "none"
        raise ValueError(f"`model_args` {unknown[0]}: {config.model} takes {known}")
    set_by_options = {
        "group": None if config.group in TRANSLATIONS else config.group,
        "width": config.width,
        "dtype": None if config.dtype == "float32" else config.dtype,
    }
    for name, value in set_by_options.items():
        if value is not None and name not in takes.names:
            raise ValueError(f"`{name}` {value}: {config.model} takes no argument {name}")
    return found, takes


def require_own(config: Config, *, plain: bool = False) -> None:
    """Raise the errors of `load_own` if the model is the user's own.

    With ``plain`` it must take a group and a width, from which a plain network of as many
    parameters is made.
    """
    if not is_own(config.model):
        return
    _, takes = load_own(config)
    missing = [name for name in ("group", "width") if name not in takes.names]
    if plain and missing:
        raise ValueError(
            f"`compare_plain` makes the plain network by group=z2 and another width, and "
            f"{config.model} takes no argument {' and no '.join(missing)}"
        )


def signature(found: Callable) -> Signature:
    """Return the arguments of a class or function that can be given by name.

    >>> def small(*, depth, classes=10): ...
    >>> signature(small)
    Signature(names=('depth', 'classes'), required=('depth',), open=False)
    """
    of_class = isinstance(found, type)
    # The metaclass of Flax hides what __init__ takes.
    parameters = list(inspect.signature(found.__init__ if of_class else found).parameters.values())
    parameters = parameters[1:] if of_class else parameters
    of_linen = of_class and issubclass(found, linen.Module)
    named = [
        p
        for p in parameters
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        and not (of_linen and p.name in ("parent", "name"))
    ]
    required = [p.name for p in named if p.default is p.empty]
    is_open = any(p.kind == p.VAR_KEYWORD for p in parameters)
    return Signature(tuple(p.name for p in named), tuple(required), is_open)


def build_own(
    config: Config, groups: Groups, *, classes: int, image_shape: tuple[int, ...]
) -> nnx.Module:
    """Return the user's model as an NNX module, with the initial parameters of ``config.seed``.

    Args:
        config: names the model and its arguments.
        groups: the groups by the names that arguments have.
        classes: the classes to tell apart.
        image_shape: the shape of an image, ``(H, W, C)``, or of a volume, ``(D, H, W, C)``.

    Raises:
        ValueError: the model lacks an argument, cannot be built, cannot be called with such images,
            or returns something else than an output for each class.
    """
    found, takes = load_own(config)
    rngs = nnx.Rngs(config.seed)
    offered: dict[str, Any] = {
        "rngs": rngs,
        "classes": classes,
        "num_classes": classes,
        "in_features": image_shape[-1],
        "image_shape": image_shape,
        "dtype": jnp.dtype(config.dtype),
    }
    if config.group is not None:
        offered["group"] = groups[config.group]
    if config.width is not None:
        offered["width"] = config.width
    arguments = {name: value for name, value in offered.items() if name in takes.names}
    given = parse_arguments(config.model_args)
    arguments |= {name: _with_groups(value, groups) for name, value in given.items()}
    missing = [name for name in takes.required if name not in arguments]
    if missing:
        remedy = f"--{missing[0]}" if missing[0] in ("group", "width") else "--model-args"
        raise ValueError(f"`model` {config.model} needs {', '.join(missing)}: add {remedy}")
    try:
        model = found(**arguments)
        if isinstance(model, linen.Module):
            model = LinenModel(model, image_shape, rngs=rngs)
    except Exception as error:
        where = _where(error, config)
        raise ValueError(f"`model` {config.model} cannot be built: {where}") from error
    if not isinstance(model, nnx.Module) or not callable(model):
        raise ValueError(f"`model` {config.model} must give {_KINDS}, got {type(model).__name__}")
    _check_calls(model, config, classes, image_shape)
    return model


def _with_groups(value: Any, groups: Groups) -> Any:
    if isinstance(value, tuple):
        return tuple(_with_groups(part, groups) for part in value)
    return groups[value] if isinstance(value, GroupName) else value


def _check_calls(
    model: nnx.Module, config: Config, classes: int, image_shape: tuple[int, ...]
) -> None:
    """Raise ValueError unless the model can be called in training and evaluation; nothing is
    computed."""
    text = f"`model` {config.model}"
    if not jax.tree.leaves(nnx.state(model, nnx.Param)):
        raise ValueError(f"{text} has no parameters (nnx.Param)")
    for mode in ("train", "eval"):
        one = nnx.clone(model)
        getattr(one, mode)()
        try:
            y, before, after = nnx.eval_shape(_called, one, jnp.zeros((2, *image_shape)))
        except Exception as error:
            axes = ", ".join(map(str, image_shape))
            raise ValueError(
                f"{text} fails on images [N, {axes}] ({mode}): {_where(error, config)}"
            ) from error
        pixels = image_shape[:-1] if config.task == "segmentation" else ()
        wanted = (2, *pixels, classes)
        if not isinstance(y, jax.ShapeDtypeStruct) or y.shape != wanted:
            got = f"shape {y.shape}" if hasattr(y, "shape") else type(y).__name__
            raise ValueError(
                f"{text} must return [N, {', '.join(map(str, wanted[1:]))}], a number for each "
                f"class{' of each pixel' if pixels else ''}, and returned {got} for N = 2"
            )
        if not jnp.issubdtype(y.dtype, jnp.floating):
            raise ValueError(f"{text} must return floating numbers, got {y.dtype}")
        if jax.tree.structure(before) != jax.tree.structure(after) or [
            (a.shape, a.dtype) for a in jax.tree.leaves(before)
        ] != [(a.shape, a.dtype) for a in jax.tree.leaves(after)]:
            raise ValueError(
                f"{text} has other variables after a call than before ({mode}), for example those "
                "of sow: a step must leave them as they are, or change their numbers alone"
            )


def _called(model: Any, x: jax.Array) -> tuple[Any, nnx.State, nnx.State]:
    before = jax.tree.map(lambda a: a, nnx.state(model))
    y = model(x)
    return y, before, nnx.state(model)


def _where(error: Exception, config: Config) -> str:
    """Return the first line of an error, and where in the file of the model it was raised."""
    lines = str(error).strip().splitlines() or [""]
    text = f"{type(error).__name__}: {lines[0]}" if lines[0] else type(error).__name__
    source = source_file(config.model)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if source and Path(frame.filename) == source]
    return f"{text} ({source.name}, line {own[-1].lineno})" if own and source else text
