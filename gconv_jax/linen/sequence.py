"""Convolution over time of features on the group, as a Flax Linen module."""

import dataclasses
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.nn.initializers import Initializer, zeros

from gconv_jax.conv.algorithm import Algorithm
from gconv_jax.conv.sequence import TimePadding, sequence_conv
from gconv_jax.filters.initializers import base_filter_init
from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.groups.irrep_features import SameFeatures, channel_count
from gconv_jax.linen.parameters import kernel_and_bias
from gconv_jax.ops.arguments import check_integer


class SequenceConv(nn.Module):
    """The layer that replaces ``nn.Conv`` over time where steps have features on the group.
    Arguments, and names and shapes of the parameters, are those of `gconv_jax.nnx.SequenceConv`.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4
    >>> from gconv_jax.linen import SequenceConv
    >>> layer = SequenceConv(32, 5, padding="CAUSAL", group=P4)
    >>> layer.init_with_output(jax.random.key(0), jnp.ones((2, 100, 4, 16)))[0].shape
    (2, 100, 4, 32)
    """

    features: int
    kernel_size: int
    stride: int = 1
    dilation: int = 1
    padding: TimePadding = "SAME"
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: lax.PrecisionLike = None
    kernel_init: Initializer = base_filter_init
    bias_init: Initializer = zeros
    group: FiniteGroup = dataclasses.field(kw_only=True)
    algorithm: Algorithm = dataclasses.field(default="auto", kw_only=True)

    @nn.compact
    def __call__(self, x: SameFeatures) -> SameFeatures:
        """``[..., T, |G|, C_in]`` to ``[..., T', |G|, features]``, or the same of
        `IrrepFeatures`."""
        features = check_integer("features", self.features, least=1)
        taps = check_integer("kernel_size", self.kernel_size, least=1)
        shape = taps, check_group(self.group).order, channel_count(x), features
        kernel, bias = kernel_and_bias(self, shape, features)
        return sequence_conv(
            x,
            kernel,
            group=self.group,
            bias=bias,
            stride=self.stride,
            dilation=self.dilation,
            padding=self.padding,
            dtype=self.dtype,
            precision=self.precision,
            algorithm=self.algorithm,
        )
