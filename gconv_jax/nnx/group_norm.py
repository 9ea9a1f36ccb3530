"""Group and instance normalization of features on the group, as Flax NNX modules."""

import jax.numpy as jnp
from flax import nnx
from jax.nn.initializers import Initializer, ones, zeros
from jax.typing import DTypeLike

from gconv_jax.groups.irrep_features import SameFeatures
from gconv_jax.nnx.parameters import make_parameter, value_of
from gconv_jax.normalization.group_norm import group_norm
from gconv_jax.ops.arguments import check_integer


class GroupNorm(nnx.Module):
    """Group normalization of each example, over space, the group elements and runs of channels: see
    `gconv_jax.group_norm` for the equation.

    ``nnx.GroupNorm`` gives the same on ``[N, *spatial, |G|, C]``; this layer takes features in the
    Fourier basis as well.

    Args:
        num_features: C, the channels for each group element.
        num_groups: the number of runs of channels, a divisor of C. They have nothing to do with the
            group of symmetries.
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
    >>> from gconv_jax.nnx import GroupNorm
    >>> GroupNorm(24, num_groups=8, rngs=nnx.Rngs(0))(jnp.ones((2, 9, 9, 8, 24))).shape
    (2, 9, 9, 8, 24)
    """

    def __init__(
        self,
        num_features: int,
        *,
        num_groups: int = 32,
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
        self.num_groups = check_integer("num_groups", num_groups, least=1)
        if num_features % num_groups:
            raise ValueError(
                f"`num_groups` must divide the {num_features} channels, got {num_groups}"
            )
        self.epsilon, self.dtype = epsilon, dtype
        shape = (self.num_features,)
        self.scale = make_parameter(use_scale, scale_init, shape, param_dtype, rngs)
        self.bias = make_parameter(use_bias, bias_init, shape, param_dtype, rngs)

    def __call__(self, x: SameFeatures) -> SameFeatures:
        """``[N, ..., |G|, C]``, or `IrrepFeatures`, to the same."""
        return group_norm(
            x,
            value_of(self.scale),
            value_of(self.bias),
            num_groups=self.num_groups,
            epsilon=self.epsilon,
            dtype=self.dtype,
        )


class InstanceNorm(GroupNorm):
    """Instance normalization of each example and channel, over space and the group elements.

    Arguments are those of `GroupNorm`, without ``num_groups``.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax.nnx import InstanceNorm
    >>> y = InstanceNorm(2, rngs=nnx.Rngs(0))(jnp.arange(72.0).reshape(1, 3, 3, 4, 2))
    >>> bool((abs(y.mean((1, 2, 3))) < 1e-5).all())
    True
    """

    def __init__(self, num_features: int, *, rngs: nnx.Rngs, **options):
        if "num_groups" in options:
            raise TypeError("`num_groups` is an argument of GroupNorm, and not of InstanceNorm")
        super().__init__(num_features, num_groups=num_features, rngs=rngs, **options)
