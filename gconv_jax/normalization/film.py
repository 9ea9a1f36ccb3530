"""Scales and shifts of channels by numbers that do not change under the group."""

import jax
import jax.numpy as jnp

from gconv_jax.groups.irrep_features import (
    TRIVIAL,
    IrrepFeatures,
    SameFeatures,
    batch_axes,
    channel_count,
)
from gconv_jax.ops.accumulation import accumulation_dtype, as_floating
from gconv_jax.ops.arguments import check_integer


def film(
    x: SameFeatures, scale: jax.Array | None = None, shift: jax.Array | None = None
) -> SameFeatures:
    """Return ``x * scale + shift``, the same at all positions and all elements of an example.

    The equivariance law holds if scale and shift are invariant: made of a time, a class, a text, or
    of a pooled feature map, but not of single orientations (Perez et al. 2018, arXiv:1709.07871).

    Args:
        x: features on the group ``[N, ..., |G|, C]``, or `IrrepFeatures`.
        scale, shift: ``[N, C]``, or ``[C]`` for all examples; by default 1 and 0.

    Returns:
        Features of the same shape and dtype, in the same basis; integers become floating.

    Raises:
        ValueError: shapes that do not fit.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import film
    >>> film(jnp.ones((2, 9, 9, 4, 1)), jnp.array([[3.0], [4.0]])).mean((1, 2, 3)).tolist()
    [[3.0], [4.0]]
    """
    x, channels, batch = _with_examples(x), channel_count(x), batch_axes(x)
    irreps = isinstance(x, IrrepFeatures)
    after = len(batch) - 1 + (2 if irreps else 1)  # the axes between the examples and the channels

    def broadcast(a: jax.Array, name: str) -> jax.Array:
        a = jnp.asarray(a)
        if a.shape not in ((channels,), (batch[0], channels)):
            raise ValueError(
                f"`{name}` must be [N={batch[0]}, C={channels}] or [C={channels}], got shape "
                f"{a.shape}"
            )
        return a.reshape(a.shape[:-1] + (1,) * after + (channels,)).astype(x.dtype)

    if scale is not None:
        factor = broadcast(scale, "scale")
        x = x.map(lambda part: part * factor) if isinstance(x, IrrepFeatures) else x * factor
    if shift is None:
        return x
    constant = broadcast(shift, "shift")
    return x.add_constant(constant) if isinstance(x, IrrepFeatures) else x + constant


def invariant_mean(x: SameFeatures) -> jax.Array:
    """Return the mean over positions and elements, ``[N, C]``, of features on the group.

    It does not change when the group acts on ``x``, and is what squeeze-and-excitation looks at.

    >>> import jax.numpy as jnp
    >>> from gconv_jax.normalization.film import invariant_mean
    >>> invariant_mean(jnp.ones((2, 9, 9, 4, 5))).shape
    (2, 5)
    """
    x = _with_examples(x)
    n, c = batch_axes(x)[0], channel_count(x)
    long = accumulation_dtype(x.dtype)
    if isinstance(x, IrrepFeatures):
        mean = x.parts[TRIVIAL].reshape(n, -1, c).mean(1, dtype=long) / x.group.order**0.5
    else:
        mean = x.reshape(n, -1, c).mean(1, dtype=long)
    return mean.astype(x.dtype)


def _with_examples(x: SameFeatures) -> SameFeatures:
    """Return floating features; ValueError if they have no axis of examples."""
    if not isinstance(x, IrrepFeatures):
        x = as_floating(jnp.asarray(x), "x")
    if not batch_axes(x):
        raise ValueError("`x` must have an axis of examples in front of the group axis")
    return x


def squeezed_features(num_features: int, reduction: int) -> int:
    """Return the hidden width of a squeeze-and-excitation, at least 1."""
    check_integer("num_features", num_features, least=1)
    return max(1, num_features // check_integer("reduction", reduction, least=1))
