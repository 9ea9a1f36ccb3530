"""Transposed group convolutions as Flax NNX modules."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.nn.initializers import Initializer, lecun_normal, zeros
from jax.typing import DTypeLike

from gconv_jax.filter_basis import Filters
from gconv_jax.filters import filter_axes
from gconv_jax.geometry import PaddingLike, make_windows, per_axis
from gconv_jax.groups import FiniteGroup, check_group
from gconv_jax.initializers import quick
from gconv_jax.transposed import group_conv_transpose


class GroupConvTranspose(nnx.Module):
    """From feature maps on the group to larger ones, for decoders; stands where
    ``nnx.ConvTranspose`` stood. See `gconv_jax.group_conv_transpose` for the equation, the law, and
    what ``padding`` means.

    Args:
        in_features, out_features, kernel_size, strides, kernel_dilation, use_bias, dtype,
            param_dtype, precision, kernel_init, bias_init, group, filters, rngs: as in `LiftConv`.
        padding: as in `gconv_jax.group_conv_transpose`.

    Attributes:
        kernel: ``[*kernel_size, |G|, in_features, out_features]``; P parameters in place of the
            taps for ``filters`` other than pixels.
        bias: ``[out_features]`` or None.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax import P4
    >>> from gconv_jax.nnx import GroupConvTranspose
    >>> layer = GroupConvTranspose(16, 8, 4, strides=2, group=P4, rngs=nnx.Rngs(0))
    >>> layer(jnp.ones((2, 7, 7, 4, 16))).shape
    (2, 14, 14, 4, 8)
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
        self.filters = filters
        taps = filter_axes(filters, group, self.kernel_size)
        shape = (*taps, group.order, self.in_features, self.out_features)
        self.kernel = nnx.Param(quick(kernel_init)(rngs.params(), shape, param_dtype))
        if use_bias:
            self.bias = nnx.Param(bias_init(rngs.params(), (self.out_features,), param_dtype))
        else:
            self.bias = nnx.data(None)

    def __call__(self, x: jax.Array) -> jax.Array:
        """``[..., |G|, in_features]`` to ``[..., |G|, out_features]``."""
        return group_conv_transpose(
            x,
            self.kernel[...],
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
