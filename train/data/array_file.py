"""A user's images in one NumPy file, ``.npz``: an array of images and one of labels for each split.

The names are those of MedMNIST (``train_images``, ``train_labels``, ``val_images`` and so on), of
Keras (``x_train``, ``y_train``), or ``images`` and ``labels`` alone.
"""

import functools
import hashlib
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..names import join_names, pluralize
from ..options.image_checks import MOST_CHANNELS
from .groups import ARRAY, group_by_pattern, of_pattern
from .labels import SEPARATOR
from .layouts import SPLITS
from .listing import (
    Found,
    Listing,
    by_no_label,
    by_one_label,
    by_rarest_label,
    check_classes,
    make_listing,
)
from .numbers import LARGEST, as_text

_LAYOUT = "train_images and train_labels (and val_, test_), or images and labels"


class ArrayFile:
    """The images of an ``.npz`` file by their names: ``train/17``, or ``17`` without splits.

    Args:
        path: the file. Its images are ``[n, H, W]`` or ``[n, H, W, C]``, or volumes
            ``[n, D, H, W]`` or ``[n, D, H, W, C]``, its labels ``[n]`` or ``[n, 1]``, integers or
            text, or ``[n, K]`` of 0 and 1, where an image may have several of K classes.
            ``class_names`` names the integers or the columns, and ``train_groups`` (and so on) says
            which images belong together. Four axes are of volumes if the last is longer than 16.
        numbers: whether the labels are numbers to predict, ``[n]`` or ``[n, K]``, which
            ``target_names`` names.

    Raises:
        ValueError: the file is damaged, or has other arrays.
    """

    def __init__(self, path: Path, *, numbers: bool = False):
        self.path, self.numbers = path, numbers
        self.target_names: tuple[str, ...] = ()
        arrays = _arrays(path)
        self.images = {split: arrays[names["images"]] for split, names in _splits(arrays).items()}
        self._labels: dict[str, list[tuple[str, ...]]] = {}
        self.groups = {}
        self._unused: set[str] = set()
        self._columns = False
        names = _class_names(arrays, path)
        for split, found in _splits(arrays).items():
            self._check_images(found["images"], self.images[split])
            self._take_labels(split, found, arrays, names)
            if "groups" in found:
                _require_groups(arrays, found["groups"], len(self.images[split]), path)
                self.groups[split] = [str(group) for group in arrays[found["groups"]].tolist()]
        shapes = {images.shape[1:] for images in self.images.values()}
        if len(shapes) > 1:
            raise ValueError(f"`data` {path} has images of several shapes: {sorted(shapes)}")
        (self.shape,) = shapes

    def _take_labels(
        self,
        split: str,
        found: dict[str, str],
        arrays: dict[str, np.ndarray],
        class_names: list[str] | None,
    ) -> None:
        """Keep the labels of a split, whose arrays have been found by name."""
        labels = _labels(arrays, found, len(self.images[split]), self.path)
        name = found["labels"]
        if self.numbers:
            self._labels[split] = self._as_numbers(labels, arrays, name)
        elif labels.ndim == 2:
            named, unused = _as_columns(labels, class_names, self.path, name)
            self._unused |= unused if split in ("train", "") else set()
            self._labels[split], self._columns = named, True
        else:
            classes = _as_classes(labels, class_names, self.path, name)
            self._labels[split] = [(of,) for of in classes]

    def _check_images(self, name: str, images: np.ndarray) -> None:
        if images.dtype.kind not in "biuf":
            raise ValueError(f"`data` {self.path}: {name} must be numbers, not {images.dtype}")
        if images.ndim not in (3, 4, 5) or 0 in images.shape:
            raise ValueError(
                f"`data` {self.path}: {name} must be images [n, H, W] or [n, H, W, C], or volumes "
                f"[n, D, H, W] or [n, D, H, W, C], got {images.shape}"
            )
        if images.ndim == 5 and images.shape[-1] > MOST_CHANNELS:
            raise ValueError(
                f"`data` {self.path}: {name} must be volumes [n, D, H, W, C] of at most "
                f"{MOST_CHANNELS} channels, got {images.shape}"
            )

    def _as_numbers(
        self, labels: np.ndarray, arrays: dict[str, np.ndarray], name: str
    ) -> list[tuple[str, ...]]:
        """Return the numbers of each image as one text."""
        columns = labels.reshape(len(labels), -1)
        if columns.dtype.kind not in "biuf" or not np.isfinite(columns).all():
            raise ValueError(f"`data` {self.path}: {name} must be finite numbers to predict")
        if len(columns) and np.abs(columns.astype(np.float64)).max() > LARGEST:
            raise ValueError(
                f"`data` {self.path}: {name} has numbers that are too large for float32: give them "
                "in another unit"
            )
        names = arrays.get("target_names", np.arange(columns.shape[1])).ravel().tolist()
        if len(set(names)) != columns.shape[1] or (
            self.target_names and len(self.target_names) != len(names)
        ):
            raise ValueError(
                f"`data` {self.path}: target_names must name the {columns.shape[1]} columns of "
                f"{name}, once each, got {join_names([str(n) for n in names])}"
            )
        self.target_names = tuple(str(target) for target in names)
        return [(as_text(row),) for row in columns.tolist()]

    @property
    def has_volumes(self) -> bool:
        """True if the arrays are volumes, and not images."""
        return holds_volumes(self.shape)

    @property
    def channels(self) -> int:
        """The channels of the arrays, which may be equal."""
        return self.shape[-1] if len(self.shape) == (4 if self.has_volumes else 3) else 1

    @functools.cached_property
    def places(self) -> dict[str, tuple[str, int]]:
        """Name of an image -> split and index."""
        return {
            f"{split}/{i}" if split else str(i): (split, i)
            for split, images in self.images.items()
            for i in range(len(images))
        }

    def item(self, name: str) -> np.ndarray:
        """The pixels of an image as they are stored."""
        split, index = self.places[name]
        return self.images[split][index]

    def digest(self, name: str) -> str:
        """The SHA-256 of the pixels of an image."""
        item = np.ascontiguousarray(self.item(name))
        return hashlib.sha256(item.tobytes()).hexdigest()

    @property
    def labels(self) -> dict[str, tuple[str, ...]]:
        """Name of an image -> its class, or all its labels."""
        return {name: self._labels[split][i] for name, (split, i) in self.places.items()}

    @property
    def several(self) -> bool:
        """True if images may have several labels: some has several, or none. Columns of which each
        row has one, and one alone, are those of a one-hot code."""
        return any(len(labels) != 1 for every in self._labels.values() for labels in every)

    def listing(self, test_fraction: float, groups_by: str | None = None) -> Listing:
        """The images by split and class, as `train.data.class_folders.list_images` has files."""
        grouped_by, groups = ARRAY, dict.fromkeys(self.places)
        if groups_by is not None:
            found = group_by_pattern(groups_by, list(self.places))
            grouped_by, groups = of_pattern(groups_by), dict(zip(self.places, found, strict=True))
        elif self.groups:
            if lacking := sorted(self.images.keys() - self.groups.keys()):
                raise ValueError(f"`data` {self.path} has groups, but not of {lacking[0]}")
            groups = {name: self.groups[split][i] for name, (split, i) in self.places.items()}
        if self._unused and self.several:
            raise ValueError(
                f"`data` {self.path} has no training image of {join_names(sorted(self._unused))}: "
                "leave out the columns of labels that none has"
            )
        in_split: dict[str, list[Found]] = {}
        for name, (split, i) in self.places.items():
            size, labels = self.images[split][i].nbytes, self._labels[split][i]
            found = Found(name, size, name, groups[name], labels)
            if self.numbers:
                found = found._replace(labels=None, numbers=labels[0])
            in_split.setdefault(split or "train", []).append(found)
        notes = []
        if self.numbers:
            by_split = by_no_label(in_split, self.path)
        else:
            by_split = by_rarest_label(in_split) if self.several else by_one_label(in_split)
            notes += check_classes(by_split, self.path)
        if self._columns and not self.several:
            notes.append("each image has one 1 in its labels: they are taken for a one-hot code")
        return make_listing(
            by_split,
            test_fraction=test_fraction,
            where=str(self.path),
            grouped_by=grouped_by,
            said=True,
            notes=notes,
        )


