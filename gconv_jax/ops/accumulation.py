"""The accumulation dtype: in which numbers of short types are summed."""

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
