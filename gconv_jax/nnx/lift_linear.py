"""Numbers and vectors without space become features on the group: a Flax NNX module."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.nn.initializers import Initializer, zeros
from jax.typing import DTypeLike

from gconv_jax.conv.lift_linear import lift_init, lift_linear
from gconv_jax.groups.fields import Fields, require_fields
from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.nnx.parameters import make_kernel, make_parameter, value_of
from gconv_jax.ops.arguments import check_integer


class LiftLinear(nnx.Module):
    """The first layer of networks on numbers and vectors that have no positions, such as the steps
    of trajectories: see `gconv_jax.lift_linear` for the equation and the law.

    Args:
        out_features: channels for each group element.
        fields: what the input channels are, such as ``Fields(scalars=1, vectors=2)``.
        use_bias: add a bias for each output channel, shared by the group elements.
        dtype, param_dtype, precision: as in `GroupLinear`.
        kernel_init, bias_init: initializers.
        group: any finite group but those of hexagons.
        rngs: random key.

    Attributes:
        kernel: ``[C_in, out_features]`` for the channels of the fields.
        bias: ``[out_features]`` or None.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax import P4, Fields
    >>> from gconv_jax.nnx import LiftLinear
    >>> layer = LiftLinear(16, fields=Fields(vectors=2), group=P4, rngs=nnx.Rngs(0))
    >>> layer(jnp.ones((2, 100, 4))).shape  # two vectors at each of 100 steps
    (2, 100, 4, 16)
    """

    kernel: nnx.Param

    def __init__(
        self,
        out_features: int,
        *,
        fields: Fields,
        use_bias: bool = True,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        precision: lax.PrecisionLike = None,
        kernel_init: Initializer = lift_init,
        bias_init: Initializer = zeros,
        group: FiniteGroup,
        rngs: nnx.Rngs,
    ):
        self.group, self.fields = check_group(group), require_fields(fields)
        self.out_features = check_integer("out_features", out_features, least=1)
        self.dtype, self.precision = dtype, precision
        fields.matrices(group)  # refuses hexagons
        shape = fields.channels(group), self.out_features
        self.kernel = make_kernel(kernel_init, shape, param_dtype, rngs)
        self.bias = make_parameter(use_bias, bias_init, shape[-1:], param_dtype, rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """``[..., C_in]`` to ``[..., |G|, out_features]``."""
        return lift_linear(
            x,
            self.kernel[...],
            group=self.group,
            fields=self.fields,
            bias=value_of(self.bias),
            dtype=self.dtype,
            precision=self.precision,
        )
