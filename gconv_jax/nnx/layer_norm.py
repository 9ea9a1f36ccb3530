"""Layer normalization of features on the group, as Flax NNX modules."""

import jax.numpy as jnp
from flax import nnx
from jax.nn.initializers import Initializer, ones, zeros
from jax.typing import DTypeLike

from gconv_jax.groups.irrep_features import SameFeatures
from gconv_jax.nnx.parameters import make_parameter, value_of
from gconv_jax.normalization.layer_norm import layer_norm
from gconv_jax.ops.arguments import check_integer


class LayerNorm(nnx.Module):
    """Layer normalization over the group elements and channels of each position: see
    `gconv_jax.layer_norm` for the equation.

    ``nnx.LayerNorm`` on ``[..., |G|, C]`` would normalize each orientation by itself. That keeps
    the law as well, but takes from a token what its orientations differ in.

    Args:
        num_features: C, the channels for each group element.
        epsilon: added to the variance.
        dtype: of the result; by default what input and parameters promote to.
        param_dtype: of the parameters.
        use_bias, use_scale: whether there is a bias and a scale for each channel.
        bias_init, scale_init: initializers.
        rngs: random key.

    Attributes:
        scale, bias: ``[C]``, shared by the group elements, or None.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax.nnx import LayerNorm
    >>> LayerNorm(24, rngs=nnx.Rngs(0))(jnp.ones((2, 196, 8, 24))).shape
    (2, 196, 8, 24)
    """

    subtract_mean = True

    def __init__(
        self,
        num_features: int,
        *,
        epsilon: float = 1e-6,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        use_bias: bool = True,
        use_scale: bool = True,
        bias_init: Initializer = zeros,
        scale_init: Initializer = ones,
        rngs: nnx.Rngs,
    ):
        self.num_features = check_integer("num_features", num_features, least=1)
        self.epsilon, self.dtype = epsilon, dtype
        shape = (self.num_features,)
        self.scale = make_parameter(use_scale, scale_init, shape, param_dtype, rngs)
        self.bias = make_parameter(use_bias, bias_init, shape, param_dtype, rngs)

    def __call__(self, x: SameFeatures) -> SameFeatures:
        """``[..., |G|, C]``, or `IrrepFeatures`, to the same."""
        return layer_norm(
            x,
            value_of(self.scale),
            value_of(self.bias),
            epsilon=self.epsilon,
            subtract_mean=self.subtract_mean,
            dtype=self.dtype,
        )


class RMSNorm(LayerNorm):
    """Root-mean-square normalization over the group elements and channels of each position.

    Arguments are those of `LayerNorm`, without a bias by default (Zhang & Sennrich 2019,
    arXiv:1910.07467).

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax.nnx import RMSNorm
    >>> y = RMSNorm(1, rngs=nnx.Rngs(0))(jnp.array([[3.0], [4.0]]))
    >>> float((y**2).mean().round(4))
    1.0
    """

    subtract_mean = False

    def __init__(self, num_features: int, *, use_bias: bool = False, rngs: nnx.Rngs, **options):
        super().__init__(num_features, use_bias=use_bias, rngs=rngs, **options)
