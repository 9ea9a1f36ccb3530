"""Checks of a configuration: the types of its values, and its schedule."""

import re
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from ..python_objects import is_object_name
from .networks import is_own, row_of


def is_choice(hint) -> bool:
    """Return whether a type is a ``Literal``."""
    return get_origin(hint) is Literal


def fits(value, hint) -> bool:
    """Return whether a value is of the type of a field. The command line has checked that already,
    but a file or a notebook may hold any value."""
    if get_origin(hint) in (Union, UnionType):
        return any(fits(value, option) for option in get_args(hint))
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(fits(v, get_args(hint)[0]) for v in value)
    if is_choice(hint):
        return isinstance(value, str) and value in get_args(hint)
    if hint in (int, float):
        return isinstance(value, int | hint) and not isinstance(value, bool)
    return isinstance(value, hint)


def check_schedule(config: Any) -> None:
    """Raise ValueError unless the schedule, its milestones and the early stopping of a `Config` go
    together."""
    if config.schedule == "exponential":
        if len(config.milestones) != 1:
            raise ValueError(
                "`milestones` of schedule exponential must be one, the epoch from which on the "
                f"rate falls, e.g. --milestones 15; got {config.milestones}"
            )
    elif (config.schedule == "step") != bool(config.milestones):
        raise ValueError(
            "`milestones` go with schedule step, e.g. --schedule step --milestones 50 100 (and "
            f"--milestones alone for none); got schedule {config.schedule} and milestones "
            f"{config.milestones}"
        )
    if list(config.milestones) != sorted({m for m in config.milestones if m > 0}):
        raise ValueError(f"`milestones` must be positive and rise, got {config.milestones}")
    if config.milestones and config.milestones[-1] >= config.epochs:
        scaled = {
            max(1, m * config.epochs // (2 * config.milestones[-1])) for m in config.milestones
        }
        raise ValueError(
            f"`milestones` {config.milestones} must be below epochs={config.epochs}, or the rate "
            f"never falls; e.g. --milestones {' '.join(map(str, sorted(scaled)))}"
        )
    if config.warmup >= config.epochs:
        raise ValueError(f"`warmup` must be below epochs={config.epochs}, got {config.warmup}")
    if config.patience is not None and not config.validation:
        raise ValueError(
            f"`patience` {config.patience} needs images to choose with: add --validation"
        )
    if config.patience is not None and config.evaluate_every > min(config.patience, config.epochs):
        raise ValueError(
            f"`evaluate_every` {config.evaluate_every} must be at most patience {config.patience} "
            f"and epochs {config.epochs}, or there is nothing to choose between"
        )


def check_feeding(config: Any) -> None:
    """Raise ValueError unless a `Config` can feed its steps as it says."""
    if config.checkpoint_steps is not None and config.loop == "scan":
        raise ValueError(
            f"`checkpoint_steps` {config.checkpoint_steps} needs --loop step: with scan, an "
            "epoch is one dispatch"
        )
    if config.loader == "memory":
        if config.workers:
            raise ValueError(
                f"`workers` {config.workers} is for --loader grain: add that, or leave it out"
            )
        return
    for name, value, why in (
        ("dataset", "digits", "is made in memory: leave out --loader grain"),
        ("preprocess", "whiten", "is fitted to all images in memory: use --preprocess scale"),
        ("memory", "device", "and loader grain exclude each other: leave out one"),
        ("loop", "scan", "needs all images on the device: use --loop step"),
    ):
        if getattr(config, name) == value:
            raise ValueError(f"`{name}` {value} {why}")


def check_adapt(config: Any) -> None:
    """Raise ValueError unless a `Config` says how a network without a group is made equivariant."""
    if config.adapt == "none":
        for name, default in (("adapt_group", "p4"), ("adapt_weight", 1.0)):
            if getattr(config, name) != default:
                raise ValueError(f"`{name}` goes with --adapt symmetrize, canonicalize or penalty")
        return
    takes = row_of(config.model).options
    plain = (None, "z2") if is_own(config.model) else ("z2",)
    own = ("groups" in takes and set(config.groups) != {"z2"}) or (
        "group" in takes and config.group not in plain and not config.groups
    )
    if own:
        option = "--groups z2" if "groups" in takes else "--group z2"
        raise ValueError(
            f"`adapt` {config.adapt} is for networks without a group of their own: {config.model} "
            f"needs {option}"
        )
    if config.adapt == "symmetrize" and config.adapt_weight != 1:
        raise ValueError("`adapt_weight` goes with --adapt canonicalize or penalty")


def check_groups_by(pattern: str | None) -> None:
    """Raise ValueError unless the groups of images are found by a regular expression."""
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise ValueError(
            f"`groups_by` {pattern!r} is no regular expression ({error}), such as "
            "'(patient[0-9]+)_'"
        ) from None


def check_on_epoch(text: str | None) -> None:
    """Raise ValueError unless the function that is called after each epoch is named by its file or
    module."""
    if text is not None and not is_object_name(text):
        raise ValueError(
            "`on_epoch` must be FILE.py:FUNCTION or MODULE:FUNCTION, such as track.py:log, got "
            f"{text!r}"
        )
