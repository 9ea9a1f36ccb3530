"""Images that stay on disk and are read when they are asked for."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Read = Callable[[np.ndarray], np.ndarray]
"""A function from places on the disk ``[n]`` to pixels ``[n, H, W, C]``."""


class ImagesOnDisk:
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
        """The bytes that all images would take in memory."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: Any) -> Any:
        places, sums = self.places[index], self.sums[index]
        if isinstance(index, slice):
            return ImagesOnDisk(self.read, places, self.item, self.dtype, sums)
        once, back = np.unique(places, return_inverse=True)
        return self.read(once)[back.ravel()].reshape(*np.shape(places), *self.item)

    def take(self, indices: Sequence[int], axis: int = 0) -> "ImagesOnDisk":
        """Return the images at some places, on the disk as well; ``axis`` must be 0."""
        if axis:
            raise ValueError(f"`axis` must be 0, got {axis}")
        places, sums = self.places[indices], self.sums[indices]
        return ImagesOnDisk(self.read, places, self.item, self.dtype, sums)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.asarray(self.read(self.places), dtype)
