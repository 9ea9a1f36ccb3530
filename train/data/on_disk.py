"""Images that stay on disk and are read when they are asked for."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .pixels import pixel_sums

_CHUNK = 4096

Read = Callable[[np.ndarray], np.ndarray]
"""From places on the disk ``[n]`` to pixels ``[n, H, W, C]``."""


class Stored:
    """Images ``[N, H, W, C]`` that are indexed like an array, and read then.

    A slice is again of images on the disk, so the parts of a split can be named without reading
    them; an array of indices, or `numpy.asarray`, gives pixels.

    Args:
        read: gives the pixels; picklable, if other processes are to read.
        places: which images these are, in the numbers of ``read``.
        item: ``(H, W, C)``.
        dtype: of the pixels.
        sums: `pixel_sums` of these images.
    """

    def __init__(
        self,
        read: Read,
        places: np.ndarray,
        item: tuple[int, ...],
        dtype: np.dtype,
        sums: np.ndarray,
    ):
        self.read, self.places, self.item, self.dtype, self.sums = read, places, item, dtype, sums

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.places), *self.item)

    @property
    def nbytes(self) -> int:
        """Of all images, if they were in memory."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: Any) -> Any:
        places, sums = self.places[index], self.sums[index]
        if isinstance(index, slice):
            return Stored(self.read, places, self.item, self.dtype, sums)
        once, back = np.unique(places, return_inverse=True)
        return self.read(once)[back.ravel()].reshape(*np.shape(places), *self.item)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.asarray(self.read(self.places), dtype)


def moments(image: "np.ndarray | Stored") -> tuple[float, float]:
    """Mean and standard deviation of all pixels in [0, 1]; 1 in place of a deviation of 0."""
    sums = image.sums if isinstance(image, Stored) else pixel_sums(image)
    count, first, second = sums.sum(0)
    mean, square = first / count, second / count
    variance = square - mean**2
    # Of equal pixels, rounding is all that is left of it.
    return float(mean), float(np.sqrt(variance)) if variance > 1e-14 * square else 1.0


def chunks(count: int) -> Iterator[np.ndarray]:
    """The indices below ``count``, some thousands at a time."""
    for start in range(0, count, _CHUNK):
        yield np.arange(start, min(start + _CHUNK, count))
