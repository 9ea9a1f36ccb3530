"""Many image files at a time."""

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from gconv_jax.export.image_files import Shape, read_image
from gconv_jax.export.volume_files import read_volume

from .reading import STROKES, Reading

__all__ = ["Shape", "in_threads", "is_gray", "read_image", "read_images", "read_volume"]

# Of oddities in files that are read all the same; for whatever thread or process reads them.
warnings.filterwarnings("ignore", module="PIL")
for _name in ("PIL", "tifffile"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)

_THREADS = min(16, os.cpu_count() or 1)  # each may hold an image of hundreds of megabytes

IMAGE_SIZE = 64
"""The pixels on a side to which image files are scaled, if nothing else is said."""
_AHEAD = 16 * _THREADS
Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """The results of ``function`` for each item, several at once, in their order."""
    with warnings.catch_warnings(), ThreadPoolExecutor(_THREADS) as pool:
        # Of oddities in files that are read all the same; and here it is said what cannot be.
        warnings.filterwarnings("ignore", module="PIL")
        for start in range(0, len(items), _AHEAD):  # or all might be decoded before one is used
            yield from pool.map(function, items[start : start + _AHEAD])


def read_images(
    paths: Sequence[Any], size: tuple[int, ...], reading: Reading = STROKES
) -> Iterator[np.ndarray | ValueError]:
    """`read_image` of many files, or `read_volume` if the size is of volumes, several at once, in
    their order. Where a file cannot be read, the error stands in place of its pixels."""

    def read(path: Any) -> np.ndarray | ValueError:
        try:
            return read_any(path, size, reading)
        except ValueError as error:
            return error

    return in_threads(read, paths)


def read_any(path: Any, size: tuple[int, ...], reading: Reading = STROKES) -> np.ndarray:
    """Return the pixels of an image, or of a volume if the size is ``(D, H, W, C)``."""
    if len(size) == 4:
        return read_volume(path, size, **reading.arguments())
    height, width, channels = size
    return read_image(path, (height, width, channels), **reading.arguments())


def is_gray(image: np.ndarray) -> bool:
    """Return whether all channels of ``[H, W, C]`` are equal."""
    return bool((image == image[..., :1]).all())
