"""The images of a run: training, validation and test splits as arrays or on disk."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .image_folder import ImageFolder
from .on_disk import ImagesOnDisk
from .vectors import Vectors
from .whitening import Whitening


class Split(NamedTuple):
    """Images ``[N, H, W, C]`` or volumes ``[N, D, H, W, C]`` (uint8, or float32 in [0, 1]), in
    memory or on disk, and labels int32 ``[N]``, or 0 and 1 as float32 ``[N, classes]`` where images
    may have several, or numbers as float32 ``[N, targets]``."""

    image: np.ndarray | ImagesOnDisk
    label: np.ndarray

    def __getitem__(self, index) -> Any:  # of images, not of fields
        if isinstance(index, slice):
            return Split(self.image[index], self.label[index])
        return tuple.__getitem__(self, index)


@dataclass(frozen=True)
class Data:
    """The splits of a data set. ``mean`` and ``std`` are single numbers over all training pixels
    in [0, 1]: one for each pixel would break the equivariance. With ``whitening``, which is applied
    to stored images, they are 0 and 1."""

    train: Split
    validation: Split | None
    test: Split
    classes: int
    mean: float
    std: float
    whitening: Whitening | None = None
    folder: ImageFolder | None = None
    """The folder that the images come from, if they are the user's own."""
    center: np.ndarray | None = None
    """The mean of each number over the training images, if labels are numbers."""
    scale: np.ndarray | None = None
    """Their standard deviations."""

    @property
    def names(self) -> tuple[str, ...] | None:
        """The names of the classes, if they are known."""
        return None if self.folder is None else self.folder.names

    @property
    def vectors(self) -> Vectors | None:
        """The numbers that are components of vectors, if any are."""
        return None if self.folder is None else self.folder.vectors
