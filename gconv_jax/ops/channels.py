"""Group and channel axes merged to one, the layout for which XLA:CPU makes the fastest loops."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def merge_channels(x: jax.Array) -> jax.Array:
    """Return ``[..., |G|, C]`` as ``[..., |G| C]``, the group axis slow, as in the filter bank."""
    return x.reshape(*x.shape[:-2], x.shape[-2] * x.shape[-1])


# XLA:CPU would fuse a tile into loops over the image, and divide for every pixel there. It does not
# fuse a matrix product; one with ones and zeros is exact.


def tile_channels(a: jax.Array, order: int) -> jax.Array:
    """Repeat a vector that the group shares for merged channels: ``[C]`` to ``[|G| C]``."""
    if order == 1:
        return a
    return lax.platform_dependent(
        a, cpu=lambda a: _product(a, _ones(a, order)), default=lambda a: jnp.tile(a, order)
    )


def mean_channels(a: jax.Array, order: int) -> jax.Array:
    """Return the mean over the group of merged channels: ``[..., |G| C]`` to ``[..., C]``."""
    if order == 1:
        return a
    return lax.platform_dependent(
        a,
        cpu=lambda a: _product(a, _ones(a[..., : a.shape[-1] // order], order).T) / order,
        default=lambda a: a.reshape(*a.shape[:-1], order, -1).mean(-2),
    )


def _ones(a: jax.Array, order: int) -> jax.Array:
    return jnp.asarray(np.tile(np.eye(a.shape[-1]), order), a.dtype)


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.dot(a, b, precision=lax.Precision.HIGHEST)
