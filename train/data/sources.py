"""The place that a user's images are read from: files in a folder, or arrays in one file."""

from pathlib import Path

import numpy as np

from ..options.volume_checks import MULTIPLE
from . import provenance
from .array_file import ArrayFile
from .class_folders import list_images
from .csv_lists import Targets, target_names
from .image_files import IMAGE_SIZE
from .layouts import is_array_file
from .listing import Listing
from .mask_arrays import MaskArrays
from .mask_folder import MaskFolder


class FileSource:
    """Image files, by their paths in a folder.

    Args:
        data: the folder, or a CSV file in it.
        targets: the columns of numbers; None if images have classes.
    """

    size = IMAGE_SIZE
    channels: int | None = None
    """The channels that all images have, if that is known and they are no colors."""
    stored: tuple[int, ...] | None = None
    """The shape of all images, if it is known."""
    volume: tuple[int, ...] | None = None
    """The shape ``(D, H, W, C)`` of the volumes that a network is given; None of images."""

    def __init__(self, data: Path, targets: Targets = None):
        self.data, self.folder, self.targets = data, provenance.folder_of(data), targets

    def listing(self, test_fraction: float, groups_by: str | None) -> Listing:
        """All images, by split and class."""
        return list_images(self.data, test_fraction, groups_by, targets=self.targets)

    @property
    def target_names(self) -> tuple[str, ...]:
        """The names of the numbers."""
        return target_names(self.data, self.targets)

    def item(self, name: str) -> Path:
        """The argument of `read_image` for an image."""
        return self.folder / name

    def digest(self, name: str) -> str | None:
        """The SHA-256 of an image; None if it cannot be read."""
        return provenance.digest(self.folder / name)


class ArraySource:
    """The images in an ``.npz`` file, by their places in it."""

    def __init__(self, data: Path, targets: Targets = None, *, masks: bool = False):
        if targets:
            raise ValueError(
                f"`targets` are columns of a CSV file: {data} names its numbers in target_names"
            )
        self.data = self.folder = data
        numbers = targets is not None
        self.file = MaskArrays(data) if masks else ArrayFile(data, numbers=numbers)
        self.size = max(self.file.shape[:2])
        self.channels = None if self.file.channels in (1, 3) else self.file.channels
        self.stored: tuple[int, ...] | None = self.file.shape
        self.volume: tuple[int, ...] | None = None
        if self.file.has_volumes:
            side = -(-max(self.file.shape[:3]) // MULTIPLE) * MULTIPLE
            self.volume = (side, side, side, self.file.channels)

    def listing(self, test_fraction: float, groups_by: str | None) -> Listing:
        """All images, by split and class."""
        return self.file.listing(test_fraction, groups_by)

    @property
    def target_names(self) -> tuple[str, ...]:
        """The names of the numbers."""
        return self.file.target_names

    def item(self, name: str) -> np.ndarray:
        """The argument of `read_image` for an image."""
        return self.file.item(name)

    def digest(self, name: str) -> str:
        """The SHA-256 of the pixels of an image."""
        return self.file.digest(name)


class MaskArraySource(ArraySource):
    """The images and masks in an ``.npz`` file, by their places in it."""

    file: MaskArrays

    def __init__(self, data: Path):
        super().__init__(data, masks=True)

    @property
    def class_names(self) -> list[str] | None:
        """The names of the classes, if they are known."""
        return self.file.class_names

    @property
    def by_split(self) -> dict[str, list[str]]:
        """The names of the images of each split."""
        found: dict[str, list[str]] = {}
        for name, (split, _) in self.file.places.items():
            found.setdefault(split or "train", []).append(name)
        return found

    def has(self, name: str) -> bool:
        """Return whether an image is there with its mask."""
        return name in self.file.places

    def mask_name(self, name: str) -> str:
        """The name of the mask of an image, for messages."""
        return f"the mask of {name}"

    def mask(self, name: str) -> np.ndarray:
        """The values of the mask of an image."""
        return self.file.mask(name)

    def mask_digest(self, name: str) -> str:
        """The SHA-256 of the mask of an image."""
        return self.file.mask_digest(name)

    def sides(self, name: str, channels: int) -> tuple[int, ...]:
        """The sides of an image or a volume, without channels."""
        return self.item(name).shape[: 3 if self.file.has_volumes else 2]


MaskSource = MaskFolder | MaskArraySource
Source = FileSource | ArraySource | MaskFolder


def open_masks(data: Path) -> MaskSource:
    """Return the source of a folder, or of a file of arrays, with images and masks.

    Raises:
        ValueError: it is neither, or masks are missing.
    """
    return MaskArraySource(data) if is_array_file(data) and data.is_file() else MaskFolder(data)


def open_source(data: Path, targets: Targets = None) -> FileSource | ArraySource:
    """Return the source of a folder, of a CSV file or of a file of arrays, with classes, or with
    the numbers that the ``targets`` name.

    Raises:
        ValueError: it is none of them, or arrays are missing.
    """
    if is_array_file(data) and data.is_file():
        return ArraySource(data, targets)
    return FileSource(data, targets)
