"""Many small pictures in one PNG file, as text inside a page."""

import base64
import io
import math
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from .shown_channels import shown_channels

LARGEST_TILE = 32
"""Pixels of a picture; larger ones are shown smaller."""
LEVELS = 7
"""The levels of color on either side of 0: with 16 in all, a pixel is half a byte."""
BETWEEN = 2 * LEVELS + 1
NEGATIVE, POSITIVE = (222, 62, 74), (38, 120, 205)


def downscale(images: np.ndarray, largest: int = LARGEST_TILE) -> np.ndarray:
    """``[N, h, w, ...]`` as it is, or resampled to ``largest`` pixels if it is larger."""
    shape = images.shape
    factor = largest / max(shape[1:3])
    if factor >= 1:
        return images
    small = (max(1, round(n * factor)) for n in shape[1:3])
    return np.asarray(jax.image.resize(images, (shape[0], *small, *shape[3:]), "linear"))


def image_sheet(frames: np.ndarray) -> dict:
    """Frames of an image ``[frames, n, n, C]`` in [0, 1], one after the other, line by line."""
    stored = np.rint(255 * np.clip(downscale(shown_channels(frames)), 0, 1)).astype(np.uint8)
    return _sheet(stored[..., 0] if stored.shape[-1] == 1 else stored)


def map_sheet(frames: np.ndarray) -> dict:
    """Frames of maps ``[frames, h, w, rows, channels]`` in [-1, 1], red below 0 and blue above, on
    nothing; those of a frame in rows and columns, with a line of a pixel between columns."""
    count, height, width, rows, channels = frames.shape
    level = np.rint(frames * LEVELS).astype(np.int8) + LEVELS
    tiles = np.full((count, rows, height, channels, width + 1), BETWEEN, np.uint8)
    tiles[..., :width] = level.transpose(0, 3, 1, 4, 2)
    tiles = tiles.reshape(count, rows * height, -1)[..., :-1]
    return _sheet(tiles, palette=True)


def embedded(path: Path) -> str:
    """A PNG file on disk as an address that holds it."""
    return _address(path.read_bytes())


def _sheet(frames: np.ndarray, *, palette: bool = False) -> dict:
    count, height, width = frames.shape[:3]
    columns = math.ceil(math.sqrt(count))
    lines = math.ceil(count / columns)
    full = np.full((lines * columns, *frames.shape[1:]), BETWEEN if palette else 0, np.uint8)
    full[:count] = frames
    sheet = full.reshape(lines, columns, *frames.shape[1:]).swapaxes(1, 2)
    image = Image.fromarray(sheet.reshape(lines * height, columns * width, *frames.shape[3:]))
    options = {}
    if palette:
        image.putpalette([*NEGATIVE] * LEVELS + [0] * 3 + [*POSITIVE] * LEVELS + [0] * 3)
        strength = [round(255 * abs(i) / LEVELS) for i in range(-LEVELS, LEVELS + 1)]
        options = {"bits": 4, "transparency": bytes([*strength, 0])}
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=6, **options)
    return {
        "columns": columns,
        "size": [height, width],
        "sprite": _address(file.getvalue()),
    }


def _address(file: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(file).decode("ascii")
