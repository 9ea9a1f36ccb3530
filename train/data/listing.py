"""A user's images as they were found: a list of files, each with its split, class and group."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ..names import join_names, name_hash, printable
from .groups import shared_groups, whole_groups_for_test
from .labels import NO_LABEL, Label, rarest


class File(NamedTuple):
    """An image file that was found."""

    split: str
    label: Label
    name: str
    """Its path in the folder, with ``/``."""
    size: int
    """The size in bytes."""
    digest: str | None = None
    """The SHA-256 of its content, once it is read."""
    group: str | None = None
    """The name of its group, if there are groups; all images of a group stay on one side."""
    class_name: str | tuple[str, ...] | None = None
    """The name of its class, or those of all its labels, if its path does not say it."""
    own_test: bool = False
    """True if the user said that it is a test image, and its path does not say it."""
    mask: str | None = None
    """The SHA-256 of its mask, once that is read, if it has one."""


class Listing(NamedTuple):
    """The images that were found."""

    files: list[File]
    """The files, in an order in which any first or last part has all classes in proportion."""
    names: tuple[str, ...]
    """The names of the classes; in a data set of numbers, the different texts of them."""
    own_test: bool
    """True if the user said which the test images are."""
    notes: tuple[str, ...]
    """Sentences on what was left out."""

    @property
    def several(self) -> bool:
        """True if images may have several labels."""
        return any(isinstance(file.label, tuple) for file in self.files)


class Found(NamedTuple):
    """A file of a known class, before there are labels."""

    name: str
    size: int
    key: str
    """The name that is hashed: the path from the folder that has the classes."""
    group: str | None = None
    labels: tuple[str, ...] | None = None
    """All its labels, in a data set in which some image has several."""
    numbers: str | None = None
    """Its numbers as text, in a data set of numbers (`train.data.numbers`)."""


Classes = dict[str, list[Found]]
"""Class -> its files; in a data set of several labels, the rarest one of each file."""


def by_one_label(by_split: dict[str, list[Found]]) -> dict[str, Classes]:
    """Return the files of each split by the one label that each has."""
    found: dict[str, Classes] = {}
    for split, files in by_split.items():
        for file in files:
            label = (file.labels or ("",))[0]
            classes = found.setdefault(split, {})
            classes.setdefault(label, []).append(file._replace(labels=None))
    return found


def by_no_label(by_split: dict[str, list[Found]], path: Path) -> dict[str, Classes]:
    """Return the files of each split as if all were of one class: those of numbers.

    ValueError if there are none to train on.
    """
    if not by_split.get("train"):
        raise ValueError(f"`data` {path} must have training images; there is none")
    return {split: {"numbers": files} for split, files in by_split.items()}


def by_rarest_label(by_split: dict[str, list[Found]]) -> dict[str, Classes]:
    """Return the files of each split by the rarest of their labels, which is a class for all that
    divides them."""
    strata = rarest(file.labels or () for files in by_split.values() for file in files)
    found: dict[str, Classes] = {}
    for split, files in by_split.items():
        classes = found.setdefault(split, {})
        for file in files:
            classes.setdefault(strata[file.labels or ()], []).append(file)
    return found


def _by_label(classes: Classes) -> Classes:
    """Return the files of each class, those with several labels in each of theirs."""
    found: Classes = {}
    for name, files in classes.items():
        for file in files:
            for label in (name,) if file.labels is None else file.labels:
                found.setdefault(label, []).append(file)
    return found


def check_classes(by_split: dict[str, Classes], path: Path) -> list[str]:
    """Return notes on the classes that a split lacks in a file that lists or has images.

    Raises:
        ValueError: there are no training images, they are of one class, or another split has
            classes that are not trained on.
    """
    by_split = {split: _by_label(classes) for split, classes in by_split.items()}
    train = by_split.get("train", {})
    if len(train) < 2:
        found = f"there is only {join_names(list(train))}" if train else "there is none"
        raise ValueError(f"`data` {path} must have training images of two or more classes; {found}")
    notes = []
    for split, classes in by_split.items():
        if unknown := sorted(classes.keys() - train.keys()):
            raise ValueError(
                f"`data` {path} has {split} images of classes that are not trained on: "
                f"{join_names(unknown)}"
            )
        if missing := sorted(train.keys() - classes.keys()):
            notes.append(f"{path} has no {split} images of {join_names(missing)}")
    return notes


def make_listing(
    by_split: dict[str, Classes],
    *,
    test_fraction: float,
    where: str,
    grouped_by: str,
    said: bool,
    notes: Iterable[str],
) -> Listing:
    """Return the listing of files, some of which are kept for the test unless there are such.

    Args:
        by_split: the files of each split and class.
        test_fraction: the share of each class to keep for the test.
        where: the place of the files, for messages.
        grouped_by: what makes the groups, for messages.
        said: whether the record has to name classes and test images, since paths do not.
        notes: sentences for the user.
    """
    texts = {file.numbers for file in _all_files(by_split) if file.numbers is not None}
    names = sorted(texts or _by_label(by_split["train"]))
    several = any(file.labels is not None for file in _all_files(by_split))
    own_test = "test" in by_split
    grouped = any(file.group is not None for file in _all_files(by_split))
    shared = shared_groups({s: _groups(c) for s, c in by_split.items()}, grouped_by)
    if not own_test and grouped:
        in_test = whole_groups_for_test(
            {
                name: [str(file.group) for file in files]
                for name, files in _to_divide(by_split["train"]).items()
            },
            test_fraction,
            where=where,
            grouped_by=grouped_by,
        )
        by_split = by_split | _divided(by_split["train"], in_test)
    elif not own_test:
        by_split = by_split | _kept_for_test(by_split["train"], test_fraction, where)
    if several and not own_test:
        notes = [*notes, *_check_divided(by_split, names, where)]
    place = {name: i for i, name in enumerate(names)}
    files = [
        File(
            split,
            _label(name, file, place),
            file.name,
            file.size,
            group=file.group,
            class_name=_class_name(name, file) if said else None,
            own_test=said and own_test and split == "test",
        )
        for split, classes in by_split.items()
        for name, file in _in_proportion(classes)
    ]
    return Listing(files, tuple(names), own_test, (*shared, *notes))


def _class_name(name: str, file: Found) -> str | tuple[str, ...]:
    if file.numbers is not None:
        return file.numbers
    return name if file.labels is None else tuple(sorted(file.labels))


def _label(name: str, file: Found, place: dict[str, int]) -> Label:
    found = _class_name(name, file)
    return place[found] if isinstance(found, str) else tuple(sorted(place[n] for n in found))


def _to_divide(classes: Classes) -> Classes:
    """Return what has to be on both sides if whole groups are set aside: the files of each class,
    and those of none, unless these are in one group."""
    found = _by_label(classes)
    without = [file for files in classes.values() for file in files if file.labels == ()]
    if len({file.group for file in without}) > 1:
        found[NO_LABEL] = without
    return found


def _check_divided(by_split: dict[str, Classes], names: list[str], where: str) -> list[str]:
    """Return notes on the labels that no test image has, once images of several are divided.

    ValueError names those that no training image has.
    """
    found = {split: _by_label(classes) for split, classes in by_split.items()}
    if lost := [name for name in names if name not in found["train"]]:
        raise ValueError(
            f"`data` {where}: no training image of {join_names(lost)} is left, since all of them "
            "are tested on; name the test images yourself, in a column split"
        )
    missing = [name for name in names if name not in found["test"]]
    return [f"no test images of {join_names(missing)}"] if missing else []


def _all_files(by_split: dict[str, Classes]) -> Iterator[Found]:
    for classes in by_split.values():
        for files in classes.values():
            yield from files


def _groups(classes: Classes) -> set[str]:
    return {file.group for files in classes.values() for file in files if file.group is not None}


def _divided(classes: Classes, in_test: set[str]) -> dict[str, Classes]:
    """Return training and test images, these of some groups."""

    def part(test: bool) -> Classes:
        return {
            name: [file for file in files if (file.group in in_test) == test]
            for name, files in classes.items()
        }

    return {"train": part(test=False), "test": part(test=True)}


def _kept_for_test(classes: Classes, fraction: float, where: str) -> dict[str, Classes]:
    """Return training and test images of each class: those whose names have the smallest hashes
    are tested on."""
    train, test = {}, {}
    for name, files in _by_label(classes).items():
        if len(files) < 2:
            raise ValueError(
                f"`data` {where} has one image of {printable(name)}: with no test images of your "
                "own, a class needs one to train on and one to test on"
            )
    for name, files in classes.items():
        count = min(max(1, round(fraction * len(files))), len(files) - 1)
        by_hash = sorted(files, key=lambda file: name_hash(file.key))
        train[name], test[name] = by_hash[count:], by_hash[:count]
    return {"train": train, "test": test}


def _in_proportion(classes: Classes) -> list[tuple[str, Found]]:
    """Return ``(class, file)``, each class spread evenly over the list, in the order of its
    hashes."""
    places = []
    for name, files in classes.items():
        by_hash = sorted((name_hash(file.key), file.name, file) for file in files)
        for i, (key, _, file) in enumerate(by_hash):
            places.append(((i + 0.5) / len(files), key, name, file))
    return [(name, file) for _, _, name, file in sorted(places)]
