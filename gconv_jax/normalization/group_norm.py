"""Group and instance normalization: of each example, over space, the group and some channels."""

import math

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from gconv_jax.groups.irrep_features import TRIVIAL, IrrepFeatures, SameFeatures
from gconv_jax.normalization.layer_norm import prepare
from gconv_jax.ops.arguments import check_integer


def group_norm(
    x: SameFeatures,
    scale: jax.Array | None = None,
    bias: jax.Array | None = None,
    *,
    num_groups: int,
    epsilon: float = 1e-6,
    dtype: DTypeLike | None = None,
) -> SameFeatures:
    """Normalize each example of features on the group, over space, elements and groups of channels.

    ``y = (x - mean) / sqrt(var + epsilon) * scale + bias`` (Wu & He 2018, arXiv:1803.08494). The
    channels are divided into ``num_groups`` runs, which have nothing to do with the group of
    symmetries. Mean and variance are over all positions, all elements and the channels of a run, so
    that they do not change when the group acts. With ``num_groups=C`` it is instance normalization
    (Ulyanov et al. 2016, arXiv:1607.08022).

    Args:
        x: ``[N, ..., |G|, C]``, or `IrrepFeatures`: the transform is orthonormal, so that both give
            the same features.
        scale, bias: ``[C]``; by default 1 and 0.
        num_groups: the number of runs, a divisor of C.
        epsilon: added to the variance.
        dtype: of the result; by default what ``x`` and the parameters promote to. The statistics
            are float32 at least.

    Returns:
        Features of the same shape, in the same basis.

    Raises:
        ValueError: ``num_groups`` does not divide the channels, or there is no axis of examples.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import group_norm
    >>> x = jnp.arange(2 * 9 * 4 * 6.0).reshape(2, 9, 4, 6)
    >>> y = group_norm(x, num_groups=3)
    >>> bool((abs(y.reshape(2, -1, 3, 2).mean((1, 3))) < 1e-5).all())
    True
    """
    x, scale, bias, dtype = prepare(x, scale, bias, epsilon, dtype)
    channels = x.channels if isinstance(x, IrrepFeatures) else x.shape[-1]
    if channels % check_integer("num_groups", num_groups, least=1):
        raise ValueError(f"`num_groups` must divide the {channels} channels, got {num_groups}")
    if isinstance(x, IrrepFeatures):
        y = _of_irreps(x, scale, bias, num_groups, epsilon)
        return y.map(lambda part: part.astype(dtype))
    if x.ndim < 3:
        raise ValueError(f"`x` must be [N, ..., |G|, C], got shape {x.shape}")
    runs = x.reshape(x.shape[0], -1, num_groups, channels // num_groups)
    runs = runs - runs.mean((1, 3), keepdims=True)
    factor = lax.rsqrt(jnp.square(runs).mean((1, 3), keepdims=True) + epsilon)
    if scale is not None:
        factor = factor * scale.reshape(num_groups, -1)
    y = runs * factor
    y = y if bias is None else y + bias.reshape(num_groups, -1)
    return y.reshape(x.shape).astype(dtype)


def _of_irreps(
    x: IrrepFeatures,
    scale: jax.Array | None,
    bias: jax.Array | None,
    num_groups: int,
    epsilon: float,
) -> IrrepFeatures:
    if not x.batch:
        raise ValueError("`x` must have an axis of examples in front of the group axis")
    n, order, c = x.batch[0], x.group.order, x.channels

    def per_channel(a: jax.Array) -> jax.Array:
        """Return numbers ``[N, num_groups]`` as ``[N, 1, ..., 1, C]``."""
        a = jnp.repeat(a, c // num_groups, axis=-1, total_repeat_length=c)
        return a.reshape(n, *[1] * (len(x.batch) + 1), c)

    def total(a: jax.Array) -> jax.Array:
        return a.reshape(n, -1, num_groups, c // num_groups).sum((1, 3))

    # Only the trivial part has a mean over the elements, and there it is sqrt(|G|) times as large.
    places = math.prod(x.batch[1:])
    count = places * order * (c // num_groups)
    mean = total(x.parts[TRIVIAL]) * math.sqrt(order) / count
    x = x.add_constant(-per_channel(mean))
    squares = sum(total(jnp.square(part)) for part in x.parts.values())
    factor = per_channel(lax.rsqrt(squares / count + epsilon))
    factor = factor if scale is None else factor * scale
    y = x.map(lambda part: part * factor)
    return y if bias is None else y.add_constant(bias)
