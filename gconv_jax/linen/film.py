"""Scales and shifts of channels that are learned, as Flax Linen modules."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.nn.initializers import zeros

from gconv_jax.groups.irrep_features import SameFeatures, channel_count
from gconv_jax.normalization.film import film, invariant_mean, squeezed_features


class FiLM(nn.Module):
    """Feature-wise linear modulation by a condition of each example. Names and shapes of the
    parameters are those of `gconv_jax.nnx.FiLM`.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from gconv_jax.linen import FiLM
    >>> x, condition = jnp.ones((2, 9, 9, 4, 5)), jnp.ones((2, 16))
    >>> FiLM().init_with_output(jax.random.key(0), x, condition)[0].shape
    (2, 9, 9, 4, 5)
    """

    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: SameFeatures, condition: jax.Array) -> SameFeatures:
        """Modulate ``[N, ..., |G|, C]``, or `IrrepFeatures`, by conditions ``[N, K]``."""
        linear = nn.Dense(
            2 * channel_count(x),
            kernel_init=zeros,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            name="linear",
        )
        scale, shift = jnp.split(linear(condition), 2, -1)
        return film(x, 1 + scale, shift)


class SqueezeExcite(nn.Module):
    """Squeeze-and-excitation of means over space and group elements. Names and shapes of the
    parameters are those of `gconv_jax.nnx.SqueezeExcite`.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from gconv_jax.linen import SqueezeExcite
    >>> SqueezeExcite().init_with_output(jax.random.key(0), jnp.ones((2, 9, 9, 4, 16)))[0].shape
    (2, 9, 9, 4, 16)
    """

    reduction: int = 4
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: SameFeatures) -> SameFeatures:
        """``[N, ..., |G|, C]``, or `IrrepFeatures`, to the same."""
        channels = channel_count(x)
        hidden = squeezed_features(channels, self.reduction)
        options = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        y = nn.relu(nn.Dense(hidden, name="squeeze", **options)(invariant_mean(x)))
        return film(x, nn.sigmoid(nn.Dense(channels, name="excite", **options)(y)))
