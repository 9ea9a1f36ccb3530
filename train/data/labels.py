"""The labels of images: one class for each, or several labels, or none of the classes.

A data set has several labels if one of its images has several. A label is then a tuple of classes,
and the network is given 0 or 1 for each class.
"""

import collections
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

SEPARATOR = ";"
"""The character between several labels of an image, in files and in what is written."""
NO_LABEL = "none of the classes"
"""The words for an image without a label."""

Label = int | tuple[int, ...]
"""The place of a class among their names; the places of all if images have several."""


def split_labels(cell: str) -> tuple[str, ...]:
    """Return the names in a cell of a table; none if it is empty.

    Raises:
        ValueError: one of several names is empty, or comes twice.
    """
    names = [name.strip() for name in cell.split(SEPARATOR)]
    if names == [""]:
        return ()
    if "" in names:
        raise ValueError(f"label {cell}: a name before or after {SEPARATOR} is empty")
    if len(set(names)) < len(names):
        raise ValueError(f"label {cell}: a name comes twice")
    return tuple(names)


def label_array(labels: Sequence[Label], classes: int, *, several: bool) -> np.ndarray:
    """Return labels as the network is given them: int32 ``[N]``, or 0 and 1 as float32
    ``[N, classes]`` if images have several.

    >>> label_array([(0, 2), ()], 3, several=True).tolist()
    [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    """
    if not several:
        return np.asarray(labels, np.int32)
    array = np.zeros((len(labels), classes), np.float32)
    for row, label in zip(array, labels, strict=True):
        row[list(places(label))] = 1
    return array


def places(label: Label) -> tuple[int, ...]:
    """Return the places of all classes of an image."""
    return label if isinstance(label, tuple) else (label,)


def classes_of(label: np.ndarray) -> list[int]:
    """Return the classes that some image has, from labels of a `label_array`."""
    found = np.unique(label) if label.ndim == 1 else np.flatnonzero(label.any(0))
    return found.tolist()


def rarest(every: Iterable[tuple[str, ...]]) -> Mapping[tuple[str, ...], str]:
    """Return, for each set of labels, the one that the fewest images have, or `NO_LABEL`.

    Images are divided by it: a part of each of these strata is a part of each class, and of the
    rare ones, of which few images decide, most exactly.
    """
    sets = collections.Counter(every)
    counts: collections.Counter[str] = collections.Counter()
    for names, count in sets.items():
        counts.update(dict.fromkeys(names, count))
    return {
        names: min(names, key=lambda name: (counts[name], name), default=NO_LABEL) for names in sets
    }
