"""The warning that strides and paddings of a layer break equivariance, and its rule."""

import sys
import warnings
from collections.abc import Sequence
from typing import Literal

import numpy as np

from gconv_jax.groups.finite import FiniteGroup
from gconv_jax.lattice.padding import Windows

ROUNDING = 1e-9  # of the matrices of finer rotations


class InexactEquivarianceWarning(UserWarning):
    """The warning that a layer's sizes break its equivariance.

    The message names the numbers and what to change.
    """


def warn_if_inexact(
    windows: Windows, spatial: Sequence[int], *, group: FiniteGroup, caller: str
) -> None:
    """Warn with `InexactEquivarianceWarning` if these windows break the law of ``group`` on an
    input with ``spatial`` pixels. Everything is known while tracing, so it costs nothing later."""
    mirrored = np.any(
        group.matrices < -ROUNDING, axis=(0, 1)
    )  # the axes that some element reverses
    # Equal axes have the same fault: say it once.
    by_fault: dict[str, list[str]] = {}
    for axis, n in enumerate(spatial):
        if mirrored[axis] and not windows.is_symmetric(axis, n):
            by_fault.setdefault(_mirror_fault(windows, axis, n), []).append(str(axis))
    reasons = _exchange_faults(windows, group) + [
        f"spatial axis {' and '.join(axes)}: {fault}" for fault, axes in by_fault.items()
    ]
    if reasons:
        warnings.warn(
            f"{caller} over {group!r} is not exactly equivariant here: {'; '.join(reasons)}",
            InexactEquivarianceWarning,
            stacklevel=_level_of_caller(),
        )


def _exchange_faults(windows: Windows, group: FiniteGroup) -> list[str]:
    """Return a message for each setting that differs between axes which the group exchanges."""
    exchanged = np.any(np.abs(group.matrices) > ROUNDING, axis=0)
    settings: dict[Literal["size", "strides", "padding"], Sequence] = {
        "size": windows.size,
        "strides": windows.strides,
    }
    if not isinstance(windows.padding, str):
        settings["padding"] = windows.padding
    return [
        f"it exchanges axes {a} and {b}, whose window {name} differ ({values[a]} and {values[b]})"
        for name, values in settings.items()
        for a in range(len(values))
        for b in range(a)
        if exchanged[a, b] and values[a] != values[b]
    ]


def _level_of_caller() -> int:
    """Return the ``stacklevel`` of a warning about the code that called this library."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("gconv_jax"):
        frame, level = frame.f_back, level + 1
    return level


def _mirror_fault(windows: Windows, axis: int, n: int) -> str:
    """Return why the windows on this axis are not their own mirror image, and a remedy."""
    (low, high), size, stride = windows.pads(axis, n), windows.size[axis], windows.strides[axis]
    if low == high:
        fault = f"({n} + {low + high} - {size}) % {stride} = {windows.remainder(axis, n)}, not 0"
    else:
        fault = "the padding is not symmetric"
    # The condition repeats with the stride, so the nearest good sizes are within one of it.
    good = [
        m
        for m in range(max(n - stride, 1), n + stride + 1)
        if m + sum(windows.pads(axis, m)) >= size and windows.is_symmetric(axis, m)
    ]
    even_pads = [p for p in range(size) if n + 2 * p >= size and (n + 2 * p - size) % stride == 0]
    if good:
        nearest = sorted(sorted(good, key=lambda m: abs(m - n))[:2])
        remedy = f"nearest sizes that keep it: {' and '.join(map(str, nearest))}"
    elif even_pads:
        # Prefer more padding to less, since then nothing of the image is lost.
        nearest = min(even_pads, key=lambda p: (abs(2 * p - low - high), -p))
        remedy = f"no size keeps it with this padding; padding={nearest} does"
    else:
        remedy = "no size keeps it with this padding; make it symmetric"
    return f"size {n}, padding {low}+{high}, window {size}, stride {stride}: {fault}; {remedy}"
