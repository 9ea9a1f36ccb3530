"""Residual pathways: an ordinary convolution beside an equivariant one, and the prior of both."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from gconv_jax.conv.common import convolve
from gconv_jax.conv.group import check_feature_map, check_image
from gconv_jax.conv.options import ConvOptions
from gconv_jax.filters.bank import filter_bank
from gconv_jax.groups.finite import FiniteGroup
from gconv_jax.ops.accumulation import accumulation_dtype
from gconv_jax.ops.channels import merge_channels
from gconv_jax.planar.conv import planar_conv


def residual_conv_with(
    options: ConvOptions, x: jax.Array, w: jax.Array, free: jax.Array, *, lifting: bool
) -> jax.Array:
    """Return the sum of a group convolution and an ordinary one on merged channels (Finzi, Benton &
    Wilson 2021, arXiv:2112.01388).

    ``y = group_conv(x, w) + planar_conv(merge_channels(x), free)``, or `lift_conv` if ``lifting``.
    Both are linear in their filters, so the sum of the filter bank and the free kernel is convolved
    once.

    Args:
        options: those of the group convolution.
        x: feature maps ``[*batch, *spatial, |G|, C_in]``, or images if ``lifting``.
        w: base filter.
        free: the shape of the filter bank, as `free_kernel_shape`: the group axis is slow.
        lifting: whether ``x`` are images.

    Returns:
        ``[*batch, *spatial', |G|, C_out]``.
    """
    group = options.group
    x, w, free = (jnp.asarray(a) for a in (x, w, free))
    kernel = options.kernel(w, lifting=lifting)
    (check_image if lifting else check_feature_map)(x, w, group)
    shape = free_kernel_shape(group, kernel, *w.shape[-2:], lifting=lifting)
    if free.shape != shape:
        raise ValueError(
            f"`free_kernel` must be {list(shape)} for {group!r} and a kernel of shape {w.shape}, "
            f"got shape {free.shape}"
        )
    dtype = options.result_dtype(x, w, free)
    bank = filter_bank(w, lifting=lifting, fields=options.fields, **options.filter_options)
    bank = (bank + free).astype(dtype)
    return convolve(
        x.astype(dtype),
        lambda x, **settings: planar_conv(x if lifting else merge_channels(x), bank, **settings),
        options,
        kernel=kernel,
        channel_axes=1 if lifting else 2,
        order=group.order,
    )


def free_kernel_shape(
    group: FiniteGroup, kernel: tuple[int, ...], c_in: int, c_out: int, *, lifting: bool
) -> tuple[int, ...]:
    """Return the shape of the free kernel: ``[*kernel, |G| C_in, |G| C_out]``, or ``[*kernel, C_in,
    |G| C_out]`` if ``lifting``, in pixels whatever the base filters are."""
    return *kernel, c_in if lifting else group.order * c_in, group.order * c_out


def residual_penalty(
    model: Any, *, equivariant: jax.Array | float, free: jax.Array | float
) -> jax.Array:
    """Return the penalty that prefers the equivariant kernels of residual layers to the free ones
    (Finzi, Benton & Wilson 2021, arXiv:2112.01388).

    It is the sum of ``(equivariant |kernel|^2 + free |free_kernel|^2) / 2`` over all layers
    `gconv_jax.nnx.ResidualLiftConv` and `gconv_jax.nnx.ResidualGroupConv`, and their Linen
    counterparts. That is the negative logarithm of a Gaussian prior, whose variances are the
    inverses of the coefficients. With a large ``free`` the layers depart from the law only as far
    as the data demand.

    Args:
        model: an NNX module, its state, or the parameters of a Linen model; a layer by itself, too.
        equivariant, free: the coefficients, which may be traced.

    Returns:
        A scalar, at least float32, to be added to a loss.

    Raises:
        ValueError: there are no residual layers.
        TypeError: ``model`` is something else.

    >>> from flax import nnx
    >>> from gconv_jax import P4, residual_penalty
    >>> from gconv_jax.nnx import ResidualGroupConv
    >>> layer = ResidualGroupConv(1, 1, 1, group=P4, use_bias=False, rngs=nnx.Rngs(0))
    >>> layer.free_kernel.shape
    (1, 1, 4, 4)
    >>> layer.free_kernel[...] += 1
    >>> float(residual_penalty(layer, equivariant=0.0, free=10.0))
    80.0
    """
    layers = list(_residual_layers(_parameters(model)))
    if not layers:
        raise ValueError(
            "`model` must have a ResidualLiftConv or a ResidualGroupConv, parameters `kernel` and "
            f"`free_kernel` beside each other, got none in a {type(model).__name__}"
        )
    terms = [equivariant * _square(kernel) + free * _square(other) for kernel, other in layers]
    return sum(terms[1:], terms[0]) / 2


def _parameters(model: Any) -> Mapping[Any, Any]:
    from flax import nnx  # its import loads Optax

    if isinstance(model, nnx.Module):
        return nnx.to_pure_dict(nnx.state(model, nnx.Param))
    if isinstance(model, nnx.State):
        return nnx.to_pure_dict(model)
    if isinstance(model, Mapping):
        return model
    raise TypeError(
        "`model` must be an NNX module or the parameters of a Linen model, "
        f"got a {type(model).__name__}"
    )


def _residual_layers(tree: Mapping[Any, Any]) -> Iterator[tuple[jax.Array, jax.Array]]:
    """Yield the two kernels of each residual layer in nested mappings."""
    if "kernel" in tree and "free_kernel" in tree:
        yield tree["kernel"], tree["free_kernel"]
    for child in tree.values():
        if isinstance(child, Mapping):
            yield from _residual_layers(child)


def _square(kernel: jax.Array) -> jax.Array:
    """Return the sum of squares, in the accumulation dtype."""
    kernel = jnp.asarray(kernel)
    return jnp.square(kernel.astype(accumulation_dtype(kernel.dtype))).sum()
