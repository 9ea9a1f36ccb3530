"""Batches of a split, from memory or from the disk, on the devices that need them."""

from collections.abc import Callable, Iterator

import numpy as np

from ..data.grain_loader import read_ahead
from ..data.on_disk import ImagesOnDisk
from ..data.splits import Split
from ..steps.parallel import Parallel
from ..steps.step import Batch


def batches(
    split: Split,
    rows: np.ndarray,
    parallel: Parallel,
    *,
    axis: int = 0,
    preprocess: Callable[[np.ndarray], np.ndarray] = lambda image: image,
    workers: int = 0,
) -> Iterator[Batch]:
    """Yield the images at the places in each of the ``rows``, cut along ``axis`` for devices.

    Args:
        preprocess: a function of stored images in memory; those on the disk have their own.
        workers: processes that read images from the disk; 0 for threads of this one.
    """
    rows = np.stack([parallel.own(row, axis) for row in rows])
    labels = (parallel.put(split.label[row]) for row in rows)
    if isinstance(split.image, ImagesOnDisk):
        images = read_ahead(split.image, rows, parallel.put_early, workers)
    else:
        stored = split.image

        def take(row: np.ndarray) -> np.ndarray:
            image = preprocess(stored[row.ravel()])
            return image.reshape(*row.shape, *image.shape[1:])

        images = (parallel.put(take(row)) for row in rows)
    for image, label in zip(images, labels, strict=True):
        yield Batch(image, label)
