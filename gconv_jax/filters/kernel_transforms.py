"""Functions that change a base filter before each use: ``kernel_transform`` of the layers."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from gconv_jax.ops.accumulation import accumulation_dtype


def standardize_weights(w: jax.Array, *, epsilon: float = 1e-5) -> jax.Array:
    """Return the filter with scaled weight standardization.

    The filter of each output channel gets mean 0 and, over its n weights, variance 1 / n (Qiao et
    al. 2019, arXiv:1903.10520; the scale is that of Brock et al. 2021, arXiv:2101.08692). The
    result is ``(w - mean) / sqrt(n var + epsilon)``, over all axes but the last. All orientations
    come from one base filter, so the equivariance law holds as before. With it a network may do
    without batch normalization, or train on batches of one image.

    Args:
        w: the base filter of any layer, ``[..., C_out]``.
        epsilon: the number under the root that keeps constant filters finite.

    Returns:
        The same shape and dtype.

    >>> import jax
    >>> from flax import nnx
    >>> from gconv_jax import P4, standardize_weights
    >>> from gconv_jax.nnx import GroupConv
    >>> options = {"group": P4, "kernel_transform": standardize_weights, "rngs": nnx.Rngs(0)}
    >>> GroupConv(16, 32, 3, **options)(jax.numpy.ones((2, 9, 9, 4, 16))).shape
    (2, 9, 9, 4, 32)
    """
    w = jnp.asarray(w)
    if w.ndim < 2 or not jnp.issubdtype(w.dtype, jnp.floating):
        raise ValueError(
            f"`w` must be a floating base filter [..., C_out], got shape {w.shape} and {w.dtype}"
        )
    axes = tuple(range(w.ndim - 1))
    long = w.astype(accumulation_dtype(w.dtype))
    centered = long - long.mean(axes)
    n = math.prod(w.shape[:-1])
    return (centered * jax.lax.rsqrt(n * (centered**2).mean(axes) + epsilon)).astype(w.dtype)


KernelTransform = Callable[[jax.Array], jax.Array]


def check_transform(transform: KernelTransform | None) -> KernelTransform:
    """Return ``transform`` itself, or the identity for None; TypeError for anything else."""
    if transform is None:
        return _unchanged
    if not callable(transform):
        raise TypeError(f"`kernel_transform` must be a function, got {transform!r}")
    return transform


def _unchanged(w: jax.Array) -> jax.Array:
    return w
