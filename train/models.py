"""From a configuration to the network it names."""

import jax
import jax.numpy as jnp
from flax import nnx

import gconv_jax
from gconv_jax import FiniteGroup
from gconv_jax.models import P4CNN, Z2CNN, P4CNNRotationPooling
from train.config import Config

GROUPS: dict[str, FiniteGroup] = {
    "z2": gconv_jax.Z2,
    "mirror": gconv_jax.mirror(),
    "p2": gconv_jax.cyclic(2),
    "p4": gconv_jax.P4,
    "d2": gconv_jax.dihedral(2),
    "p4m": gconv_jax.P4M,
}


def build_model(config: Config, *, classes: int, in_features: int) -> nnx.Module:
    """The network with its initial parameters, which depend on ``config.seed`` alone."""
    rngs = nnx.Rngs(config.seed)
    options = {"classes": classes, "in_features": in_features, "rngs": rngs}
    options["dtype"] = jnp.dtype(config.dtype)
    if config.width is not None:
        options["width"] = config.width
    if config.model == "z2cnn":
        return Z2CNN(**options)
    cls = {"p4cnn": P4CNN, "p4cnn-rp": P4CNNRotationPooling}[config.model]
    return cls(group=GROUPS[config.group or "p4"], **options)


def parameter_count(tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))
