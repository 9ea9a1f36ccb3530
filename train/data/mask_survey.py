"""A look through the masks of a user before they are read: their values and their sizes."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..names import join_names, pluralize
from .image_files import in_threads
from .listing import Listing
from .mask_classes import MOST_CLASSES, MaskClasses, classes_of_values, shown_values
from .mask_files import fitted_mask
from .sources import MaskSource

_NAMED = 3


class _Look(NamedTuple):
    name: str
    values: np.ndarray
    problem: str | None
    """The reason why the mask cannot be used; None if it can."""


def survey_masks(
    source: MaskSource,
    found: Listing,
    channels: int,
    *,
    trained: MaskClasses | None = None,
    advance: Callable[[], object] = lambda: None,
) -> MaskClasses:
    """Return the classes of the masks of some images, from the values of all.

    Args:
        source: the place of images and masks.
        found: those in it.
        channels: the channels of the images.
        trained: the classes that a network knows; masks have no others.
        advance: is called for each mask.

    Raises:
        ValueError: a mask cannot be read, has another size than its image, or the values are no
            classes. The message names masks.
    """

    def look(name: str) -> _Look:
        try:
            mask = source.mask(name)
        except ValueError as error:
            return _Look(name, np.empty(0, int), str(error))
        values = np.unique(mask)
        try:
            sides = source.sides(name, channels)
        except ValueError:  # the image cannot be read, which is said when it is read
            return _Look(name, values, None)
        if sides != mask.shape:
            shown = [" x ".join(map(str, shape)) for shape in (mask.shape, sides)]
            return _Look(name, values, f"it is of {shown[0]} pixels, and the image of {shown[1]}")
        return _Look(name, values, None)

    looks = []
    for seen in in_threads(look, [file.name for file in found.files]):
        looks.append(seen)
        advance()
    bad = [seen for seen in looks if seen.problem is not None]
    if bad:
        named = [f"{source.mask_name(seen.name)}: {seen.problem}" for seen in bad]
        raise ValueError(
            f"`data` {source.data} has {pluralize(len(bad), 'mask')} of {len(looks):,} that cannot "
            f"be used: {join_names(named, _NAMED)}"
        )
    if trained is not None:
        _require_known(source, looks, trained)
        return trained
    values = np.unique(np.concatenate([seen.values for seen in looks])).tolist()
    try:
        return classes_of_values(values, source.class_names)
    except ValueError as error:
        odd = max(looks, key=lambda seen: len(seen.values))
        where = ""
        if len(odd.values) > MOST_CLASSES or len(odd.values) < len(values) > MOST_CLASSES:
            count = pluralize(len(odd.values), "value")
            where = f"; {source.mask_name(odd.name)} has {count}"
        raise ValueError(f"`data` {source.data}: {error}{where}") from None


def labels_of_masks(
    source: MaskSource, names: list[str], classes: MaskClasses, sides: tuple[int, ...]
) -> np.ndarray:
    """Return the masks of some images as the network is given them, uint8 ``[N, *sides]``."""

    def fitted(name: str) -> np.ndarray:
        return fitted_mask(classes.indices(source.mask(name)), sides)

    label = np.empty((len(names), *sides), np.uint8)
    for row, mask in zip(label, in_threads(fitted, names), strict=True):
        row[:] = mask
    return label


def _require_known(source: MaskSource, looks: list[_Look], trained: MaskClasses) -> None:
    """Raise ValueError if a mask has a value that is none of the classes."""
    for seen in looks:
        try:
            trained.indices(seen.values)
        except ValueError as error:
            raise ValueError(
                f"`data` {source.data}: {source.mask_name(seen.name)}: {error} "
                f"({shown_values(trained.names)})"
            ) from None
