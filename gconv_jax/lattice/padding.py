"""Windows that slide over a grid: resolved padding, and whether they keep the group's law.

A window of size k that moves in strides of s over n + 2p pixels ends flush with the last pixel
iff ``(n + 2p - k) % s == 0``. Only then do the windows of the turned image cover what the windows
of the image cover, so only then does the layer commute with rotations and reflections.
"""

import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gconv_jax.groups.finite import FiniteGroup

PaddingLike = str | int | Sequence[int] | Sequence[tuple[int, int]]
PADDING_MODES = ("SAME", "VALID", "CIRCULAR", "REFLECT")
ROUNDING = 1e-9  # of the matrices of finer rotations


class InexactEquivarianceWarning(UserWarning):
    """A layer's sizes break its equivariance; the message names the numbers and what to change."""


@dataclass(frozen=True)
class Windows:
    """Windows of ``size`` pixels (dilation included) on each spatial axis; ``padding`` is a mode
    of `PADDING_MODES` or one (low, high) pair for each axis."""

    size: tuple[int, ...]
    strides: tuple[int, ...]
    padding: str | tuple[tuple[int, int], ...]

    def pads(self, axis: int, n: int) -> tuple[int, int]:
        """Padding on both ends of an axis of ``n`` pixels.

        Every mode but ``VALID`` gives ``ceil(n / stride)`` windows, padded symmetrically where
        any padding does that: everywhere but for even windows of stride 1. XLA's own ``SAME``
        pads 0 + 1 where this pads 1 + 1, when an odd window has an even stride on an even n.
        """
        if not isinstance(self.padding, str):
            return self.padding[axis]
        if self.padding == "VALID":
            return 0, 0
        size, stride = self.size[axis], self.strides[axis]
        total = max((-(-n // stride) - 1) * stride + size - n, 0)
        if total % 2 and stride > 1:
            total += 1
        return total // 2, total - total // 2

    def remainder(self, axis: int, n: int) -> int:
        """``(n + 2p - k) % s``: the pixels at the end that no window reaches."""
        return (n + sum(self.pads(axis, n)) - self.size[axis]) % self.strides[axis]

    def is_symmetric(self, axis: int, n: int) -> bool:
        """Whether the windows on an axis of ``n`` pixels are their own mirror image: as much
        padding is covered at the end as at the beginning."""
        low, high = self.pads(axis, n)
        return low == high - self.remainder(axis, n)

    def output_size(self, axis: int, n: int) -> int:
        """How many windows fit; ValueError if none does."""
        low, high = self.pads(axis, n)
        count = (n + low + high - self.size[axis]) // self.strides[axis] + 1
        if count < 1:
            raise ValueError(
                f"`x` has {n} pixels on spatial axis {axis}, padded {low}+{high}: fewer than the "
                f"{self.size[axis]} that one window covers; use a larger image or more `padding`"
            )
        return count


def make_windows(
    size: Sequence[int],
    strides: int | Sequence[int],
    padding: PaddingLike,
    dilation: int | Sequence[int] = 1,
    *,
    size_name: str = "kernel_size",
) -> Windows:
    """`Windows` from arguments as a user writes them; ValueError names the one that is wrong."""
    rank = len(size)
    size = per_axis(size, rank, size_name)
    dilation = per_axis(dilation, rank, "dilation")
    return Windows(
        size=tuple((k - 1) * d + 1 for k, d in zip(size, dilation, strict=True)),
        strides=per_axis(strides, rank, "strides"),
        padding=_canonical_padding(padding, rank),
    )


def per_axis(value: int | Sequence[int], rank: int, name: str, least: int = 1) -> tuple[int, ...]:
    """One integer for each of ``rank`` axes, from one or from as many integers."""
    values = (value,) * rank if isinstance(value, int | np.integer) else value
    if isinstance(values, str) or not isinstance(values, Sequence | np.ndarray):
        raise TypeError(f"`{name}` must be an integer or {rank} integers, got {value!r}")
    if len(values) != rank:
        raise ValueError(f"`{name}` must be an integer or {rank} integers, got {value!r}")
    for v in values:
        if isinstance(v, bool) or not isinstance(v, int | np.integer):
            raise TypeError(f"`{name}` must be an integer or {rank} integers, got {value!r}")
        if v < least:
            raise ValueError(f"`{name}` must be at least {least} on every axis, got {value!r}")
    return tuple(int(v) for v in values)


def _canonical_padding(padding: PaddingLike, rank: int) -> str | tuple[tuple[int, int], ...]:
    remedy = (
        f"`padding` must be one of {', '.join(PADDING_MODES)}, an integer, or {rank} integers or "
        f"(low, high) pairs, got {padding!r}"
    )
    if isinstance(padding, str):
        if padding.upper() not in PADDING_MODES:
            raise ValueError(remedy)
        return padding.upper()
    if isinstance(padding, int | np.integer):
        padding = (padding,) * rank
    if not isinstance(padding, Sequence | np.ndarray):
        raise TypeError(remedy)
    if len(padding) != rank:
        raise ValueError(remedy)
    try:
        pairs = [per_axis(pair, 2, "padding", least=0) for pair in padding]
    except (TypeError, ValueError):
        raise ValueError(remedy) from None
    return tuple((low, high) for low, high in pairs)


def warn_if_inexact(
    windows: Windows, spatial: Sequence[int], *, group: FiniteGroup, what: str
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
            f"{what} over {group!r} is not exactly equivariant here: {'; '.join(reasons)}",
            InexactEquivarianceWarning,
            stacklevel=_level_of_caller(),
        )


def _exchange_faults(windows: Windows, group: FiniteGroup) -> list[str]:
    """Settings that must not differ between axes which the group exchanges."""
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
    """The ``stacklevel`` of a warning about the code that called this library."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("gconv_jax"):
        frame, level = frame.f_back, level + 1
    return level


def _mirror_fault(windows: Windows, axis: int, n: int) -> str:
    """Why the windows on this axis are not their own mirror image, and what would mend it."""
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
        # Above rather than below, if there is a choice: nothing of the image is lost.
        nearest = min(even_pads, key=lambda p: (abs(2 * p - low - high), -p))
        remedy = f"no size keeps it with this padding; padding={nearest} does"
    else:
        remedy = "no size keeps it with this padding; make it symmetric"
    return f"size {n}, padding {low}+{high}, window {size}, stride {stride}: {fault}; {remedy}"
