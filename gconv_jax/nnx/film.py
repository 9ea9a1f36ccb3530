"""Scales and shifts of channels that are learned, as Flax NNX modules."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.nn.initializers import zeros
from jax.typing import DTypeLike

from gconv_jax.groups.irrep_features import SameFeatures
from gconv_jax.normalization.film import film, invariant_mean, squeezed_features
from gconv_jax.ops.arguments import check_integer


class FiLM(nnx.Module):
    """Feature-wise linear modulation: ``x * (1 + scale(c)) + shift(c)`` for a condition c of each
    example, such as the embedding of a time or a class (Perez et al. 2018, arXiv:1709.07871).

    Scale and shift are a linear map of the condition, 0 at first. The equivariance law holds for
    conditions that do not change when the image moves.

    Args:
        cond_features: the numbers in a condition.
        num_features: C, the channels for each group element.
        dtype, param_dtype: of the linear map, and of its parameters.
        rngs: random key.

    Attributes:
        linear: the map to the scales and the shifts, in this order.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax.nnx import FiLM
    >>> FiLM(16, 5, rngs=nnx.Rngs(0))(jnp.ones((2, 9, 9, 4, 5)), jnp.ones((2, 16))).shape
    (2, 9, 9, 4, 5)
    """

    def __init__(
        self,
        cond_features: int,
        num_features: int,
        *,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        check_integer("cond_features", cond_features, least=1)
        self.num_features = check_integer("num_features", num_features, least=1)
        self.linear = nnx.Linear(
            cond_features,
            2 * num_features,
            kernel_init=zeros,
            dtype=dtype,
            param_dtype=param_dtype,
            rngs=rngs,
        )

    def __call__(self, x: SameFeatures, condition: jax.Array) -> SameFeatures:
        """Modulate ``[N, ..., |G|, C]``, or `IrrepFeatures`, by conditions ``[N,
        cond_features]``."""
        scale, shift = jnp.split(self.linear(condition), 2, -1)
        return film(x, 1 + scale, shift)


class SqueezeExcite(nnx.Module):
    """Squeeze-and-excitation: channels are scaled by what a small network makes of their means
    over space and group elements (Hu et al. 2018, arXiv:1709.01507).

    ``y = x * sigmoid(W_2 relu(W_1 mean(x)))``. The means do not change when the image moves.

    Args:
        num_features: C, the channels for each group element.
        reduction: how many times fewer channels the network has inside.
        dtype, param_dtype: of the linear maps, and of their parameters.
        rngs: random key.

    Attributes:
        squeeze, excite: the linear maps.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax.nnx import SqueezeExcite
    >>> SqueezeExcite(16, rngs=nnx.Rngs(0))(jnp.ones((2, 9, 9, 4, 16))).shape
    (2, 9, 9, 4, 16)
    """

    def __init__(
        self,
        num_features: int,
        *,
        reduction: int = 4,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        hidden = squeezed_features(num_features, reduction)
        options = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
        self.squeeze = nnx.Linear(num_features, hidden, **options)
        self.excite = nnx.Linear(hidden, num_features, **options)

    def __call__(self, x: SameFeatures) -> SameFeatures:
        """``[N, ..., |G|, C]``, or `IrrepFeatures`, to the same."""
        return film(x, nnx.sigmoid(self.excite(nnx.relu(self.squeeze(invariant_mean(x))))))
