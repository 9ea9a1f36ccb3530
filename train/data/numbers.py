"""Numbers as labels: what a network for regression is given of each image.

A list of images keeps them as text, such as ``3.5;-1.0`` for two targets, where it has the name of
a class otherwise.
"""

import math
from collections.abc import Sequence

import numpy as np

from .labels import SEPARATOR
from .vectors import Vectors, center_and_scale

LARGEST = float(np.finfo(np.float32).max)
SMALLEST = 1e-15
"""The least deviation of numbers. The squares of smaller ones are 0 in float32, or nearly so."""


def as_text(values: Sequence[float]) -> str:
    """Return numbers as a list of images keeps them.

    >>> as_text([3.5, -1])
    '3.5;-1.0'
    """
    return SEPARATOR.join(repr(float(value)) for value in values)


def read_number(cell: str, target: str) -> float:
    """Return the number in a cell of a table; ValueError if it is none, not finite, or too large
    for float32."""
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        hint = ", which has a point for decimals" if "," in cell else ""
        raise ValueError(
            f"{target} {cell} is no finite number{hint}" if cell else f"empty {target}"
        )
    if abs(value) > LARGEST:
        raise ValueError(f"{target} {cell} is too large for float32: give it in another unit")
    return value


def number_array(texts: Sequence[str], targets: int) -> np.ndarray:
    """Return the numbers of images as the network is given them, float32 ``[N, targets]``.

    >>> number_array(["3.5;-1.0", "0.0;2.0"], 2).tolist()
    [[3.5, -1.0], [0.0, 2.0]]
    """
    rows = [[float(value) for value in text.split(SEPARATOR)] for text in texts]
    return np.asarray(rows, np.float32).reshape(len(rows), targets)


def require_variation(
    values: np.ndarray, names: Sequence[str], vectors: Vectors | None = None
) -> None:
    """Raise ValueError if a target has one value in all training images, or a vector the length 0:
    it has no deviation to measure errors in; or one that is too small for float32."""
    _, scales = center_and_scale(values, vectors) if len(values) else (None, ())
    for name, scale in zip(names, scales, strict=False):
        if 0 < scale < SMALLEST:
            raise ValueError(
                f"`targets` {name} varies by {scale:.1g} alone, which is too little for float32: "
                "give it in another unit"
            )
    for places in () if vectors is None else vectors.places:
        if len(values) and not values[:, list(places)].any():
            raise ValueError(
                f"`vectors` {' '.join(names[k] for k in places)} are 0 for all {len(values):,} "
                "training images: there is no direction to learn; leave them out"
            )
    for k in range(len(names)) if vectors is None else vectors.scalars:
        name, column = names[k], values[:, k]
        if len(column) and np.ptp(column) == 0:
            raise ValueError(
                f"`targets` {name} is {column[0]:g} for all {len(column):,} training images: there "
                "is nothing to learn; leave it out"
            )
