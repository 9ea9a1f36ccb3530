"""The masks that a network says of image files, at the size of each file."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ..data.mask_classes import MaskClasses
from ..data.mask_files import box_in, image_sides
from ..data.volumes import is_volume
from ..names import join_names
from .output_file import replaced

SHARES = "shares.csv"
"""The file beside the masks with the share of each class."""


def sides_of(path: Path, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the sides of an image file, or of a volume if a network of that shape takes such."""
    if is_volume(shape):
        return np.load(path, mmap_mode="r", allow_pickle=False).shape[:3]
    return image_sides(path, shape[-1])


def restored(probabilities: np.ndarray, sides: tuple[int, ...]) -> np.ndarray:
    """Return the likeliest class of each pixel of an image, at its own size, uint8.

    What the network was given beside the image is left out, and the probabilities are interpolated
    (bilinear). Volumes keep their scale.

    Args:
        probabilities: ``[H, W, K]``, or ``[D, H, W, K]``.
        sides: of the image, ``(h, w)``, or of the volume.
    """
    whole = probabilities.shape[:-1]
    if len(sides) == 3:
        starts = [(n - own) // 2 for n, own in zip(whole, sides, strict=True)]
        inside = tuple(slice(s, s + own) for s, own in zip(starts, sides, strict=True))
        return probabilities[inside].argmax(-1).astype(np.uint8)
    inside = probabilities[box_in(sides, whole)]
    best, found = np.full(sides, -np.inf, np.float32), np.zeros(sides, np.uint8)
    for c in range(probabilities.shape[-1]):  # one after another: images may be large
        plane = Image.fromarray(np.ascontiguousarray(inside[..., c], np.float32))
        values = np.asarray(plane.resize(sides[::-1], Image.Resampling.BILINEAR))
        larger = values > best
        found[larger], best = c, np.maximum(best, values)
    return found


def mask_paths(
    files: Sequence[Path], given: Sequence[Path], folder: Path, suffix: str
) -> list[Path]:
    """Return where the mask of each file goes: to the path that it has below the folder that was
    given, or to its name.

    ValueError if the folder is not empty, or two files would have the same mask.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"`output` {folder} must be a new or empty folder: it is there already")
    folders = [path for path in given if path.is_dir()]
    found: dict[Path, Path] = {}
    for file in files:
        above = next((path for path in folders if file.is_relative_to(path)), file.parent)
        target = folder / file.relative_to(above).with_suffix(suffix)
        if target in found:
            raise ValueError(
                f"`output`: {join_names([str(found[target]), str(file)])} would have the same mask "
                f"{target}: predict them into different folders"
            )
        found[target] = file
    return list(found)


def write_mask(path: Path, label: np.ndarray, classes: MaskClasses, colors: np.ndarray) -> None:
    """Write a mask of class indices, whole or not at all: a PNG in the values of the masks of the
    training, those of indices with a palette of ``colors``, or a ``.npy`` file of a volume."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = classes.stored(label)
    with replaced(path) as beside, beside.open("wb") as file:
        if path.suffix == ".npy":
            np.save(file, stored)
            return
        image = Image.fromarray(stored)
        if classes.values == tuple(range(len(classes.values))):
            image.putpalette(np.rint(255 * colors).astype(np.uint8).tobytes())
        image.save(file, "PNG")


@contextlib.contextmanager
def whole_folder(folder: Path):
    """Make a folder, and remove it after an error if nothing is in it."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def shares(label: np.ndarray, classes: int) -> np.ndarray:
    """Return the share of each class among the pixels of a mask, float32 ``[classes]``."""
    return (np.bincount(label.ravel(), minlength=classes) / label.size).astype(np.float32)
