"""Volumes of one's own: which network takes them, and the range of their brightness."""

import math
from typing import Any

import numpy as np

from gconv_jax.export.brightness import sample

from ..config import Config
from ..names import join_names
from ..options.networks import NETWORKS, PLANE, SPACE, dimension_of, is_own
from .held_out import divide
from .listing import Listing
from .reading import Reading, described, number
from .sources import Source
from .survey import Look, automatic_range

LEVELS = 16
"""The number of different values up to which volumes are masks or labels, whose span is shown."""
_SAMPLES = 2**22


def is_volume(shape: Any) -> bool:
    """Return whether a shape is that of one volume, ``(D, H, W, C)``, and not of an image."""
    return len(shape) == 4


def of_volumes(results: dict) -> bool:
    """Return whether the results of a run are of a network for volumes."""
    return is_volume(results.get("input", {}).get("shape", ()))


def require_dimension(config: Config, source: Source) -> None:
    """ValueError unless the network takes what there is: images or volumes."""
    if source.volume is None:
        if dimension_of(config.model, config.group) == SPACE:
            raise ValueError(
                f"`model` {config.title} is for volumes, and {config.data} has images; a volume "
                "with at most 16 voxels on its last axis needs an axis of channels behind it, "
                "[n, D, H, W, 1]"
            )
        return
    if dimension_of(config.model, config.group) == PLANE:
        if is_own(config.model):
            raise ValueError(
                f"`data` {config.data} has volumes: add --group z3 to say that {config.title} "
                "takes them, or a group of the cube, such as octahedral"
            )
        masks = config.task == "segmentation"
        fitting = [n for n, of in NETWORKS.items() if SPACE in of.dimensions]
        others = join_names([name for name in fitting if NETWORKS[name].segments == masks])
        recipe = "folder-voxel-masks" if masks else "folder-voxels"
        raise ValueError(
            f"`data` {config.data} has volumes, and {config.title} is for images: name the recipe "
            f"{recipe}, or --group octahedral with one of the models {others}"
        )
    channels = source.volume[-1]
    if config.channels not in ("auto", channels):
        raise ValueError(
            f"`channels` {config.channels} is for images: volumes keep theirs, here {channels}; "
            "leave it out"
        )


def survey_volumes(config: Config, source: Source, found: Listing) -> tuple[Reading, list[str]]:
    """Return how volumes are to be read, and lines for the user.

    If the training volumes have few different values, as masks and labels do, the least becomes
    black and the greatest white. Others are as images are: 8 bits stay as they are, and the range
    of deeper ones is found from the training volumes.
    """
    block = _block(config, source)
    notes = _border(config, source, block)
    if config.range != "auto":
        reading = Reading(range=config.range, block=block)
        return reading, [described(reading), *notes]
    parts = divide(config, None, found, {})
    training = [file.name for file in found.files if parts[file.name] == "train"]
    levels = _levels(source, training)
    if levels is not None and len(levels) > 1:
        low, high = float(levels[0]), float(levels[-1])
        kind = f"{len(levels)} different values, {number(low)} to {number(high)}"
        reading = Reading(range=(low, high), block=block)
        return reading, [f"the training volumes have {kind}: these become 0 to 255", *notes]
    most = max(64, _SAMPLES // max(1, len(training)))
    looks = {name: _look(source.item(name), most) for name in training}  # pyright: ignore[reportArgumentType]
    reading, told = automatic_range(config, looks, list(looks.values()))
    return reading._replace(block=block), [*told, *notes]


def volume_shape(config: Config, source: Source) -> tuple[int, ...] | None:
    """Return the shape ``(D, H, W, C)`` of what a network is given; None of images."""
    if source.volume is None or config.image_size is None:
        return source.volume
    return (*(config.image_size,) * 3, source.volume[-1])


def _block(config: Config, source: Source) -> int | None:
    """Return the side of the blocks whose mean is one voxel, so that the longest side of a volume
    fits; None if volumes keep their scale."""
    if config.image_size is None or source.stored is None:
        return None
    block = math.ceil(max(source.stored[:3]) / config.image_size)
    return None if block == 1 else block


def _border(config: Config, source: Source, block: int | None) -> list[str]:
    """Return a line on the border that volumes are given, and on their scale, if they change."""
    own, given = source.stored, volume_shape(config, source)
    if given is None or own is None:
        return []
    shapes = own[:3], tuple((block or 1) * side for side in given[:3]), given[:3]
    sides = [" x ".join(map(str, shape)) for shape in shapes]
    notes = []
    if shapes[0] != shapes[1]:
        notes.append(
            f"volumes of {sides[0]} voxels are put in the middle of {sides[1]}, on the median of "
            "their surface: a cube whose side is a multiple of 4 keeps the network equivariant"
        )
    if block is not None:
        voxels = " x ".join([str(block)] * 3)
        notes.append(f"each block of {voxels} voxels becomes one, their mean: {sides[2]} voxels")
    return notes


def _levels(source: Source, names: list[str]) -> np.ndarray | None:
    """Return the different values of some volumes; None if there are too many."""
    found = np.empty(0)
    for name in names:
        found = np.union1d(found, np.unique(np.asarray(source.item(name))))
        if len(found) > LEVELS or not np.isfinite(found).all():
            return None
    return found


def _look(stored: np.ndarray, most: int) -> Look:
    kind = "floating-point numbers" if stored.dtype.kind == "f" else f"{8 * stored.itemsize} bits"
    if stored.dtype == np.uint8:
        return Look(False, kind)
    finite = stored[np.isfinite(stored)]
    extremes = (float(finite.min()), float(finite.max())) if finite.size else None
    return Look(True, kind, extremes, sample(finite, most).astype(np.float64))
