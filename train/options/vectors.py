"""Checks of a configuration whose network predicts vectors, which turn with the image."""

import collections
from typing import Any

from ..names import pluralize
from .networks import SPACE, dimension_of

_WITHOUT_ORIENTATIONS = {
    "p4cnn-rp": "p4cnn",
    "augerino": "p4cnn",
    "ck-resnet": "resnet",
    "gcnn13": "p4cnn",
}
"""Networks whose last feature maps have no axis of a finite group, with others to choose."""
_REMEDIES = {
    "adapt": (("none",), "choose a network over a group, with --group"),
    "head": (("invariant",), "leave it out"),
}
"""Options -> the values that vectors may have, and what to do."""


def check_vectors(config: Any) -> None:
    """Raise ValueError unless the vectors of a `Config` are whole, and its network ends in features
    that vectors can be made of."""
    if not config.vectors:
        return
    said = " ".join(config.vectors)
    if config.task != "regression":
        raise ValueError(f"`vectors` {said} are numbers to predict: add --task regression")
    twice = [name for name, n in collections.Counter(config.vectors).items() if n > 1]
    if twice:
        raise ValueError(f"`vectors` names {twice[0]} twice: name each component once")
    dimension = dimension_of(config.model, config.group)
    if len(config.vectors) % dimension:
        axes = "x, y and z (width, height, depth)" if dimension == SPACE else "x and y"
        what = "a volume" if dimension == SPACE else "an image"
        listed = " (names are separated by spaces)" if "," in said else ""
        raise ValueError(
            f"`vectors` {said} name {pluralize(len(config.vectors), 'component')}{listed}, and a "
            f"vector in {what} has {dimension}: name those along {axes}"
        )
    if config.model in _WITHOUT_ORIENTATIONS:
        raise ValueError(
            f"`vectors` {said} are made of features that have an orientation, and those of "
            f"{config.title} have none at its end: choose --model "
            f"{_WITHOUT_ORIENTATIONS[config.model]}"
        )
    for name, (allowed, remedy) in _REMEDIES.items():
        if (value := getattr(config, name)) not in allowed:
            raise ValueError(f"`{name}` {value} is not for --vectors {said}: {remedy}")
