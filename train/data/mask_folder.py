"""A user's images with masks: ``images/`` and ``masks/`` in a folder, or in its train/, test/."""

import collections
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..names import composed, join_names, pluralize
from . import provenance
from .groups import FOLDERS, group_by_pattern, of_pattern
from .image_files import IMAGE_SIZE
from .layouts import split_of
from .listing import Found, Listing, make_listing
from .mask_files import image_sides, read_mask
from .scan import SUFFIXES, file_size, folders_in, image_files

IMAGES, MASKS = "images", "masks"
NAMES = "classes.txt"
MASK = "mask"
"""The class of all images, for what divides them by class."""
_ENDINGS = ("", "_mask")
_NAMED = 3


class MaskFolder:
    """Image files and their masks, by their paths in a folder.

    Args:
        data: a folder with images/ and masks/, or with train/ and test/ (and val/) that have those.
            The mask of images/a/1.jpg is masks/a/1.png, or 1_mask.png, or has another suffix.

    Raises:
        ValueError: there is no such folder, or an image without a mask.
    """

    size = IMAGE_SIZE
    channels: int | None = None
    stored: tuple[int, ...] | None = None
    volume: tuple[int, ...] | None = None
    target_names: tuple[str, ...] = ()

    def __init__(self, data: Path):
        self.data = self.folder = data
        self._masks: dict[str, str] = {}
        self.by_split: dict[str, list[str]] = {}
        """The names of the images of each split."""
        self._notes: list[str] = []
        for split, folder in _split_folders(data).items():
            self._find(split, folder)

    def _find(self, split: str, folder: Path) -> None:
        ignored: collections.Counter[str] = collections.Counter()
        images = [Path(name) for name in image_files(folder / IMAGES, ignored, set())]
        if not images:
            raise ValueError(f"`data` {folder / IMAGES} has no image files ({', '.join(SUFFIXES)})")
        _require_no_splits(folder / IMAGES)
        masks = collections.defaultdict[str, list[Path]](list)
        for name in image_files(folder / MASKS, ignored, set()):
            masks[_stem(Path(name), folder / MASKS)].append(Path(name))
        without, used = [], set()
        for image in images:
            name = image.relative_to(self.data).as_posix()
            stem = _stem(image, folder / IMAGES)
            found = next((masks[stem + end] for end in _ENDINGS if stem + end in masks), [])
            same = [mask for mask in found if mask.name == image.name]
            if len(same or found) > 1:
                shown = join_names([mask.name for mask in found])
                raise ValueError(f"`data` {self.data}: {name} has several masks: {shown}")
            if not found:
                without.append(name)
                continue
            (mask,) = same or found
            used.add(mask)
            self.by_split.setdefault(split, []).append(name)
            self._masks[name] = mask.relative_to(self.data).as_posix()
        if without:
            raise ValueError(
                f"`data` {folder / MASKS} has no mask of {pluralize(len(without), 'image')} of "
                f"{len(images):,} ({join_names(without, _NAMED)}); a mask has the path of its "
                f"image, such as {MASKS}/{_stem(images[0], folder / IMAGES)}.png"
            )
        others = sum(map(len, masks.values())) - len(used)
        if others:
            self._notes.append(f"{folder / MASKS} has {pluralize(others, 'mask')} of no image")

    def listing(self, test_fraction: float, groups_by: str | None) -> Listing:
        """All images, by split."""
        keys = {name: composed(name) for names in self.by_split.values() for name in names}
        groups: dict[str, str | None] = dict.fromkeys(keys)
        below = {name: _below_images(key) for name, key in keys.items()}
        if groups_by is not None:
            found = group_by_pattern(groups_by, list(keys.values()))
            groups = dict(zip(keys, found, strict=True))
        elif any("/" in name for name in below.values()):
            groups = {name: path.rpartition("/")[0] or path for name, path in below.items()}
        in_split = {
            split: {
                MASK: [
                    Found(n, file_size(self.data / n), keys[n], groups[n], numbers=MASK)
                    for n in names
                ]
            }
            for split, names in self.by_split.items()
        }
        return make_listing(
            in_split,
            test_fraction=test_fraction,
            where=str(self.data),
            grouped_by=FOLDERS if groups_by is None else of_pattern(groups_by),
            said=True,
            notes=self._notes,
        )

    @property
    def class_names(self) -> list[str] | None:
        """The names of the classes, one on each line of classes.txt, if there is such a file."""
        path = self.data / NAMES
        if not path.is_file():
            return None
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError:
            raise ValueError(f"`data` {path} is no text in UTF-8") from None
        return [line.strip() for line in lines if line.strip()]

    def item(self, name: str) -> Path:
        """Return the argument of `read_image` for an image."""
        return self.folder / name

    def digest(self, name: str) -> str | None:
        """Return the SHA-256 of an image; None if it cannot be read."""
        return provenance.digest(self.folder / name)

    def has(self, name: str) -> bool:
        """Return whether an image is there with its mask."""
        return name in self._masks

    def mask_name(self, name: str) -> str:
        """Return the name of the mask of an image, for messages."""
        return self._masks[name]

    def mask(self, name: str) -> np.ndarray:
        """Return the values of the mask of an image; ValueError if it cannot be read."""
        return read_mask(self.folder / self._masks[name])

    def mask_digest(self, name: str) -> str | None:
        """Return the SHA-256 of the mask of an image."""
        return provenance.digest(self.folder / self._masks[name])

    def sides(self, name: str, channels: int) -> tuple[int, ...]:
        """Height and width of an image."""
        return image_sides(self.item(name), channels)


