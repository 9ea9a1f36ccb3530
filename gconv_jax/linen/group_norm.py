"""Group and instance normalization of features on the group, as Flax Linen modules."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax.nn.initializers import Initializer, ones, zeros

from gconv_jax.groups.irrep_features import SameFeatures, channel_count
from gconv_jax.linen.parameters import scale_and_bias
from gconv_jax.normalization.group_norm import group_norm


class GroupNorm(nn.Module):
    """Group normalization over space, group elements and runs of channels. Arguments, and names and
    shapes of the parameters, are those of `gconv_jax.nnx.GroupNorm`.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from gconv_jax.linen import GroupNorm
    >>> x = jnp.ones((2, 9, 9, 8, 24))
    >>> GroupNorm(num_groups=8).init_with_output(jax.random.key(0), x)[0].shape
    (2, 9, 9, 8, 24)
    """

    num_groups: int = 32
    epsilon: float = 1e-6
    dtype: Any = None
    param_dtype: Any = jnp.float32
    use_bias: bool = True
    use_scale: bool = True
    bias_init: Initializer = zeros
    scale_init: Initializer = ones

    @nn.compact
    def __call__(self, x: SameFeatures) -> SameFeatures:
        """``[N, ..., |G|, C]``, or `IrrepFeatures`, to the same."""
        return self._normalize(x, self.num_groups)

    def _normalize(self, x: SameFeatures, num_groups: int) -> SameFeatures:
        scale, bias = scale_and_bias(self, channel_count(x))
        options = {"num_groups": num_groups, "epsilon": self.epsilon, "dtype": self.dtype}
        return group_norm(x, scale, bias, **options)


class InstanceNorm(GroupNorm):
    """Instance normalization of each channel, over space and group elements. Arguments, and names
    and shapes of the parameters, are those of `gconv_jax.nnx.InstanceNorm`.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from gconv_jax.linen import InstanceNorm
    >>> x = jnp.ones((2, 9, 9, 8, 24))
    >>> InstanceNorm().init_with_output(jax.random.key(0), x)[0].shape
    (2, 9, 9, 8, 24)
    """

    num_groups: None = None  # pyright: ignore[reportIncompatibleVariableOverride]

    @nn.compact
    def __call__(self, x: SameFeatures) -> SameFeatures:
        """``[N, ..., |G|, C]``, or `IrrepFeatures`, to the same."""
        return self._normalize(x, channel_count(x))
