"""The lines on a user's images at the start of a run: which were found, and how they are split."""

import collections
from pathlib import Path

import numpy as np

from ..config import Config
from ..names import join_names, pluralize, printable
from .groups import ARRAY, COLUMN, FOLDERS, of_pattern
from .image_folder import ImageFolder
from .labels import classes_of, places
from .layouts import is_array_file, is_list
from .mask_classes import IGNORED
from .provenance import USED
from .volumes import is_volume

UNEVEN = 5
"""The images of the largest class for each of the smallest, from which on there is a warning."""


def summary_lines(config: Config, folder: ImageFolder) -> list[str]:
    """Return the lines on classes, sizes and splits, and on what was left out."""
    counts = {} if folder.numbers or folder.masks else _counts(folder)
    *sides, channels = folder.test.image.shape[1:]
    kinds = ("volume", "voxels") if is_volume(folder.test.image.shape[1:]) else ("image", "pixels")
    color = "gray" if channels == 1 else "in color"
    parts = {
        "training": folder.train,
        "validation": folder.validation,
        "test": folder.test,
    }
    sizes = [f"{0 if part is None else len(part.label):,} {kind}" for kind, part in parts.items()]
    lines = [
        _found(folder, counts, kinds[0]),
        f"{' x '.join(map(str, sides))} {kinds[1]}, {color}; "
        f"{sizes[0]}, {sizes[1]} and {sizes[2]} {kinds[0]}s",
        *_several(folder, counts, kinds[0]),
        _split(config, folder),
        *folder.notes,
    ]
    if folder.masks is not None:
        return lines + _mask_warnings(folder)
    return lines + ([] if folder.numbers else _warnings(folder, counts))


def groups_in_words(config: Config, folder: ImageFolder) -> str | None:
    """Return what makes the groups of the images, and how many there are; None if there are
    none."""
    groups = {
        split: {f.group for f in folder.files if f.split == split and f.group is not None}
        for split in USED
    }
    every = set.union(*groups.values())
    if not every:
        return None
    held = f", {len(groups['validation']):,} to validate with" if groups["validation"] else ""
    return (
        f"{_maker(config)}: {pluralize(len(every), 'group')}, {len(groups['train']):,} to train on"
        f"{held}, {len(groups['test']):,} to test on"
    )


def _split(config: Config, folder: ImageFolder) -> str:
    """Return what the images were split by."""
    groups = groups_in_words(config, folder)
    test = which_test_images(config, own=folder.own_test, grouped=False)
    if groups and folder.own_test:
        return f"split by {groups}; {test}"
    return f"split by {groups}" if groups else test


def which_test_images(config: Config, *, own: bool, grouped: bool) -> str:
    """Return which the test images are: ``own`` if the user said it, or else chosen."""
    if own:
        return (
            f"test images: those {_named(config, 'of the split column', 'of the file', 'in test/')}"
        )
    whole = "each class" if config.task == "auto" else "them"
    of_each = f"test images: {config.test_fraction:g} of {whole}"
    if grouped:
        return f"{of_each} in whole groups, chosen by hashes of their names"
    names = _named(config, "file names", "places in the file", "file names")
    return f"{of_each}, chosen by hashes of the {names}"


def _maker(config: Config) -> str:
    """Return what makes the groups."""
    if config.groups_by is not None:
        return of_pattern(config.groups_by)
    return _named(config, COLUMN, ARRAY, FOLDERS)


def _named(config: Config, of_list: str, of_arrays: str, of_folders: str) -> str:
    """Return the words that go with the kind of ``--data``."""
    data = Path(config.data or "")
    if is_array_file(data):
        return of_arrays
    return of_list if is_list(data) else of_folders


def _found(folder: ImageFolder, counts: dict[str, int], kind: str) -> str:
    """Return how many images there are of which classes, or with which numbers."""
    images, place = pluralize(_used(folder), kind), printable(str(folder.path))
    if folder.masks is not None:
        shares = pixel_shares(folder.train.label, len(folder.names))
        named = [f"{n} {100 * share:.3g} %" for n, share in zip(folder.names, shares, strict=True)]
        return (
            f"{images} with masks of {pluralize(len(shares), 'class')} in {place}; of the pixels "
            f"to train on: {join_names(named)}"
        )
    if not folder.numbers:
        named = [f"{name} {count:,}" for name, count in counts.items()]
        return f"{images} of {pluralize(len(counts), 'class')} in {place}: {join_names(named)}"
    parts = (folder.train, folder.validation, folder.test)
    values = np.concatenate([part.label for part in parts if part is not None])
    ranges = [
        f"{name} from {column.min():.4g} to {column.max():.4g}"
        for name, column in zip(folder.names, values.T, strict=True)
    ]
    return f"{images} with {pluralize(len(ranges), 'number')} in {place}: {join_names(ranges)}"


def _counts(folder: ImageFolder) -> dict[str, int]:
    """Return the number of images of each class that are used."""
    used = [file for file in folder.files if file.split in USED]
    counts = collections.Counter(place for file in used for place in places(file.label))
    return {name: counts[place] for place, name in enumerate(folder.names)}


def _used(folder: ImageFolder) -> int:
    return sum(file.split in USED for file in folder.files)


def _several(folder: ImageFolder, counts: dict[str, int], kind: str) -> list[str]:
    """Return the line that says that images have several labels, if they have."""
    if folder.test.label.ndim != 2 or folder.numbers:
        return []
    mean = sum(counts.values()) / _used(folder)
    without = sum(file.split in USED and file.label == () for file in folder.files)
    none = f", {pluralize(without, kind)} without any" if without else ""
    classes = pluralize(len(counts), "class")
    return [f"several labels per {kind}: {classes}, {mean:.1f} of them per {kind}{none}"]


def _mask_warnings(folder: ImageFolder) -> list[str]:
    """Return lines on classes that no training mask has, and on pixels without a class."""
    shares = pixel_shares(folder.train.label, len(folder.names))
    absent = [name for name, share in zip(folder.names, shares, strict=True) if not share]
    lines = []
    if absent and len(folder.train.label):
        lines.append(f"warning: no training mask has the class {join_names(absent)}")
    ignored = float((folder.train.label == IGNORED).mean()) if len(folder.train.label) else 0.0
    if ignored:
        lines.append(
            f"{100 * ignored:.3g} % of the pixels to train on have no class: the value {IGNORED} "
            "in a mask, or the border of an image that is not square"
        )
    return lines


def pixel_shares(label: np.ndarray, classes: int) -> np.ndarray:
    """Return the share of each class among the pixels that have one."""
    counts = np.bincount(label[label != IGNORED].ravel(), minlength=classes)
    return counts / max(1, counts.sum())


def _warnings(folder: ImageFolder, counts: dict[str, int]) -> list[str]:
    lines = []
    grouped = any(file.group is not None for file in folder.files)
    if grouped and folder.validation is not None:
        held = set(classes_of(folder.validation.label))
        missing = [name for label, name in enumerate(folder.names) if label not in held]
        if missing:
            lines.append(f"warning: no validation images of {join_names(missing)}: too few groups")
    largest, smallest = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    if counts[largest] >= UNEVEN * counts[smallest]:
        several = folder.test.label.ndim == 2
        remedy = (
            "--class-weights balanced counts rare labels more"
            if several
            else "--sampling balanced draws each class equally often"
        )
        lines.append(
            f"warning: {largest} has {counts[largest]:,} images and {smallest} only "
            f"{counts[smallest]:,}: the {'label ' * several}accuracy over all images says little "
            f"of {smallest}; {remedy}"
        )
    return lines
