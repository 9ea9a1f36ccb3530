"""Convolution over time of features on the group, as a Flax NNX module."""

import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.nn.initializers import Initializer, zeros
from jax.typing import DTypeLike

from gconv_jax.conv.algorithm import Algorithm, check_algorithm
from gconv_jax.conv.sequence import TimePadding, check_padding, sequence_conv
from gconv_jax.filters.initializers import base_filter_init
from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.groups.irrep_features import SameFeatures
from gconv_jax.nnx.parameters import make_kernel, make_parameter, value_of
from gconv_jax.ops.arguments import check_integer


class SequenceConv(nnx.Module):
    """The layer that replaces ``nnx.Conv`` over time where steps have features on the group: see
    `gconv_jax.sequence_conv` for the equation and the law.

    Args:
        in_features, out_features: channels for each group element.
        kernel_size: the steps that an output sees.
        stride, dilation, padding: as in `gconv_jax.sequence_conv`.
        use_bias: add a bias for each output channel, shared by the group elements.
        dtype, param_dtype, precision: as in `GroupLinear`.
        kernel_init, bias_init: initializers, with a fan-in of ``kernel_size * |G| * in_features``.
        group: any finite group.
        algorithm: as in `gconv_jax.group_conv`.
        rngs: random key.

    Attributes:
        kernel: ``[kernel_size, |G|, in_features, out_features]``.
        bias: ``[out_features]`` or None.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax import P4
    >>> from gconv_jax.nnx import SequenceConv
    >>> layer = SequenceConv(16, 32, 5, padding="CAUSAL", group=P4, rngs=nnx.Rngs(0))
    >>> layer(jnp.ones((2, 100, 4, 16))).shape
    (2, 100, 4, 32)
    """

    kernel: nnx.Param

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        padding: TimePadding = "SAME",
        use_bias: bool = True,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        precision: lax.PrecisionLike = None,
        kernel_init: Initializer = base_filter_init,
        bias_init: Initializer = zeros,
        group: FiniteGroup,
        algorithm: Algorithm = "auto",
        rngs: nnx.Rngs,
    ):
        self.group = check_group(group)
        check_algorithm(algorithm)
        self.in_features = check_integer("in_features", in_features, least=1)
        self.out_features = check_integer("out_features", out_features, least=1)
        self.kernel_size = check_integer("kernel_size", kernel_size, least=1)
        self.stride = check_integer("stride", stride, least=1)
        self.dilation = check_integer("dilation", dilation, least=1)
        self.padding: TimePadding = check_padding(padding)
        self.dtype, self.precision = dtype, precision
        self.algorithm: Algorithm = algorithm
        shape = self.kernel_size, group.order, self.in_features, self.out_features
        self.kernel = make_kernel(kernel_init, shape, param_dtype, rngs)
        self.bias = make_parameter(use_bias, bias_init, shape[-1:], param_dtype, rngs)

    def __call__(self, x: SameFeatures) -> SameFeatures:
        """``[..., T, |G|, in_features]`` to ``[..., T', |G|, out_features]``, or the same of
        `IrrepFeatures`."""
        return sequence_conv(
            x,
            self.kernel[...],
            group=self.group,
            bias=value_of(self.bias),
            stride=self.stride,
            dilation=self.dilation,
            padding=self.padding,
            dtype=self.dtype,
            precision=self.precision,
            algorithm=self.algorithm,
        )
