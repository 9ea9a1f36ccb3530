"""The geometry of a convolution: sizes, strides, padding and dilation."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax


class Geometry(NamedTuple):
    """Where the windows of a convolution lie; ``spatial`` and ``kernel`` are sizes of x and w."""

    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    spatial: tuple[int, ...]
    kernel: tuple[int, ...]

    @property
    def output(self) -> tuple[int, ...]:
        """Spatial sizes of y."""
        return tuple(
            max((n + low + high - (k - 1) * d - 1) // s + 1, 0)
            for n, (low, high), k, d, s in zip(
                self.spatial, self.padding, self.kernel, self.dilation, self.strides, strict=True
            )
        )

    @property
    def crops(self) -> bool:
        """Negative padding, which only the second derivative of a strided convolution, or the
        first one of a convolution with much padding, might have."""
        return min(min(pair) for pair in self.padding) < 0

    @property
    def adjoint(self) -> "Geometry":
        """The geometry of the convolution with the reversed filter, which gives the input gradient
        from the cotangent with zeros between its pixels (`spread`)."""
        spread_ = tuple((m - 1) * s + 1 for m, s in zip(self.output, self.strides, strict=True))
        padding = tuple(
            ((k - 1) * d - low, n - m + low)
            for k, d, (low, _), n, m in zip(
                self.kernel, self.dilation, self.padding, self.spatial, spread_, strict=True
            )
        )
        ones = (1,) * len(self.strides)
        return self._replace(strides=ones, padding=padding, spatial=spread_)


def spread(g: jax.Array, geometry: Geometry) -> jax.Array:
    """``[N, *spatial, ...]`` with ``strides - 1`` zeros between its pixels."""
    interior = [(0, 0, s - 1) for s in geometry.strides]
    rest = [(0, 0, 0)] * (g.ndim - 1 - len(interior))
    return lax.pad(g, jnp.zeros((), g.dtype), [(0, 0, 0), *interior, *rest])
