"""Depthwise group convolutions as Flax NNX modules."""

from collections.abc import Sequence
from typing import Any

import jax
from flax import nnx
from jax.nn.initializers import Initializer

from gconv_jax.conv.depthwise import depthwise_group_conv_with
from gconv_jax.conv.options import ConvOptions
from gconv_jax.filters.bank import filter_axes
from gconv_jax.nnx.conv import ConvLayer
from gconv_jax.ops.arguments import check_integer


class DepthwiseGroupConv(ConvLayer):
    """A convolution of each channel and group element by itself, with turned filters: the layer
    that replaces ``nnx.Conv`` with ``feature_group_count``. See `gconv_jax.depthwise_group_conv`.

    Args:
        features: the channels for each group element.
        kernel_size, strides, padding: as in `GroupConv`.
        kernel_dilation, use_bias, dtype, param_dtype, precision, kernel_init, bias_init: the same,
            with the taps as fan-in.
        group, filters, rngs: the same.

    Attributes:
        kernel: ``[*kernel_size, 1, features]``.
        bias: ``[features]`` or None.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax import P4M
    >>> from gconv_jax.nnx import DepthwiseGroupConv
    >>> DepthwiseGroupConv(12, 7, group=P4M, rngs=nnx.Rngs(0))(jnp.ones((2, 9, 9, 8, 12))).shape
    (2, 9, 9, 8, 12)
    """

    kernel: nnx.Param

    def __init__(self, features: int, kernel_size: int | Sequence[int], *args, **options):
        features = check_integer("features", features, least=1)
        super().__init__(features, features, kernel_size, *args, **options)

    def _make_kernels(self, init: Initializer, rngs: nnx.Rngs) -> tuple[Any, ...]:
        taps = filter_axes(self.filters, self.group, self.kernel_size)
        return (init(rngs.params(), (*taps, 1, self.out_features), self.param_dtype),)

    def _convolve(self, x: jax.Array, *kernels: jax.Array, options: ConvOptions) -> jax.Array:
        return depthwise_group_conv_with(options, x, *kernels)
