"""Nonlinearities in the Fourier basis that have parameters, as Flax NNX modules."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.groups.irrep_features import TRIVIAL, IrrepFeatures, check_features
from gconv_jax.normalization.irrep_activations import (
    Activation,
    copy_count,
    gate_init,
    gate_irreps,
    norm_activation,
    require_irreps,
)
from gconv_jax.ops.arguments import check_integer


class NormActivation(nnx.Module):
    """A nonlinearity of the norms of irreps, with a bias for each: see `gconv_jax.norm_activation`
    for the equation.

    Args:
        num_features: C, the channels.
        fn: the function of the norms.
        param_dtype: of the biases.
        group: any finite group.
        rngs: random key, which is not needed for biases that are 0 at first.

    Attributes:
        bias: ``[1 + copies, C]``.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4M, to_irreps
    >>> from gconv_jax.nnx import NormActivation
    >>> NormActivation(5, group=P4M)(to_irreps(jnp.ones((2, 8, 5)), group=P4M)).channels
    5
    """

    def __init__(
        self,
        num_features: int,
        *,
        fn: Activation = jax.nn.relu,
        param_dtype: DTypeLike = jnp.float32,
        group: FiniteGroup,
        rngs: nnx.Rngs | None = None,
    ):
        self.group, self.fn = check_group(group), fn
        self.num_features = check_integer("num_features", num_features, least=1)
        shape = 1 + copy_count(group), self.num_features
        self.bias = nnx.Param(jnp.zeros(shape, param_dtype))

    def __call__(self, x: IrrepFeatures) -> IrrepFeatures:
        """`IrrepFeatures` to the same."""
        check_features(require_irreps(x, "NormActivation"), self.group, self.num_features)
        return norm_activation(x, self.bias[...], fn=self.fn)


class GatedActivation(nnx.Module):
    """A nonlinearity that scales irreps by gates, a linear map of the invariant part: see
    `gconv_jax.gate_irreps` for the equation.

    Args:
        num_features: C, the channels.
        gate_fn, fn: the functions of the gates and of the invariant part.
        dtype, param_dtype: of the linear map, and of its parameters.
        group: any finite group.
        rngs: random key.

    Attributes:
        gate: the linear map from ``C`` channels to ``copies * C`` gates.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax import P4M, to_irreps
    >>> from gconv_jax.nnx import GatedActivation
    >>> act = GatedActivation(5, group=P4M, rngs=nnx.Rngs(0))
    >>> act(to_irreps(jnp.ones((2, 8, 5)), group=P4M)).channels
    5
    """

    def __init__(
        self,
        num_features: int,
        *,
        gate_fn: Activation = jax.nn.sigmoid,
        fn: Activation = jax.nn.relu,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        group: FiniteGroup,
        rngs: nnx.Rngs,
    ):
        self.group, self.gate_fn, self.fn = check_group(group), gate_fn, fn
        self.num_features = check_integer("num_features", num_features, least=1)
        self.gate = nnx.Linear(
            num_features,
            copy_count(group) * num_features,
            kernel_init=gate_init(group),
            dtype=dtype,
            param_dtype=param_dtype,
            rngs=rngs,
        )

    def __call__(self, x: IrrepFeatures) -> IrrepFeatures:
        """`IrrepFeatures` to the same."""
        check_features(require_irreps(x, "GatedActivation"), self.group, self.num_features)
        gates = self.gate(x.parts[TRIVIAL][..., 0, 0, :])
        gates = gates.reshape(*x.batch, copy_count(self.group), self.num_features)
        return gate_irreps(x, gates, gate_fn=self.gate_fn, fn=self.fn)
