"""The accumulation dtype, in which numbers of short types are summed, and checks of dtypes."""

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike


def accumulation_dtype(dtype: DTypeLike) -> jnp.dtype:
    """Return float32, or ``dtype`` if that is wider, as the matrix units of accelerators sum.

    It works also where a program forbids JAX to promote types by itself.

    >>> import jax.numpy as jnp
    >>> from gconv_jax.ops.accumulation import accumulation_dtype
    >>> accumulation_dtype(jnp.bfloat16), accumulation_dtype(jnp.float64)
    (dtype('float32'), dtype('float64'))
    """
    with jax.numpy_dtype_promotion("standard"):
        return jnp.promote_types(dtype, jnp.float32)


def as_floating(x: jax.Array, name: str) -> jax.Array:
    """Return real numbers as they are, and integers as floating ones.

    ValueError for complex numbers; ``name`` is the argument's.
    """
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        raise ValueError(f"`{name}` must be real, got {x.dtype}")
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.result_type(float))


def check_floating(dtype: DTypeLike) -> jnp.dtype:
    """Return ``dtype``; ValueError unless it is a floating type."""
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"`dtype` must be floating, got {jnp.dtype(dtype)}; pass jnp.float32")
    return jnp.dtype(dtype)
