"""The options of fine-tuning: the weights to start from, and what is trained of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class FineTuningOptions:
    """The part of a `train.config.Config` that decides the weights at the beginning."""

    init: str | None = None
    """Start from the weights of a finished run, of the folder of a saved network, or of a ready
    network by its name, such as blood-p4m. The network and its sizes are those of it; with another
    number of classes, or with vectors, its last layer is new."""
    freeze: tuple[str, ...] = ()
    """Parameters that stay as they are (with init): layers such as lift, or patterns of dotted
    paths such as 'stage0*' '*.norm*'. Frozen batch normalization keeps its statistics, too."""
    head_rate: float = 1.0
    """The learning rate of the last layer, that to the classes, relative to that of the rest (with
    init)."""


def check_fine_tuning(config: Any) -> None:
    """Raise ValueError unless a `Config` says what it starts from, if it says more of that."""
    if config.init == "":
        raise ValueError("`init` must be a run folder, a saved network or a ready one, got ''")
    if config.init is None:
        for name, default in (("freeze", ()), ("head_rate", 1.0)):
            if getattr(config, name) != default:
                raise ValueError(f"`{name}` goes with --init, the weights to start from: add that")
    elif config.compare_plain:
        raise ValueError(
            f"`init` {config.init} has the weights of one network, and --compare-plain trains "
            "three: leave out one"
        )


def is_frozen(path: str, patterns: Iterable[str]) -> bool:
    """Return whether a parameter is in a layer that one of the patterns names, or is named itself.

    >>> [is_frozen("stage0_block1.norm0.scale", (p,)) for p in ("stage0*", "norm0", "*.norm0")]
    [True, False, True]
    """
    return any(fnmatchcase(path, p) or fnmatchcase(path, f"{p}.*") for p in patterns)


def require_matches(patterns: Iterable[str], paths: Iterable[str]) -> None:
    """Raise ValueError unless each pattern freezes some of these parameters, and some are left."""
    paths = list(paths)
    for pattern in patterns:
        if not any(is_frozen(path, (pattern,)) for path in paths):
            layers = ", ".join(dict.fromkeys(path.split(".")[0] for path in paths))
            raise ValueError(
                f"`freeze` {pattern!r} matches no parameter; the network has {layers}, with "
                f"parameters such as {paths[0]}"
            )
    if patterns and all(is_frozen(path, patterns) for path in paths):
        raise ValueError(
            f"`freeze` {' '.join(patterns)} matches all {len(paths)} parameters, and nothing is "
            "left to train: leave out some"
        )


def starting_point(config: Any) -> str:
    """Return in words what a run started from, without the folder that it was in; '' for random
    weights."""
    if config.init is None:
        return ""
    parts = [f"started from the weights of {Path(config.init).name}"]
    if config.freeze:
        parts.append(f"{' '.join(config.freeze)} frozen")
    if config.head_rate != 1:
        parts.append(f"the last layer at {config.head_rate:g} times the rate")
    return ", ".join(parts)
