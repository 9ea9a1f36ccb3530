"""Normalization by the moments of a batch, with a derivative of its own.

``y = (x - mean) / sqrt(var + epsilon) * scale + bias`` for each channel. The derivative needs two
sums over the batch and one pass over its numbers, which JAX's own does not find:

    dy = f (dx - E[dx]) + (x - mean) r (dscale - f r E[(x - mean) dx]) + dbias,

with r = 1 / sqrt(var + epsilon) and f = r scale. Transposed, the sums are those of the cotangent
and of its product with x. The variance is that of the differences from the mean, so that a mean far
from zero does not lose it.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gconv_jax.ops.channels import mean_channels, tile_channels


class Settings(NamedTuple):
    """The arguments that have no derivative."""

    order: int
    """The elements of the group, which share the channels."""
    epsilon: float
    axis_name: str | tuple[str, ...] | None = None
    """The axis of devices over which the moments are taken."""


@functools.partial(jax.custom_jvp, nondiff_argnums=(4,))
def normalize(
    x: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    share: jax.Array | None,
    settings: Settings,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the normalized numbers, and the mean and variance of each channel.

    Args:
        x: ``[..., |G| C]``, float32 or float64.
        scale, bias: ``[C]``.
        share: the weight of each element of the group in the moments, ``[|G|]`` with the sum 1,
            which has no derivative; None for equal ones.
        settings: the rest.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[1.0, 4.0], [3.0, 8.0]])
    >>> y, mean, var = normalize(x, jnp.ones(2), jnp.zeros(2), None, Settings(1, 0.0))
    >>> y.tolist(), mean.tolist(), var.tolist()
    ([[-1.0, -1.0], [1.0, 1.0]], [2.0, 6.0], [1.0, 4.0])
    """
    rows = _rows(x)
    mean = _expectation(rows.sum(_batch_axes(rows)), x, share, settings)
    difference = rows - tile_channels(mean, settings.order)
    squares = (difference * difference).sum(_batch_axes(rows))
    var = _expectation(squares, x, share, settings)
    factor = lax.rsqrt(var + settings.epsilon) * scale
    mean_of_all, factor_of_all, bias_of_all = (
        tile_channels(a, settings.order) for a in (mean, factor, bias)
    )
    return (x - mean_of_all) * factor_of_all + bias_of_all, mean, var


@normalize.defjvp
def _jvp(settings: Settings, primals, tangents):
    x, scale, bias, share = primals
    dx, dscale, dbias, _ = tangents
    y, mean, var = normalize(x, scale, bias, share, settings)
    r = lax.rsqrt(var + settings.epsilon)
    factor = r * scale
    if jax.default_backend() == "cpu":
        # The transpose computes the cotangent of x once. XLA:CPU would compute it twice, for
        # a convolution and for its bias: a tenth of the training step of a P4CNN.
        dx = lax.optimization_barrier(dx)
    # Sums and what they are the transposes of are over the same rows.
    rows, difference = _rows(dx), _rows(x) - tile_channels(mean, settings.order)
    axes = _batch_axes(rows)
    dmean = _expectation(rows.sum(axes), x, share, settings)
    product = _expectation((rows * difference).sum(axes), x, share, settings)
    constant = dbias - factor * dmean
    slope = r * (dscale - factor * r * product)
    factor, constant, slope = (tile_channels(a, settings.order) for a in (factor, constant, slope))
    dy = rows * factor + constant + difference * slope
    return (y, mean, var), (dy.reshape(x.shape), dmean, 2 * product)


def _rows(x: jax.Array) -> jax.Array:
    """Return ``[..., K]`` as ``[rows, K]``: XLA:CPU sums over one axis several times faster than
    over three. XLA:TPU has tiles of the last two axes, and would copy them."""
    return x if jax.default_backend() == "tpu" else x.reshape(-1, x.shape[-1])


def _batch_axes(x: jax.Array) -> tuple[int, ...]:
    return tuple(range(x.ndim - 1))


def _expectation(
    sums: jax.Array, x: jax.Array, share: jax.Array | None, settings: Settings
) -> jax.Array:
    """Return the mean over batch, space, group and devices, from the sums over batch and space."""
    means = sums / (x.size // x.shape[-1])
    if share is None:
        means = mean_channels(means, settings.order)
    else:
        means = jnp.einsum("gc,g->c", means.reshape(settings.order, -1), share)
    return means if settings.axis_name is None else lax.pmean(means, settings.axis_name)
