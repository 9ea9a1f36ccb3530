"""Groups of images that belong together, such as those of a patient: none is on two sides.

Whole groups are set aside so that each class comes near its share. They are taken in the order of
the hashes of their names, so the choice is the same for everyone.
"""

import collections
import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from ..names import join_names, name_hash, pluralize, printable

FOLDERS = "folder below the class"
COLUMN = "group column of the CSV file"
ARRAY = "array of groups in the file"
"""The words for what makes the groups."""
_FOR_EVERY_IMAGE = "--groups-by '.+' takes each image for a group of its own"
_WEIGHT = 2**40
"""Deviations of classes are weighed by integers, whose sums are the same everywhere."""

Sizes = Mapping[str, Mapping[str, int]]
"""Group -> class -> the number of its images."""


def of_pattern(pattern: str) -> str:
    """Return the words for groups that a regular expression makes."""
    return f"--groups-by {pattern!r}"


def group_by_pattern(pattern: str, keys: Sequence[str]) -> list[str]:
    """Return the group of each path: the first capture group of a regular expression, or all that
    matches. ValueError names a path in which nothing does."""
    expression = re.compile(pattern)
    found = [expression.search(key) for key in keys]
    groups = [m and m.group(1 if expression.groups else 0) for m in found]
    missing = [key for key, group in zip(keys, groups, strict=True) if not group]
    if missing:
        raise ValueError(
            f"`groups_by` {pattern!r} says no group of {pluralize(len(missing), 'file')} of "
            f"{len(keys):,}: {join_names(missing, 3)}; it must match in the path of each file"
        )
    return [group for group in groups if group]


def whole_groups_for_test(
    classes: Mapping[str, Sequence[str]], fraction: float, *, where: str, grouped_by: str
) -> set[str]:
    """Return the groups to test on, near a ``fraction`` of the images of each class.

    Args:
        classes: the group of each image, by class.
        fraction: the share.
        where: the place of the images, for messages.
        grouped_by: what makes the groups, for messages.

    Raises:
        ValueError: a class has a single group, or no choice was found that leaves images of each
            class on both sides.
    """
    single = sorted(name for name, groups in classes.items() if len(set(groups)) == 1)
    if single:
        only = printable(classes[single[0]][0])
        raise ValueError(
            f"`data` {where} has a single group of images of {join_names(single)} ({grouped_by}: "
            f"{only}), and a class needs one to train on and another to test on; "
            + _FOR_EVERY_IMAGE
        )
    targets = {
        name: min(max(1, round(fraction * len(groups))), len(groups) - 1)
        for name, groups in classes.items()
    }
    chosen = choose_groups(sizes_of(classes), targets, required=classes)
    missing = sorted(name for name, groups in classes.items() if chosen.isdisjoint(groups))
    if missing:
        raise ValueError(
            f"`data` {where}: no choice of whole groups ({grouped_by}) leaves images of "
            f"{join_names(missing)} both to train and to test on, since groups are in several "
            f"classes; name the test images yourself, in test/ or in a CSV file, or "
            + _FOR_EVERY_IMAGE
        )
    return chosen


def whole_groups_for_validation(classes: Mapping[str, Sequence[str]], share: float) -> set[str]:
    """Return the training groups to hold out, near a share of the images of each class.

    A class with three groups or more has images on both sides. One with fewer may have all of them
    to train on, unless none would be held out at all.
    """
    targets = {name: round(share * len(groups)) for name, groups in classes.items()}
    counts = {name: len(set(groups)) for name, groups in classes.items()}
    required: list[str] = []
    for least in (3, 2):
        required = required or [name for name, count in counts.items() if count >= least]
    chosen = choose_groups(sizes_of(classes), targets, required)
    if not chosen:
        raise ValueError(
            f"`validation` {share:.2g} of the training images cannot be held out in whole groups: "
            "no class has two groups to train on; use --validation 0, or "
            f"{_FOR_EVERY_IMAGE}"
        )
    return chosen