def holds_volumes(shape: tuple[int, ...]) -> bool:
    """Return whether a shape is that of a volume, ``[D, H, W]`` or ``[D, H, W, C]``, and not of an
    image."""
    return len(shape) == 4 or (len(shape) == 3 and shape[2] > MOST_CHANNELS)


@functools.lru_cache(maxsize=1)
def _read(path: Path, changed: int) -> dict[str, np.ndarray]:
    with path.open("rb") as opened:  # which NumPy leaves open if it is damaged
        file = np.load(opened, allow_pickle=False)
        return {name: file[name] for name in file.files}


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file; those of the last one stay in memory."""
    try:
        return _read(path, path.stat().st_mtime_ns)
    except (ValueError, OSError, zipfile.BadZipFile, EOFError, KeyError) as error:
        pickled = "allow_pickle" in str(error)
        reason = "it has Python objects in place of numbers" if pickled else error
        raise ValueError(f"`data` {path} cannot be read: {reason}") from None


def _splits(arrays: dict[str, np.ndarray]) -> dict[str, dict[str, str]]:
    """Return, for each split, the names of its arrays: images, labels and perhaps groups. A file
    without splits has the split ``""``."""
    found: dict[str, dict[str, str]] = {}
    for word, split in SPLITS.items():
        _add(found, split, arrays, f"{word}_images", f"{word}_labels", f"{word}_groups")
        _add(found, split, arrays, f"x_{word}", f"y_{word}", f"groups_{word}")
    if not found:
        _add(found, "", arrays, "images", "labels", "groups")
        _add(found, "", arrays, "x", "y", "groups")
    if "train" not in found and "" not in found:
        raise ValueError(
            f"`data` must have the arrays {_LAYOUT}; the file has {join_names(sorted(arrays))}"
        )
    return found


def _add(found: dict, split: str, arrays: dict, images: str, labels: str, groups: str) -> None:
    if images not in arrays:
        return
    if split in found:
        raise ValueError(f"`data` has two arrays for {split}: {found[split]['images']}, {images}")
    found[split] = {"images": images, "labels": labels}
    if groups in arrays:
        found[split]["groups"] = groups


def _class_names(arrays: dict[str, np.ndarray], path: Path) -> list[str] | None:
    if "class_names" not in arrays:
        return None
    names = [str(name) for name in arrays["class_names"].ravel().tolist()]
    if len(set(names)) < len(names):
        raise ValueError(f"`data` {path}: class_names has a name twice: {join_names(names)}")
    return names


def _labels(arrays: dict, found: dict[str, str], count: int, path: Path) -> np.ndarray:
    name = found["labels"]
    if name not in arrays:
        raise ValueError(f"`data` {path} has {found['images']} and no {name}")
    labels = arrays[name]
    columns = labels.ndim == 2 and labels.shape[1] > 1
    if labels.shape[:1] != (count,) or not (columns or labels.shape in ((count,), (count, 1))):
        raise ValueError(
            f"`data` {path}: {name} must be one label for each of {pluralize(count, 'image')}, "
            f"got {labels.shape}; several labels of K classes are [n, K] of 0 and 1"
        )
    return labels if columns else labels.reshape(count)


def _require_groups(arrays: dict, name: str, count: int, path: Path) -> None:
    if arrays[name].shape != (count,):
        raise ValueError(f"`data` {path}: {name} must be one for each image")


def _as_columns(
    labels: np.ndarray, names: Sequence[str] | None, path: Path, array: str
) -> tuple[list[tuple[str, ...]], set[str]]:
    """Return the names of the labels of each row of 0 and 1, and the columns without a 1."""
    columns = labels.shape[1]
    if labels.dtype.kind not in "biuf" or not np.isin(labels, (0, 1)).all():
        raise ValueError(
            f"`data` {path}: {array} {labels.shape} must be 0 and 1, a column for each class; one "
            "label for each image is [n] or [n, 1]"
        )
    if names is None:
        names = [f"{i:0{len(str(columns - 1))}}" for i in range(columns)]
    if len(names) != columns:
        raise ValueError(
            f"`data` {path}: class_names must name the {columns} columns of {array}, and has "
            f"{pluralize(len(names), 'name')}"
        )
    if odd := [name for name in names if SEPARATOR in name or not name.strip()]:
        raise ValueError(
            f"`data` {path}: class_names of images with several labels must not be empty or have "
            f"a {SEPARATOR}, which stands between labels, got {join_names(odd)}"
        )
    found = [tuple(names[i] for i in np.flatnonzero(row).tolist()) for row in labels]
    return found, {name for name, used in zip(names, labels.any(0), strict=True) if not used}


def _as_classes(
    labels: np.ndarray, names: Sequence[str] | None, path: Path, array: str
) -> list[str]:
    """Return the name of the class of each label."""
    if labels.dtype.kind in "US":
        return [str(label) for label in labels.astype(str).tolist()]
    if labels.dtype.kind not in "iub":
        raise ValueError(f"`data` {path}: {array} must be integers or text, not {labels.dtype}")
    values = labels.astype(int).tolist()
    if min(values) < 0 or (names is not None and max(values) >= len(names)):
        most = "" if names is None else f" to {len(names) - 1}, as class_names has them"
        raise ValueError(
            f"`data` {path}: {array} must be from 0{most}, got {min(values)} to {max(values)}"
        )
    if names is not None:
        return [str(names[value]) for value in values]
    width = len(str(max(values)))  # so that 10 stands behind 9
    return [f"{value:0{width}}" for value in values]
