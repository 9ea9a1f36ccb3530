"""Transposed group convolutions as Flax Linen modules."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.nn.initializers import Initializer, lecun_normal, zeros

from gconv_jax.filter_basis import Filters
from gconv_jax.filters import filter_axes
from gconv_jax.geometry import PaddingLike, per_axis
from gconv_jax.groups import FiniteGroup, check_group
from gconv_jax.initializers import quick
from gconv_jax.transposed import group_conv_transpose


class GroupConvTranspose(nn.Module):
    """From feature maps on the group to larger ones; stands where ``nn.ConvTranspose`` stood.
    Arguments, and names and shapes of the parameters, as `gconv_jax.nnx.GroupConvTranspose`.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4
    >>> from gconv_jax.linen import GroupConvTranspose
    >>> layer = GroupConvTranspose(8, 4, strides=2, group=P4)
    >>> layer.init_with_output(jax.random.key(0), jnp.ones((2, 7, 7, 4, 16)))[0].shape
    (2, 14, 14, 4, 8)
    """

    features: int
    kernel_size: int | Sequence[int]
    strides: int | Sequence[int] = 1
    padding: PaddingLike = "SAME"
    kernel_dilation: int | Sequence[int] = 1
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: lax.PrecisionLike = None
    kernel_init: Initializer = lecun_normal()
    bias_init: Initializer = zeros
    group: FiniteGroup = dataclasses.field(kw_only=True)
    filters: Filters = dataclasses.field(default="pixel", kw_only=True)

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """``[..., |G|, C_in]`` to ``[..., |G|, features]``."""
        check_group(self.group)
        (features,) = per_axis(self.features, 1, "features")
        kernel_size = per_axis(self.kernel_size, self.group.dimension, "kernel_size")
        taps = filter_axes(self.filters, self.group, kernel_size)
        shape = (*taps, self.group.order, x.shape[-1], features)
        kernel = self.param("kernel", quick(self.kernel_init), shape, self.param_dtype)
        bias = None
        if self.use_bias:
            bias = self.param("bias", self.bias_init, (features,), self.param_dtype)
        return group_conv_transpose(
            x,
            kernel,
            group=self.group,
            bias=bias,
            strides=self.strides,
            padding=self.padding,
            dilation=self.kernel_dilation,
            dtype=self.dtype,
            precision=self.precision,
            filters=self.filters,
            kernel_size=kernel_size,
        )
