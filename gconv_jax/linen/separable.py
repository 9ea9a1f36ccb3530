"""Separable group convolutions as Flax Linen modules."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.nn.initializers import Initializer, lecun_normal, zeros

from gconv_jax.filter_basis import Filters
from gconv_jax.geometry import PaddingLike, per_axis
from gconv_jax.groups import FiniteGroup, check_group
from gconv_jax.separable import Separable, separable_group_conv, separable_kernels


class SeparableGroupConv(nn.Module):
    """A `GroupConv` whose filter is a product of one on space and one on the group. Arguments as
    `LiftConv`, and ``separable``; their meaning, and the names and shapes of the parameters, are
    those of `gconv_jax.nnx.SeparableGroupConv`.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4
    >>> from gconv_jax.linen import SeparableGroupConv
    >>> layer = SeparableGroupConv(32, 3, group=P4)
    >>> y, variables = layer.init_with_output(jax.random.key(0), jnp.ones((2, 9, 9, 4, 16)))
    >>> y.shape, variables["params"]["pointwise_kernel"].shape
    ((2, 9, 9, 4, 32), (4, 16, 32))
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
    separable: Separable = dataclasses.field(default="gc", kw_only=True)
    filters: Filters = dataclasses.field(default="pixel", kw_only=True)

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """``[..., |G|, C_in]`` to ``[..., |G|, features]``."""
        check_group(self.group)
        (features,) = per_axis(self.features, 1, "features")
        kernel_size = per_axis(self.kernel_size, self.group.dimension, "kernel_size")

        def kernel(name: str, which: int) -> jax.Array:
            def init(key: jax.Array) -> jax.Array:
                return separable_kernels(
                    (key, key),
                    self.kernel_init,
                    in_features=x.shape[-1],
                    out_features=features,
                    kernel_size=kernel_size,
                    group=self.group,
                    separable=self.separable,
                    filters=self.filters,
                    dtype=self.param_dtype,
                )[which]

            return self.param(name, init)

        bias = None
        if self.use_bias:
            bias = self.param("bias", self.bias_init, (features,), self.param_dtype)
        return separable_group_conv(
            x,
            kernel("spatial_kernel", 0),
            kernel("pointwise_kernel", 1),
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
