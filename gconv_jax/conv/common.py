"""The steps that all group convolutions share: batch axes, padding, the convolution, the bias."""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from gconv_jax.conv.options import ConvOptions
from gconv_jax.lattice.exactness import warn_if_inexact
from gconv_jax.lattice.hexagons import check_hexagons, mask_of
from gconv_jax.lattice.padding import Windows
from gconv_jax.ops.arguments import per_axis
from gconv_jax.ops.channels import tile_channels


def convolve(
    x: jax.Array,
    run: Callable[..., jax.Array],
    options: ConvOptions,
    *,
    kernel: Sequence[int],
    channel_axes: int,
    order: int,
) -> jax.Array:
    """Return the convolution that ``run`` computes, with all that surrounds it: the check of the
    sizes, batch axes, padding, the bias, and the border of a hexagon.

    Args:
        x: ``[*batch, *spatial, C]`` or, with two ``channel_axes``, ``[*batch, *spatial, G, C]``.
        run: called with ``[N, *spatial, ...]`` and the settings of `planar_conv`; returns
            ``[N, *spatial', order C_out]`` or ``[N, *spatial', order, C_out]``.
        kernel: the spatial size of the filter.
        order: the size of the group axis of the result.
    """
    group, windows = options.group, options.windows(kernel)
    rank = group.dimension
    batch = x.shape[: x.ndim - channel_axes - rank]
    spatial = x.shape[len(batch) : x.ndim - channel_axes]
    warn_if_inexact(windows, spatial, group=group, caller=options.caller)
    output = [windows.output_size(axis, n) for axis, n in enumerate(spatial)]
    x = x.reshape(math.prod(batch), *x.shape[len(batch) :])
    if group.is_hexagonal:
        check_hexagons(windows, output)
        x = x * mask_of(x, channel_axes)
    x, pads = _pad_input(x, windows)
    y = run(
        x,
        strides=windows.strides,
        padding=pads,
        dilation=per_axis(options.dilation, rank, "dilation"),
        precision=options.precision,
    )
    # On merged channels: XLA:CPU makes good loops over |G| C numbers, poor ones over C.
    y = y.reshape(*y.shape[: 1 + rank], math.prod(y.shape[1 + rank :]))
    y = add_bias(y, options.bias, order)
    if group.is_hexagonal:
        y = y * mask_of(y, 1)
    return y.reshape(*batch, *output, order, y.shape[-1] // order)


def _pad_input(x: jax.Array, windows: Windows) -> tuple[jax.Array, list[tuple[int, int]]]:
    """Return ``[N, *spatial, ...]``, padded where that is by other values than zeros, and the zeros
    (low, high) that are still to be added."""
    rank = len(windows.size)
    pads = [windows.pads(axis, n) for axis, n in enumerate(x.shape[1 : 1 + rank])]
    if windows.padding not in ("CIRCULAR", "REFLECT"):
        return x, pads
    mode = {"CIRCULAR": "wrap", "REFLECT": "reflect"}[windows.padding]
    x = jnp.pad(x, [(0, 0), *pads, *[(0, 0)] * (x.ndim - 1 - rank)], mode=mode)
    return x, [(0, 0)] * rank


def add_bias(y: jax.Array, bias: jax.Array | None, order: int) -> jax.Array:
    """Return ``[..., order C]`` plus a bias of C numbers, or of none; ValueError if it has another
    shape."""
    if bias is None:
        return y
    channels = y.shape[-1] // order
    if jnp.shape(bias) != (channels,):
        raise ValueError(
            f"`bias` must have shape ({channels},), one value for each output channel and shared "
            f"by all group elements, got {jnp.shape(bias)}"
        )
    bias = tile_channels(jnp.asarray(bias, y.dtype), order)
    return y + jnp.expand_dims(bias, tuple(range(y.ndim - 1)))
