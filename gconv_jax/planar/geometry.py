"""The geometry of a convolution: sizes, strides, padding and dilation."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax


class Geometry(NamedTuple):
    """The windows of a convolution; ``spatial`` and ``kernel`` are the sizes of x and w."""

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
        """True if some padding is negative. Only the second derivative of a strided convolution
        and the first one of a convolution with much padding have that."""
        return min(min(pair) for pair in self.padding) < 0

    @property
    def is_pointwise(self) -> bool:
        """True if every pixel of y is computed from the same pixel of x alone."""
        return (
            math.prod(self.kernel) == 1
            and max(self.strides) == 1
            and all(pair == (0, 0) for pair in self.padding)
        )

    def of_one_image(self, pixels: int) -> "Geometry":
        """The geometry of a pointwise convolution where so many pixels are a single column."""
        return self._replace(spatial=(pixels,) + (1,) * (len(self.kernel) - 1))

    @property
    def adjoint(self) -> "Geometry":
        """The geometry of the convolution with the reversed filter that gives the input gradient
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
    """Return ``[N, *spatial, ...]`` with ``strides - 1`` zeros between its pixels."""
    interior = [(0, 0, s - 1) for s in geometry.strides]
    rest = [(0, 0, 0)] * (g.ndim - 1 - len(interior))
    return lax.pad(g, jnp.zeros((), g.dtype), [(0, 0, 0), *interior, *rest])
