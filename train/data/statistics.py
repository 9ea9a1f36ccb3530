"""Means and variances of images, summed in chunks."""

from collections.abc import Iterator

import numpy as np

from .on_disk import ImagesOnDisk
from .pixels import to_unit

_CHUNK = 4096


def moments(image: "np.ndarray | ImagesOnDisk") -> tuple[float, float]:
    """Mean and standard deviation of all pixels in [0, 1]; 1 in place of a deviation of 0."""
    sums = image.sums if isinstance(image, ImagesOnDisk) else pixel_sums(image)
    count, first, second = sums.sum(0)
    mean, square = first / count, second / count
    variance = square - mean**2
    # Of equal pixels, rounding is all that is left of it.
    return float(mean), float(np.sqrt(variance)) if variance > 1e-14 * square else 1.0


def chunks(count: int) -> Iterator[np.ndarray]:
    """The indices below ``count``, some thousands at a time."""
    for start in range(0, count, _CHUNK):
        yield np.arange(start, min(start + _CHUNK, count))


def pixel_sums(image: np.ndarray) -> np.ndarray:
    """Return, for each image ``[N, H, W, C]``, the number of its values, their sums in [0, 1] and
    of their squares, float64 ``[N, 3]``."""
    size = int(np.prod(image.shape[1:]))
    if image.dtype == np.uint8:  # from how many there are of each value: no copy in floats
        values = to_unit(np.arange(256, dtype=np.uint8)).astype(np.float64)
        counts = (np.bincount(x.ravel(), minlength=256) for x in image)
        sums = [(size, image_counts @ values, image_counts @ values**2) for image_counts in counts]
    else:
        rows = (x.astype(np.float64).ravel() for x in image)
        sums = [(size, row.sum(), row @ row) for row in rows]
    return np.asarray(sums).reshape(-1, 3)