def has_masks(data: Path) -> bool:
    """Return whether a folder is one of images and masks."""
    return data.is_dir() and any(_is_pair(folder) for folder in [data, *_folders(data)])


def _folders(folder: Path) -> list[Path]:
    return [folder / name for name in folders_in(folder)]


def _is_pair(folder: Path) -> bool:
    return all((folder / name).is_dir() for name in (IMAGES, MASKS))


def _split_folders(data: Path) -> dict[str, Path]:
    """Return split -> the folder with its images/ and masks/; all is to train on without splits."""
    if not data.is_dir():
        raise ValueError(
            f"`data` {data} {'is' if data.exists() else 'does not exist; it must be'} no folder or "
            f".npz file: masks need a folder with {IMAGES}/ and {MASKS}/, or an .npz file with "
            "train_images and train_masks"
        )
    if _is_pair(data):
        return {"train": data}
    splits: dict[str, Path] = {}
    for folder in _folders(data):
        split = split_of(folder.name)
        if split is None or not (folder / IMAGES).is_dir():
            continue
        if split in splits:
            raise ValueError(
                f"`data` {data} has {splits[split].name}/ and {folder.name}/, which both mean "
                f"{split}: keep one"
            )
        if not _is_pair(folder):
            raise ValueError(f"`data` {folder} has {IMAGES}/ and no {MASKS}/")
        splits[split] = folder
    if "train" not in splits:
        has = list(folders_in(data))
        lacking = f"{IMAGES}/ and no {MASKS}/" if IMAGES in has else _shown(has)
        raise ValueError(
            f"`data` {data} must have {IMAGES}/ and {MASKS}/ for --task segmentation, or train/ "
            f"and test/ that have those; it has {lacking}"
        )
    return splits


def _shown(folders: Iterable[str]) -> str:
    return join_names([f"{name}/" for name in folders], _NAMED) or "no folder"


def _require_no_splits(images: Path) -> None:
    named = [name for name in folders_in(images) if split_of(name)]
    if named:
        raise ValueError(
            f"`data` {images} has {_shown(named)}, as splits are named: move them above, as "
            f"{named[0]}/{IMAGES} and {named[0]}/{MASKS}"
        )


def _stem(path: Path, folder: Path) -> str:
    return composed(os.path.splitext(path.relative_to(folder).as_posix())[0])


def _below_images(key: str) -> str:
    """Return the path of an image below images/."""
    parts = key.split("/")
    return "/".join(parts[parts.index(IMAGES) + 1 :])
