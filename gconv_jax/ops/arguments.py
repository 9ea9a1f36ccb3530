"""Checks of arguments that are integers, and the names of spatial axes."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def is_integer(value: Any) -> bool:
    """Return whether a value is an integer of Python or NumPy; booleans are not."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def check_integer(
    name: str, value: Any, *, least: int | None = None, among: Sequence[int] | None = None
) -> int:
    """Return an argument as an ``int``.

    Args:
        name: the argument's, for messages.
        least: the smallest value that is allowed.
        among: the values that are allowed.

    Raises:
        TypeError: it is not an integer.
        ValueError: it is too small, or not among those allowed.

    >>> check_integer("width", 8, least=1)
    8
    """
    if not is_integer(value):
        raise TypeError(
            f"`{name}` must be an integer, got {value!r} of type {type(value).__name__}"
        )
    if least is not None and value < least:
        raise ValueError(f"`{name}` must be at least {least}, got {value}")
    if among is not None and value not in among:
        *first, last = map(str, among)
        raise ValueError(f"`{name}` must be {', '.join(first)} or {last}, got {value}")
    return int(value)


def per_axis(value: int | Sequence[int], rank: int, name: str, least: int = 1) -> tuple[int, ...]:
    """Return one integer for each of ``rank`` axes, from one or from as many integers.

    Raises:
        TypeError, ValueError: the value is something else, or an integer is less than ``least``.

    >>> per_axis(3, 2, "kernel_size")
    (3, 3)
    """
    values = (value,) * rank if isinstance(value, int | np.integer) else value
    message = f"`{name}` must be an integer or {rank} integers, got {value!r}"
    if isinstance(values, str) or not isinstance(values, Sequence | np.ndarray):
        raise TypeError(message)
    if len(values) != rank:
        raise ValueError(message)
    for v in values:
        if not is_integer(v):
            raise TypeError(message)
        if v < least:
            raise ValueError(f"`{name}` must be at least {least} on every axis, got {value!r}")
    return tuple(int(v) for v in values)


def spatial_axes(dimension: int) -> str:
    """Return the letters of the spatial axes of an image, in their order.

    >>> spatial_axes(2)
    'HW'
    """
    return "DHW"[-dimension:]
