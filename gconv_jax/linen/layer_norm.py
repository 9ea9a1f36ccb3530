"""Layer normalization of features on the group, as Flax Linen modules."""

from typing import Any, ClassVar

import jax.numpy as jnp
from flax import linen as nn
from jax.nn.initializers import Initializer, ones, zeros

from gconv_jax.groups.irrep_features import SameFeatures, channel_count
from gconv_jax.linen.parameters import scale_and_bias
from gconv_jax.normalization.layer_norm import layer_norm


class LayerNorm(nn.Module):
    """Layer normalization over group elements and channels. Arguments, and names and shapes of the
    parameters, are those of `gconv_jax.nnx.LayerNorm`.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from gconv_jax.linen import LayerNorm
    >>> x = jnp.ones((2, 196, 8, 24))
    >>> LayerNorm().init_with_output(jax.random.key(0), x)[0].shape
    (2, 196, 8, 24)
    """

    epsilon: float = 1e-6
    dtype: Any = None
    param_dtype: Any = jnp.float32
    use_bias: bool = True
    use_scale: bool = True
    bias_init: Initializer = zeros
    scale_init: Initializer = ones

    subtract_mean: ClassVar[bool] = True

    @nn.compact
    def __call__(self, x: SameFeatures) -> SameFeatures:
        """``[..., |G|, C]``, or `IrrepFeatures`, to the same."""
        scale, bias = scale_and_bias(self, channel_count(x))
        return layer_norm(
            x,
            scale,
            bias,
            epsilon=self.epsilon,
            subtract_mean=self.subtract_mean,
            dtype=self.dtype,
        )


class RMSNorm(LayerNorm):
    """Root-mean-square normalization over group elements and channels. Arguments are those of
    `LayerNorm`, without a bias by default.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from gconv_jax.linen import RMSNorm
    >>> y = RMSNorm().init_with_output(jax.random.key(0), jnp.array([[3.0], [4.0]]))[0]
    >>> float((y**2).mean().round(4))
    1.0
    """

    use_bias: bool = False

    subtract_mean: ClassVar[bool] = False
