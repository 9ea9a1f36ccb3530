"""Checks of a configuration whose network is for volumes."""

from typing import Any

from .images import FOLDER
from .networks import SPACE, dimension_of

MULTIPLE = 4
"""The sides of volumes are multiples of it: networks halve them twice."""

_REMEDIES = {
    "augment": (("none", "rotate"), "use rotate, which turns volumes as the cube does, or none"),
    "preprocess": (("scale",), "use --preprocess scale"),
    "adapt": (("none",), "leave it out, and choose --group"),
    "angles": ((None,), "volumes are turned by quarter turns: leave it out"),
}
"""Options -> the values that volumes may have, and what to do."""


def check_volumes(config: Any) -> None:
    """Raise ValueError if the network of a `Config` is for volumes, and an option is not."""
    if dimension_of(config.model, config.group) != SPACE:
        return
    if config.dataset != FOLDER:
        raise ValueError(
            f"`model` {config.title} is for volumes of your own (--data FILE.npz), not for the "
            f"images of {config.dataset}"
        )
    if config.image_size is not None and config.image_size % MULTIPLE:
        raise ValueError(
            f"`image_size` {config.image_size} must be a multiple of {MULTIPLE}, since networks "
            "halve volumes twice"
        )
    if config.image_size is not None and config.task == "segmentation":
        raise ValueError(
            f"`image_size` {config.image_size} is for volumes with classes or numbers: the mean of "
            "a block has no class of its own, so leave it out"
        )
    for name, (allowed, remedy) in _REMEDIES.items():
        if (value := getattr(config, name)) not in allowed:
            raise ValueError(
                f"`{name}` {value} is for images, and {config.title} takes volumes: {remedy}"
            )
