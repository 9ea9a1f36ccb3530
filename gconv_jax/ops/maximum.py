"""Maxima over axes of an array, with gradients that are finite however they are compiled."""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

# Measured on a CPU. With fewer channels, JAX's derivative of maxima of slices takes as little as
# half of the time of `max_of_twos`; with three axes, the fusions of XLA repeat too much.
_CHANNELS = 16
_AXES = 2


def max_over(x: jax.Array, axes: int | tuple[int, ...]) -> jax.Array:
    """Return ``x.max(axes)``, computed as a tree of maxima of two.

    The gradient of `jax.numpy.max` divides by how many entries equal the maximum. A compiler may
    compute an entry twice, once for the maximum and once for the comparison, and round the two
    differently; then none is equal, and the gradient is 0 / 0. The gradient of a maximum of two
    divides by 1, or by 2 where both are equal.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> jax.grad(lambda x: max_over(x, 0))(jnp.array([1.0, 3.0, 3.0, 2.0, 0.0]))
    Array([0. , 0.5, 0.5, 0. , 0. ], dtype=float32)
    """
    axes = (axes,) if isinstance(axes, int) else axes
    axes = tuple(sorted((axis % x.ndim for axis in axes), reverse=True))
    for axis in axes:
        if x.shape[axis] in (2, 4) and axis < x.ndim - 1:
            twos = (2,) * (x.shape[axis] // 2)
            if max_of_twos_pays(x.shape[-1], len(twos), x.dtype, jax.default_backend()):
                tree = x.reshape(*x.shape[:axis], *twos, *x.shape[axis + 1 :])
                tree = max_of_twos(tree, tuple(range(axis, axis + len(twos))))
                x = lax.expand_dims(tree, [axis])
        while (n := x.shape[axis]) > 1:
            first = lax.slice_in_dim(x, 0, n // 2, axis=axis)
            second = lax.slice_in_dim(x, n // 2, 2 * (n // 2), axis=axis)
            rest = lax.slice_in_dim(x, 2 * (n // 2), n, axis=axis)
            x = jnp.maximum(first, second)
            if n % 2:
                x = jnp.concatenate([x, rest], axis)
    return lax.squeeze(x, axes)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def max_of_twos(x: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """Return the maximum over axes of size 2, one after another, without them.

    JAX's derivative of a maximum of slices pads the cotangent of each slice with zeros, and adds
    them. This one has the same values: it compares each entry with its neighbor, and so writes the
    cotangent of ``x`` in one pass.

    Args:
        x: floating-point values.
        axes: the axes, counted from the first, each of size 2, in the order of the maxima.

    >>> import jax.numpy as jnp
    >>> max_of_twos(jnp.array([[[1.0, 5.0], [3.0, 4.0]]]), (1,))
    Array([[3., 5.]], dtype=float32)
    """
    for axis in axes:
        x = jnp.maximum(*(lax.slice_in_dim(x, i, i + 1, axis=axis) for i in range(2)))
    return lax.squeeze(x, axes)


@max_of_twos.defjvp
def _jvp(axes: tuple[int, ...], primals, tangents):
    (x,), (dx,) = primals, tangents
    y = max_of_twos(x, axes)
    x = lax.stop_gradient(x)
    for axis in axes:
        # Each entry is compared with its neighbor, not with y: a compiler may compute x a second
        # time and round it differently from y, and then no entry would win. Nested selections
        # would take 1.4 to 1.8 times as long as this sum.
        neighbor = lax.rev(x, (axis,))
        dx = jnp.where(x > neighbor, dx, 0) + jnp.where(x == neighbor, dx / 2, 0)
        x = jnp.maximum(x, neighbor)
    return y, dx.sum(axes)


def max_of_twos_pays(channels: int, axes: int, dtype: DTypeLike, platform: str) -> bool:
    """Return whether `max_of_twos` is faster than maxima of slices, or at least not slower.

    Args:
        channels: the size of the last axis, which must not be one of those of the maximum.
        axes: the number of axes.
        dtype: that of the array. Integers have no derivative.
        platform: ``jax.default_backend()``. Others than ``cpu`` are not measured.

    >>> max_of_twos_pays(40, 2, "float32", "cpu"), max_of_twos_pays(10, 2, "float32", "cpu")
    (True, False)
    """
    return (
        platform == "cpu"
        and jnp.issubdtype(dtype, jnp.floating)
        and axes <= _AXES
        and channels >= _CHANNELS
    )
