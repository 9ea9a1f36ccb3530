"""A network that is made equivariant as a whole, as ``--adapt`` asks for."""

import jax
import jax.numpy as jnp
from flax import nnx

from gconv_jax import FiniteGroup
from gconv_jax.models import PoseNetwork
from gconv_jax.nnx import Canonicalized, ScorePoses, Symmetrized

from ..config import Config


def adapt_model(
    model: nnx.Module, config: Config, group: FiniteGroup, in_features: int
) -> nnx.Module:
    """Return the network, averaged over poses or canonicalized if the configuration says so."""
    if config.adapt == "symmetrize":
        return Symmetrized(model, group=group)  # pyright: ignore[reportArgumentType]
    if config.adapt == "canonicalize":
        rngs = nnx.Rngs(jax.random.fold_in(jax.random.key(config.seed), 1))
        scores = ScorePoses(
            PoseNetwork(in_features, dtype=jnp.dtype(config.dtype), rngs=rngs), group=group
        )
        return Canonicalized(model, scores, group=group)  # pyright: ignore[reportArgumentType]
    return model
