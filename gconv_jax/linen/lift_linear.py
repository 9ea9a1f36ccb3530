"""Numbers and vectors without space become features on the group: a Flax Linen module."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.nn.initializers import Initializer, zeros

from gconv_jax.conv.lift_linear import lift_init, lift_linear
from gconv_jax.groups.fields import Fields, require_fields
from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.linen.parameters import kernel_and_bias
from gconv_jax.ops.arguments import check_integer


class LiftLinear(nn.Module):
    """The first layer of networks on numbers and vectors that have no positions. Arguments, and
    names and shapes of the parameters, are those of `gconv_jax.nnx.LiftLinear`.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4, Fields
    >>> from gconv_jax.linen import LiftLinear
    >>> layer = LiftLinear(16, fields=Fields(vectors=2), group=P4)
    >>> layer.init_with_output(jax.random.key(0), jnp.ones((2, 100, 4)))[0].shape
    (2, 100, 4, 16)
    """

    features: int
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: lax.PrecisionLike = None
    kernel_init: Initializer = lift_init
    bias_init: Initializer = zeros
    fields: Fields = dataclasses.field(kw_only=True)
    group: FiniteGroup = dataclasses.field(kw_only=True)

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """``[..., C_in]`` to ``[..., |G|, features]``."""
        features = check_integer("features", self.features, least=1)
        shape = require_fields(self.fields).channels(check_group(self.group)), features
        kernel, bias = kernel_and_bias(self, shape, features)
        return lift_linear(
            x,
            kernel,
            group=self.group,
            fields=self.fields,
            bias=bias,
            dtype=self.dtype,
            precision=self.precision,
        )
