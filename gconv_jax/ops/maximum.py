"""Maxima over axes of an array, with gradients that are right however they are compiled.

The derivatives that JAX has compare the operands with the maximum. A compiler may compute an
operand twice, once for the maximum and once for the comparison, and round the two differently. Then
no operand wins, and the gradient is lost without a word. Here operands are compared with one
another.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

# Measured on a CPU. With fewer channels, JAX's derivative of maxima of slices takes as little as
# half of the time of `max_of_pairs`; with three axes, the fusions of XLA repeat too much.
_CHANNELS = 16
_AXES = 2


def max_over(x: jax.Array, axes: int | tuple[int, ...]) -> jax.Array:
    """Return ``x.max(axes)``, computed as a tree of maxima of two.

    The gradient of `jax.numpy.max` divides by how many entries equal the maximum, which may be
    none. That of `maximum` gives each of two equal entries a half.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> jax.grad(lambda x: max_over(x, 0))(jnp.array([1.0, 3.0, 3.0, 2.0, 0.0]))
    Array([0. , 0.5, 0.5, 0. , 0. ], dtype=float32)
    """
    axes = (axes,) if isinstance(axes, int) else axes
    axes = tuple(sorted((axis % x.ndim for axis in axes), reverse=True))
    for axis in axes:
        while (n := x.shape[axis]) > 1:
            first = lax.slice_in_dim(x, 0, n // 2, axis=axis)
            second = lax.slice_in_dim(x, n // 2, 2 * (n // 2), axis=axis)
            rest = lax.slice_in_dim(x, 2 * (n // 2), n, axis=axis)
            x = maximum(first, second)
            if n % 2:
                x = jnp.concatenate([x, rest], axis)
    return lax.squeeze(x, axes)


def maximum(x: jax.Array, y: jax.Array) -> jax.Array:
    """Return the larger of two numbers; its derivative is that of the larger, or the mean of both
    where they are equal.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> x, y = jnp.array([1.0, 2.0, 3.0]), jnp.array([3.0, 2.0, 1.0])
    >>> jax.grad(lambda x: maximum(x, y).sum())(x)
    Array([0. , 0.5, 1. ], dtype=float32)
    """
    return _maximum(x, y) if jnp.issubdtype(x.dtype, jnp.floating) else jnp.maximum(x, y)


@jax.custom_jvp
def _maximum(x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.maximum(x, y)


@_maximum.defjvp
def _jvp_of_two(primals, tangents):
    (x, y), (dx, dy) = primals, tangents
    return _maximum(x, y), jnp.where(x > y, dx, jnp.where(x < y, dy, (dx + dy) / 2))


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def max_of_pairs(x: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """Return the maximum of every two neighbors, on one axis after another.

    JAX's derivative of a maximum of slices pads the cotangent of each slice with zeros, and adds
    them. This one has the same values: it compares each entry with its neighbor, and so writes the
    cotangent of ``x`` in one pass.

    Args:
        x: floating-point values.
        axes: the axes, counted from the first and ascending. The last entry of an odd one is left
            out.

    >>> import jax.numpy as jnp
    >>> max_of_pairs(jnp.array([1.0, 5.0, 3.0, 4.0, 9.0]), (0,))
    Array([5., 4.], dtype=float32)
    """
    for axis in axes:
        end = x.shape[axis] // 2 * 2
        x = jnp.maximum(*(lax.slice_in_dim(x, i, end, 2, axis) for i in range(2)))
    return x


@max_of_pairs.defjvp
def _jvp(axes: tuple[int, ...], primals, tangents):
    (x,), (dx,) = primals, tangents
    y = max_of_pairs(x, axes)
    x, dx = _pairs(lax.stop_gradient(x), axes), _pairs(dx, axes)
    within = tuple(axis + i + 1 for i, axis in enumerate(axes))
    winners, equal = [], 1
    for axis in within:
        # Each entry is compared with its neighbor, not with y: a compiler may compute x a second
        # time and round it differently from y, and then no entry would win.
        neighbor = lax.rev(x, (axis,))
        winners.append(x >= neighbor)
        equal = equal * jnp.where(x == neighbor, 2, 1).astype(x.dtype)
        x = jnp.maximum(x, neighbor)
    # In the transpose the quotient comes last. XLA does not fuse it into several consumers, which
    # would each compare again: with that, a step of a network over C8 took 1.04 of the time.
    dx = dx / equal
    for wins in winners:
        dx = jnp.where(wins, dx, 0)
    return y, dx.sum(within)


def _pairs(x: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """Return ``x`` with each of ``axes``, of ``n`` entries, as two axes ``[n // 2, 2]``."""
    ends = [n // 2 * 2 if axis in axes else n for axis, n in enumerate(x.shape)]
    shape = [(n // 2, 2) if axis in axes else (n,) for axis, n in enumerate(ends)]
    return lax.slice(x, [0] * x.ndim, ends).reshape(*itertools.chain(*shape))


def max_of_pairs_pays(channels: int, axes: int, dtype: DTypeLike, platform: str) -> bool:
    """Return whether `max_of_pairs` is faster than maxima of slices, or at least not slower.

    Args:
        channels: the size of the last axis, which must not be one of those of the maximum.
        axes: the number of axes.
        dtype: that of the array. Integers have no derivative.
        platform: ``jax.default_backend()``. Others than ``cpu`` are not measured.

    >>> max_of_pairs_pays(40, 2, "float32", "cpu"), max_of_pairs_pays(10, 2, "float32", "cpu")
    (True, False)
    """
    return (
        platform == "cpu"
        and jnp.issubdtype(dtype, jnp.floating)
        and axes <= _AXES
        and channels >= _CHANNELS
    )
