"""Windows that slide over a grid: resolved padding, and whether they keep the equivariance law.

A window of size k that moves in strides of s over n + 2p pixels ends flush with the last pixel
iff ``(n + 2p - k) % s == 0``. Only then do the windows of the turned image cover the same pixels as
the windows of the image. So only then does the layer commute with rotations and reflections.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gconv_jax.ops.arguments import per_axis

PaddingLike = str | int | Sequence[int] | Sequence[tuple[int, int]]
PADDING_MODES = ("SAME", "VALID", "CIRCULAR", "REFLECT")


@dataclass(frozen=True)
class Windows:
    """Windows that slide over the spatial axes of an array."""

    size: tuple[int, ...]
    """The pixels that a window spans on each axis, dilation included."""
    strides: tuple[int, ...]
    padding: str | tuple[tuple[int, int], ...]
    """A mode of `PADDING_MODES`, or a (low, high) pair for each axis."""

    def pads(self, axis: int, n: int) -> tuple[int, int]:
        """Return the padding on both ends of an axis of ``n`` pixels.

        Every mode but ``VALID`` gives ``ceil(n / stride)`` windows. The padding is symmetric
        wherever a symmetric one exists, that is everywhere but for even windows of stride 1. An
        odd window with an even stride on an even n gets 1 + 1 here, and 0 + 1 by XLA's ``SAME``.
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
        """Return ``(n + 2p - k) % s``: how many pixels at the end no window reaches."""
        return (n + sum(self.pads(axis, n)) - self.size[axis]) % self.strides[axis]

    def is_symmetric(self, axis: int, n: int) -> bool:
        """Return whether the windows on an axis of ``n`` pixels are their own mirror image.

        They are if they cover as much padding at the end as at the beginning.
        """
        low, high = self.pads(axis, n)
        return low == high - self.remainder(axis, n)

    def output_size(self, axis: int, n: int) -> int:
        """Return the number of windows that fit; ValueError if none does."""
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
    """Return `Windows` from arguments as a user writes them.

    ValueError or TypeError names the argument that is wrong.
    """
    rank = len(size)
    size = per_axis(size, rank, size_name)
    dilation = per_axis(dilation, rank, "dilation")
    return Windows(
        size=tuple((k - 1) * d + 1 for k, d in zip(size, dilation, strict=True)),
        strides=per_axis(strides, rank, "strides"),
        padding=_canonical_padding(padding, rank),
    )


def _canonical_padding(padding: PaddingLike, rank: int) -> str | tuple[tuple[int, int], ...]:
    """Return the padding as a mode in capitals or as pairs; ValueError for anything else."""
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
