"""Masks as labels: the class of each pixel, and which values in a file stand for which class."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..names import join_names, pluralize

IGNORED = 255
"""The value of pixels that have no class: they count neither in training nor in figures."""
MOST_CLASSES = 64
_SHOWN = 8


class MaskClasses(NamedTuple):
    """The values that masks have in their files, and the classes that these stand for."""

    values: tuple[int, ...]
    """The value of each class, rising."""
    names: tuple[str, ...]

    def indices(self, mask: np.ndarray) -> np.ndarray:
        """Return the class of each pixel, uint8 `IGNORED` where it has none.

        ValueError if there is a value that stands for no class.

        >>> MaskClasses((0, 255), ("ground", "cell")).indices(np.array([0, 255])).tolist()
        [0, 1]
        """
        table = np.full(256, -1, np.int16)
        table[IGNORED] = IGNORED
        table[list(self.values)] = range(len(self.values))
        found = table[np.clip(mask, 0, IGNORED)]
        odd = np.unique(mask[(found < 0) | (mask < 0) | (mask > IGNORED)])
        if odd.size:
            raise ValueError(
                f"it has the {_values(odd)}, and the classes are {shown_values(self.values)}"
            )
        return found.astype(np.uint8)

    def stored(self, label: np.ndarray) -> np.ndarray:
        """Return masks in the values of files, uint8; the inverse of `indices`."""
        table = np.full(256, IGNORED, np.uint8)
        table[: len(self.values)] = self.values
        return table[label]


def kept_classes(values: Any, names: Sequence[str]) -> MaskClasses:
    """Return the classes that a saved network has, from the values that are kept with it.

    ValueError unless there is a value for each of the names, as in `classes_of_values`.
    """
    indices = list(range(len(names)))
    if values not in (indices, [0, IGNORED]) or len(values) != len(names):
        raise ValueError(
            f"`mask_values` must be 0 to {len(names) - 1}, one for each class, or 0 and 255 for "
            f"two classes; got {values!r}"
        )
    return MaskClasses(tuple(values), tuple(names))


def classes_of_values(found: Sequence[int], names: Sequence[str] | None) -> MaskClasses:
    """Return the classes of masks with these values, rising.

    They are the indices 0 to K - 1, with `IGNORED` for pixels without a class, or 0 and 255 alone.

    Args:
        found: all values of all masks.
        names: those of the classes in the order of their indices, if they are known.

    Raises:
        ValueError: there is one class alone, or values are no such indices.
    """
    indices = [value for value in found if value != IGNORED]
    if indices == [0] and len(found) == 2:  # black and white
        if names is not None and len(names) != 2:
            raise ValueError(f"masks of 0 and 255 have two classes, and {_named(names)}")
        return MaskClasses((0, IGNORED), tuple(names or ("0", "255")))
    count = len(names) if names is not None else max(indices, default=-1) + 1
    if len(found) > MOST_CLASSES or count > MOST_CLASSES:
        raise ValueError(
            f"masks have {pluralize(len(found), 'different value')} ({shown_values(found)}), as "
            "anti-aliased or JPEG masks have; save them as PNG of class indices, 0 to K - 1, or of "
            "0 and 255 for two classes"
        )
    if min(indices, default=0) < 0 or max(indices, default=0) >= count:
        raise ValueError(f"masks have the {_values(indices)}, and {_named(names or ())}")
    absent = sorted(set(range(count)) - set(indices))
    if names is None and absent:
        raise ValueError(
            f"masks have the {_values(indices)}, and none of {shown_values(absent)}: they must be "
            "the indices 0 to K - 1 of K classes, with 255 for pixels without a class, or 0 and "
            "255 alone; name all classes (classes.txt, class_names) if some are in no mask"
        )
    if count < 2:
        raise ValueError("masks have one class alone: there is nothing to learn")
    if names is None:
        names = [str(i) for i in range(count)]
    if len(set(names)) < count:
        raise ValueError(f"names of classes must differ, got {join_names(list(names))}")
    return MaskClasses(tuple(range(count)), tuple(names))


def shown_values(values: Sequence[Any] | np.ndarray) -> str:
    """Return some of the values in words."""
    some = [str(value) for value in values[:_SHOWN]]
    return ", ".join([*some, *(["..."] if len(values) > _SHOWN else [])])


def _values(values: Sequence[int] | np.ndarray) -> str:
    return f"value{'s' * (len(values) != 1)} {shown_values(values)}"


def _named(names: Sequence[str]) -> str:
    return f"{pluralize(len(names), 'class')} {'is' if len(names) == 1 else 'are'} named"
