"""Linear maps of features on the group, as a Flax Linen module."""

import dataclasses
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.nn.initializers import Initializer, zeros

from gconv_jax.conv.algorithm import Algorithm, check_algorithm
from gconv_jax.conv.linear import KernelBasis, group_linear
from gconv_jax.filters.initializers import base_filter_init
from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.groups.irrep_features import SameFeatures, channel_count
from gconv_jax.linen.parameters import kernel_and_bias
from gconv_jax.ops.arguments import check_integer


class GroupLinear(nn.Module):
    """The layer that replaces ``nn.Dense`` where features are on the group. Arguments, and names
    and shapes of the parameters, are those of `gconv_jax.nnx.GroupLinear`.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4M
    >>> from gconv_jax.linen import GroupLinear
    >>> layer = GroupLinear(32, group=P4M)
    >>> layer.init_with_output(jax.random.key(0), jnp.ones((2, 196, 8, 16)))[0].shape
    (2, 196, 8, 32)
    """

    features: int
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: lax.PrecisionLike = None
    kernel_init: Initializer = base_filter_init
    bias_init: Initializer = zeros
    group: FiniteGroup = dataclasses.field(kw_only=True)
    algorithm: Algorithm = dataclasses.field(default="auto", kw_only=True)
    kernel_basis: KernelBasis = dataclasses.field(default="regular", kw_only=True)

    @nn.compact
    def __call__(self, x: SameFeatures) -> SameFeatures:
        """``[..., |G|, C_in]`` to ``[..., |G|, features]``, or the same of `IrrepFeatures`."""
        check_group(self.group)
        check_algorithm(self.algorithm)
        features = check_integer("features", self.features, least=1)
        shape = self.group.order, channel_count(x), features
        kernel, bias = kernel_and_bias(self, shape, features)
        return group_linear(
            x,
            kernel,
            group=self.group,
            bias=bias,
            dtype=self.dtype,
            precision=self.precision,
            algorithm=self.algorithm,
            kernel_basis=self.kernel_basis,
        )