def choose_groups(sizes: Sizes, targets: Mapping[str, int], required: Collection[str]) -> set[str]:
    """Return the groups to set aside, in the order of hashes and then where they fit best.

    Args:
        sizes: the images of each class that a group has.
        targets: how many images of each class to set aside.
        required: classes of which some image has to be set aside, if that is possible. Of no class
            are all set aside.
    """
    choice = _Choice(sizes, targets)
    for group in choice.order:
        if choice.fits(group):
            choice.take(group)
    # What is left is too large for some class, and may still bring the classes nearer.
    while sum(choice.take_best(name, at_least=1) for name in choice.wanting()):
        pass
    for name in sorted(required):
        if not choice.taken[name]:
            choice.take_best(name)
    return choice.chosen


class _Choice:
    """The groups that are set aside so far."""

    def __init__(self, sizes: Sizes, targets: Mapping[str, int]):
        self.sizes, self.targets = sizes, targets
        self.order = sorted(sizes, key=lambda group: (name_hash(group), group))
        self.chosen: set[str] = set()
        self.taken: collections.Counter[str] = collections.Counter()
        self.groups_left = collections.Counter(name for group in sizes.values() for name in group)
        self.of_class: dict[str, list[str]] = {name: [] for name in targets}
        for group in self.order:
            for name in sizes[group]:
                self.of_class[name].append(group)

    def may(self, group: str) -> bool:
        """Return whether a group can be taken: another one is left of each of its classes."""
        return group not in self.chosen and all(
            self.groups_left[name] > 1 for name in self.sizes[group]
        )

    def fits(self, group: str) -> bool:
        """Return whether no class would have more than its share."""
        return self.may(group) and all(
            self.taken[name] + count <= self.targets[name]
            for name, count in self.sizes[group].items()
        )

    def gain(self, group: str) -> int:
        """Return by how much the classes come nearer to their shares, in parts of these."""
        return sum(
            _WEIGHT
            * (abs(self.taken[c] - self.targets[c]) - abs(self.taken[c] + n - self.targets[c]))
            // max(1, self.targets[c])
            for c, n in self.sizes[group].items()
        )

    def take(self, group: str) -> None:
        self.chosen.add(group)
        self.taken.update(self.sizes[group])
        self.groups_left.subtract(self.sizes[group].keys())

    def take_best(self, name: str, at_least: int | None = None) -> bool:
        """Take the group of a class that brings all nearest, the first among equals; return whether
        there was one, with the gain ``at_least``."""
        gains = {group: self.gain(group) for group in self.of_class[name] if self.may(group)}
        best = max(gains, key=gains.__getitem__, default=None)
        if best is None or (at_least is not None and gains[best] < at_least):
            return False
        self.take(best)
        return True

    def wanting(self) -> Iterator[str]:
        """Yield the classes that have less than their share."""
        for name in sorted(self.targets):
            if self.taken[name] < self.targets[name]:
                yield name


def sizes_of(classes: Mapping[str, Sequence[str]]) -> dict[str, collections.Counter[str]]:
    """Return the images of each class by group, from the group of each image by class."""
    sizes: dict[str, collections.Counter[str]] = {}
    for name, groups in classes.items():
        for group, count in collections.Counter(groups).items():
            sizes.setdefault(group, collections.Counter())[name] = count
    return sizes


def shared_groups(groups: Mapping[str, set[str]], grouped_by: str) -> list[str]:
    """Return a warning for each two splits that have groups in common, with their number."""
    notes = []
    for one, other in (("train", "test"), ("train", "validation"), ("validation", "test")):
        shared = sorted(groups.get(one, set()) & groups.get(other, set()))
        if shared:
            kind = "training" if one == "train" else one
            notes.append(
                f"warning: {len(shared):,} of {pluralize(len(groups[other]), 'group')} of the "
                f"{other} images ({grouped_by}) are among the {kind} images, too "
                f"({join_names(shared, 3)}): the {other} error is too low"
            )
    return notes
