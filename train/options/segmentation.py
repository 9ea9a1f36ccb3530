"""Checks of a configuration whose network gives a class for each pixel."""

from typing import Any

from .networks import is_own, row_of, segmenting_networks

_OF_IMAGES = {
    "loss": ("auto", "cross-entropy", "focal", "dice"),
    "sampling": ("plain",),
    "metric": ("accuracy", "loss", "dice", "iou"),
    "adapt": ("none", "symmetrize"),
}
"""Options -> the values that they may have with masks."""


def check_segmentation(config: Any) -> None:
    """Raise ValueError unless the network of a `Config`, its loss and what chooses the epoch are
    all of masks, or none of them is."""
    known, title = segmenting_networks(), config.title
    segments = row_of(config.model).segments
    if config.task != "segmentation":
        if segments:
            raise ValueError(
                f"`model` {title} gives a class for each pixel: add --task segmentation, or choose "
                "a network that gives one for the image"
            )
        for name in ("loss", "metric"):
            if getattr(config, name) not in ("dice", "iou"):
                continue
            raise ValueError(
                f"`{name}` {getattr(config, name)} is for masks: add --task segmentation"
            )
        return
    if not segments and not is_own(config.model):
        raise ValueError(
            f"`model` {title} gives one class for an image, and --task segmentation needs one for "
            f"each pixel: choose {' or '.join(known)}"
        )
    for name, allowed in _OF_IMAGES.items():
        if (value := getattr(config, name)) not in allowed:
            raise ValueError(
                f"`{name}` {value} is not for masks (--task segmentation): use "
                f"{' or '.join(allowed)}"
            )
