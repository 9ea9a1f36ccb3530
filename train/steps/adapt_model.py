"""A network that is made equivariant as a whole, as ``--adapt`` asks for."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from gconv_jax import FiniteGroup
from gconv_jax.nnx import Canonicalized, ScorePoses, Symmetrized

from ..config import Config


class PoseNetwork(nnx.Module):
    """A small plain network that says how upright an image looks."""

    def __init__(self, in_features: int, *, dtype: DTypeLike | None = None, rngs: nnx.Rngs):
        options = {"dtype": dtype, "rngs": rngs}
        self.layer0 = nnx.Conv(in_features, 16, (3, 3), strides=(2, 2), **options)
        self.layer1 = nnx.Conv(16, 32, (3, 3), strides=(2, 2), **options)
        self.layer2 = nnx.Conv(32, 32, (3, 3), **options)
        self.top = nnx.Linear(32, 1, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """``[N, H, W, C]`` to ``[N, 1]``."""
        for layer in (self.layer0, self.layer1, self.layer2):
            x = nnx.relu(layer(x))
        return self.top(x.mean((1, 2)))


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
