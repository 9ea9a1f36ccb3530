"""Nonlinearities in the Fourier basis that have parameters, as Flax Linen modules."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.nn.initializers import zeros

from gconv_jax.groups.irrep_features import TRIVIAL, IrrepFeatures
from gconv_jax.normalization.irrep_activations import (
    Activation,
    copy_count,
    gate_init,
    gate_irreps,
    norm_activation,
    require_irreps,
)


class NormActivation(nn.Module):
    """A nonlinearity of the norms of irreps. Names and shapes of the parameters are those of
    `gconv_jax.nnx.NormActivation`; the group is read off the input.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4M, to_irreps
    >>> from gconv_jax.linen import NormActivation
    >>> x = to_irreps(jnp.ones((2, 8, 5)), group=P4M)
    >>> NormActivation().init_with_output(jax.random.key(0), x)[0].channels
    5
    """

    fn: Activation = jax.nn.relu
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: IrrepFeatures) -> IrrepFeatures:
        """`IrrepFeatures` to the same."""
        shape = 1 + copy_count(require_irreps(x, "NormActivation").group), x.channels
        return norm_activation(x, self.param("bias", zeros, shape, self.param_dtype), fn=self.fn)


class GatedActivation(nn.Module):
    """A nonlinearity that scales irreps by gates. Names and shapes of the parameters are those of
    `gconv_jax.nnx.GatedActivation`; the group is read off the input.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4M, to_irreps
    >>> from gconv_jax.linen import GatedActivation
    >>> x = to_irreps(jnp.ones((2, 8, 5)), group=P4M)
    >>> GatedActivation().init_with_output(jax.random.key(0), x)[0].channels
    5
    """

    gate_fn: Activation = jax.nn.sigmoid
    fn: Activation = jax.nn.relu
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: IrrepFeatures) -> IrrepFeatures:
        """`IrrepFeatures` to the same."""
        copies = copy_count(require_irreps(x, "GatedActivation").group)
        gate = nn.Dense(
            copies * x.channels,
            kernel_init=gate_init(x.group),
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            name="gate",
        )
        gates = gate(x.parts[TRIVIAL][..., 0, 0, :]).reshape(*x.batch, copies, x.channels)
        return gate_irreps(x, gates, gate_fn=self.gate_fn, fn=self.fn)
