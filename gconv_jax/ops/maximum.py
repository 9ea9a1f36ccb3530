"""The maximum over axes of an array, with a gradient that is finite however it is compiled."""

import jax
import jax.numpy as jnp
from jax import lax


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
        while (n := x.shape[axis]) > 1:
            first = lax.slice_in_dim(x, 0, n // 2, axis=axis)
            second = lax.slice_in_dim(x, n // 2, 2 * (n // 2), axis=axis)
            rest = lax.slice_in_dim(x, 2 * (n // 2), n, axis=axis)
            x = jnp.maximum(first, second)
            if n % 2:
                x = jnp.concatenate([x, rest], axis)
    return lax.squeeze(x, axes)
