"""Layer and root-mean-square normalization of each token, over the group and its channels."""

import math

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from gconv_jax.groups.irrep_features import (
    TRIVIAL,
    IrrepFeatures,
    SameFeatures,
    channel_count,
)
from gconv_jax.ops.accumulation import accumulation_dtype, as_floating, check_floating


def layer_norm(
    x: SameFeatures,
    scale: jax.Array | None = None,
    bias: jax.Array | None = None,
    *,
    epsilon: float = 1e-6,
    subtract_mean: bool = True,
    dtype: DTypeLike | None = None,
) -> SameFeatures:
    """Normalize the features on the group at each position by themselves.

    ``y = (x - mean) / sqrt(var + epsilon) * scale + bias``, with the mean and the variance over the
    elements and the channels, so that they do not change when the elements are permuted. Scale and
    bias are shared by the elements. Without ``subtract_mean`` it is the root-mean-square
    normalization ``y = x / sqrt(mean x^2 + epsilon) * scale + bias``.

    Args:
        x: ``[..., |G|, C]``, or `IrrepFeatures`: the transform is orthonormal, so that both give
            the same features.
        scale, bias: ``[C]``; by default 1 and 0.
        epsilon: added to the variance.
        subtract_mean: whether the mean is subtracted.
        dtype: of the result; by default what ``x`` and the parameters promote to. The statistics
            are float32 at least.

    Returns:
        Features of the same shape, in the same basis.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import layer_norm
    >>> y = layer_norm(jnp.array([[1.0, 2.0], [3.0, 4.0]]))
    >>> float(abs(y.mean()).round(4)), float(y.std().round(4))
    (0.0, 1.0)
    """
    x, scale, bias, dtype = prepare(x, scale, bias, epsilon, dtype)
    if isinstance(x, IrrepFeatures):
        y = _of_irreps(x, scale, bias, epsilon, subtract_mean)
        return y.map(lambda part: part.astype(dtype))
    if subtract_mean:
        x = x - x.mean((-2, -1), keepdims=True)
    y = x * lax.rsqrt(jnp.square(x).mean((-2, -1), keepdims=True) + epsilon)
    y = y if scale is None else y * scale
    y = y if bias is None else y + bias
    return y.astype(dtype)


def prepare(
    x: SameFeatures,
    scale: jax.Array | None,
    bias: jax.Array | None,
    epsilon: float,
    dtype: DTypeLike | None,
) -> tuple[SameFeatures, jax.Array | None, jax.Array | None, jnp.dtype]:
    """Return the arguments of a normalization in the accumulation dtype, and the result's dtype.

    Raises:
        ValueError: shapes or numbers that do not fit.
    """
    scale, bias = (None if p is None else jnp.asarray(p) for p in (scale, bias))
    parameters = [p for p in (scale, bias) if p is not None]
    if epsilon < 0:
        raise ValueError(f"`epsilon` must be at least 0, got {epsilon}")
    if not isinstance(x, IrrepFeatures):
        if jnp.ndim(x) < 2:
            raise ValueError(f"`x` must be [..., |G|, C], got shape {jnp.shape(x)}")
        x = as_floating(jnp.asarray(x), "x")
    dtype = check_floating(jnp.result_type(x.dtype, *parameters) if dtype is None else dtype)
    long, channels = accumulation_dtype(x.dtype), channel_count(x)
    for name, p in (("scale", scale), ("bias", bias)):
        if p is not None and p.shape != (channels,):
            raise ValueError(f"`{name}` must be [C={channels}], got shape {p.shape}")
    x = jax.tree.map(lambda part: part.astype(long), x)
    scale = None if scale is None else scale.astype(long)
    return x, scale, None if bias is None else bias.astype(long), dtype


def _of_irreps(
    x: IrrepFeatures,
    scale: jax.Array | None,
    bias: jax.Array | None,
    epsilon: float,
    subtract_mean: bool,
) -> IrrepFeatures:
    order = x.group.order
    if subtract_mean:
        mean = x.parts[TRIVIAL].mean(-1, keepdims=True) / math.sqrt(order)
        x = x.add_constant(-mean)
    squares = sum(jnp.square(part).sum((-3, -2, -1)) for part in x.parts.values())
    factor = lax.rsqrt(squares / (order * x.channels) + epsilon)[..., None, None, None]
    y = x.map(lambda part: part * factor)
    y = y if scale is None else y.map(lambda part: part * scale)
    return y if bias is None else y.add_constant(bias)
