"""The width at which a network has as many parameters as another one, found without training."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from flax import nnx

from ..config import Config
from ..data.vectors import Vectors
from .build_model import build_model, parameter_count

CLOSE = 0.15
"""The largest relative difference of two parameter counts that are said to be near each other."""
_AT_ONCE = 0.01
"""A network of the published width is taken as it is if it is as near as this."""
_WIDEST = 1 << 16


class Sized(NamedTuple):
    """A network and its number of parameters."""

    config: Config
    parameters: int


def count_parameters(
    config: Config,
    *,
    classes: int,
    in_features: int,
    image_shape: tuple[int, ...] | None = None,
    vectors: Vectors | None = None,
) -> int:
    """Return the number of parameters of a network, which is only built as shapes; see
    `build_model`."""
    form: dict[str, Any] = {
        "classes": classes,
        "in_features": in_features,
        "image_shape": image_shape,
    }
    form["vectors"] = vectors
    model = nnx.eval_shape(lambda: build_model(config, **form))
    return parameter_count(nnx.state(model, nnx.Param))


def with_parameters(
    config: Config,
    target: int,
    *,
    classes: int,
    in_features: int,
    image_shape: tuple[int, ...] | None = None,
    vectors: Vectors | None = None,
) -> Sized:
    """Return a network with the ``width`` that brings its number of parameters nearest to a target.

    The published width of the network is taken if that is within 1 %.

    Args:
        config: the network; its width does not matter.
        target: the number of parameters to come near to.
        classes, in_features, image_shape, vectors: as in `build_model`.
    """
    form: dict[str, Any] = {
        "classes": classes,
        "in_features": in_features,
        "image_shape": image_shape,
    }
    form["vectors"] = vectors

    def count(width: int | None) -> int | None:
        try:
            sized = dataclasses.replace(config, width=width)
            return count_parameters(sized, **form)
        except ValueError:  # such as a width that the heads of a transformer do not divide
            if width is None:
                raise
            return None

    published = count(None)
    if published is not None and abs(published - target) <= _AT_ONCE * target:
        return Sized(dataclasses.replace(config, width=None), published)
    width, parameters = nearest_width(count, target)
    return Sized(dataclasses.replace(config, width=width), parameters)


def nearest_width(count: Callable[[int], int | None], target: int) -> tuple[int, int]:
    """Return the width whose count is nearest to a target, and that count.

    Args:
        count: grows with the width, about as its square; None for widths that cannot be.
        target: a positive number.
    """
    known: dict[int, int | None] = {}

    def at(width: int) -> int | None:
        if width not in known:
            known[width] = count(width)
        return known[width]

    def first(widths: range) -> tuple[int, int] | None:
        found = ((width, at(width)) for width in widths)
        return next(((width, n) for width, n in found if n is not None), None)

    low = high = _required(first(range(1, 65)))
    while high[1] < target:
        # At least twice as wide, and a little more than the square law says.
        guess = int(1.1 * high[0] * math.sqrt(target / high[1]))
        start = max(2 * high[0], min(guess, 8 * high[0]))
        low, high = high, _required(first(range(start, min(start + 64, _WIDEST))))
    while high[0] - low[0] > 1:
        middle = _between(low, high, target)
        found = first(range(middle, high[0])) or first(range(middle - 1, low[0], -1))
        if found is None:
            break
        low, high = (low, found) if found[1] >= target else (found, high)
    return min((low, high), key=lambda sized: abs(sized[1] - target))


def _between(low: tuple[int, int], high: tuple[int, int], target: int) -> int:
    """Return a width between two others, where a square law has the target."""
    roots = [math.sqrt(n) for n in (low[1], target, high[1])]
    share = (roots[1] - roots[0]) / max(roots[2] - roots[0], 1e-9)
    guess = low[0] + round(share * (high[0] - low[0]))
    return min(max(guess, low[0] + 1), high[0] - 1)


def _required(found: tuple[int, int] | None) -> tuple[int, int]:
    if found is None:
        raise ValueError("`width` cannot be chosen: no width of the plain network can be built")
    return found
