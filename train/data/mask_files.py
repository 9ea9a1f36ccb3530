"""Masks in files, at the size of their image and at that which the network is given."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from gconv_jax.export.image_decoders import opened

from .mask_classes import IGNORED


def read_mask(path: Path) -> np.ndarray:
    """Return the values of a mask file, int32 ``[H, W]``: those of a palette are its indices.

    ValueError if it cannot be read, or if it is in color.
    """
    try:
        if path.suffix.lower() == ".npy":
            mask = np.load(path, allow_pickle=False)
        else:
            with Image.open(path) as image:
                mask = np.asarray(ImageOps.exif_transpose(image))
    except Exception as error:  # decoders raise whatever a damaged file makes of them
        known = isinstance(error, OSError) and error.strerror
        raise ValueError(f"it cannot be read ({known or error})") from None
    return mask_values(mask)


def mask_values(mask: np.ndarray) -> np.ndarray:
    """Return the values of a mask without an axis of channels, int32."""
    if mask.ndim == 3 and mask.shape[-1] in (3, 4):
        colors = mask[..., :3]
        if (colors != colors[..., :1]).any():
            raise ValueError("it is in color; masks are PNG of class indices, gray or of a palette")
        mask = mask[..., 0]
    elif mask.ndim == 3 and mask.shape[-1] in (1, 2):  # alpha
        mask = mask[..., 0]
    if mask.ndim not in (2, 3):
        raise ValueError(f"it must be [H, W], or [D, H, W] of a volume, and is {mask.shape}")
    return whole_numbers(mask)


def whole_numbers(mask: np.ndarray) -> np.ndarray:
    """Return integers as int32; ValueError if they are none."""
    if mask.dtype.kind == "f" and (mask == np.rint(mask)).all():
        mask = mask.astype(np.int32)
    if mask.dtype.kind not in "biu":
        raise ValueError(f"its values must be integers, not {mask.dtype}")
    return mask.astype(np.int32)


def image_sides(path: Path | np.ndarray, channels: int) -> tuple[int, int]:
    """Return height and width of an image, upright; ValueError if it cannot be read."""
    try:
        if isinstance(path, Path) and path.suffix.lower() not in (".tif", ".tiff", ".npy"):
            with Image.open(path) as image:  # the header alone
                width, height = image.size
                turned = image.getexif().get(0x0112, 1) >= 5
                return (width, height) if turned else (height, width)
        with opened(path, channels) as file:
            height, width = file.read(None).values.shape[:2]
            return height, width
    except Exception as error:
        raise ValueError(f"cannot read {path} as an image: {error}") from None


def box_in(stored: tuple[int, ...], size: tuple[int, ...]) -> tuple[slice, slice]:
    """Return the rows and columns of an image of size ``(H, W)`` that one of another size fills, as
    `gconv_jax.export.image_files.read_image` scales and places it.

    >>> box_in((10, 20), (8, 8))
    (slice(2, 6, None), slice(0, 8, None))
    """
    (h, w), (height, width) = stored, size
    scale = min(width / w, height / h)
    rows, columns = max(1, round(scale * h)), max(1, round(scale * w))
    top, left = round((height - rows) / 2), round((width - columns) / 2)
    return slice(top, top + rows), slice(left, left + columns)


def fitted_mask(label: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Return class indices, uint8, at the size of the network: where the image is padded they are
    `IGNORED`. Images are scaled, each pixel to the class of the nearest one; volumes keep theirs.

    Args:
        label: ``[h, w]`` or ``[d, h, w]``.
        size: ``(H, W)`` or ``(D, H, W)``.
    """
    canvas = np.full(size, IGNORED, np.uint8)
    if label.ndim == 3:
        starts = [(whole - own) // 2 for whole, own in zip(size, label.shape, strict=True)]
        canvas[tuple(slice(s, s + n) for s, n in zip(starts, label.shape, strict=True))] = label
        return canvas
    rows, columns = box_in(label.shape, size)
    sides = columns.stop - columns.start, rows.stop - rows.start
    nearest = Image.fromarray(label).resize(sides, Image.Resampling.NEAREST)
    canvas[rows, columns] = np.asarray(nearest)
    return canvas
