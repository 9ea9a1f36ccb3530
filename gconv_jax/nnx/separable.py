"""Separable group convolutions as Flax NNX modules."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.nn.initializers import Initializer, lecun_normal, zeros
from jax.typing import DTypeLike

from gconv_jax.filter_basis import Filters
from gconv_jax.geometry import PaddingLike, make_windows, per_axis
from gconv_jax.groups import FiniteGroup, check_group
from gconv_jax.separable import Separable, separable_group_conv, separable_kernels


class SeparableGroupConv(nnx.Module):
    """A `GroupConv` whose filter is a product of one on space and one on the group: fewer
    parameters and multiplications for as many channels (Lengyel & van Gemert 2021,
    arXiv:2110.13059). See `gconv_jax.separable_group_conv` for the equation.

    The first layer stays a `LiftConv`.

    Args:
        in_features, out_features, kernel_size, strides, padding, kernel_dilation, use_bias, dtype,
            param_dtype, precision, bias_init, group, filters, rngs: as in `LiftConv`.
        kernel_init: of both kernels, with a fan-in of ``taps`` and of ``|G| C_in``: the variance
            of the product is that of a `GroupConv`.
        separable: ``gc``, one spatial filter for each output channel, or ``g``, one for each pair
            of channels.

    Attributes:
        spatial_kernel: ``[*kernel_size, 1, out_features]`` (gc) or ``[*kernel_size, in_features,
            out_features]`` (g); P parameters in place of the taps for ``filters`` other than
            pixels.
        pointwise_kernel: ``[|G|, in_features, out_features]``.
        bias: ``[out_features]`` or None.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax import P4
    >>> from gconv_jax.nnx import SeparableGroupConv
    >>> layer = SeparableGroupConv(16, 32, 3, group=P4, rngs=nnx.Rngs(0))
    >>> layer(jnp.ones((2, 9, 9, 4, 16))).shape
    (2, 9, 9, 4, 32)
    >>> layer.spatial_kernel.shape, layer.pointwise_kernel.shape
    ((3, 3, 1, 32), (4, 16, 32))
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        *,
        padding: PaddingLike = "SAME",
        kernel_dilation: int | Sequence[int] = 1,
        use_bias: bool = True,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        precision: lax.PrecisionLike = None,
        kernel_init: Initializer = lecun_normal(),  # noqa: B008
        bias_init: Initializer = zeros,
        group: FiniteGroup,
        separable: Separable = "gc",
        filters: Filters = "pixel",
        rngs: nnx.Rngs,
    ):
        check_group(group)
        (self.in_features,) = per_axis(in_features, 1, "in_features")
        (self.out_features,) = per_axis(out_features, 1, "out_features")
        self.kernel_size = per_axis(kernel_size, group.dimension, "kernel_size")
        self.kernel_dilation = per_axis(kernel_dilation, group.dimension, "kernel_dilation")
        windows = make_windows(self.kernel_size, strides, padding)
        self.strides = windows.strides
        self.padding = windows.padding
        self.use_bias = use_bias
        self.dtype = dtype
        self.param_dtype = param_dtype
        self.precision = precision
        self.group = group
        self.separable = separable
        self.filters = filters
        spatial, pointwise = separable_kernels(
            (rngs.params(), rngs.params()),
            kernel_init,
            in_features=self.in_features,
            out_features=self.out_features,
            kernel_size=self.kernel_size,
            group=group,
            separable=separable,
            filters=filters,
            dtype=param_dtype,
        )
        self.spatial_kernel, self.pointwise_kernel = nnx.Param(spatial), nnx.Param(pointwise)
        if use_bias:
            self.bias = nnx.Param(bias_init(rngs.params(), (self.out_features,), param_dtype))
        else:
            self.bias = nnx.data(None)

    def __call__(self, x: jax.Array) -> jax.Array:
        """``[..., |G|, in_features]`` to ``[..., |G|, out_features]``."""
        return separable_group_conv(
            x,
            self.spatial_kernel[...],
            self.pointwise_kernel[...],
            group=self.group,
            bias=None if self.bias is None else self.bias[...],
            strides=self.strides,
            padding=self.padding,
            dilation=self.kernel_dilation,
            dtype=self.dtype,
            precision=self.precision,
            filters=self.filters,
            kernel_size=self.kernel_size,
        )
