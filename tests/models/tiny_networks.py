"""A tiny case of every network that can be saved, with random numbers."""

import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np
from flax import nnx

from gconv_jax import (
    O2,
    P4,
    P4M,
    P6,
    Z2,
    Fields,
    Harmonic,
    MultiplicativeFilters,
    Siren,
    cyclic,
    dihedral,
    klein_four,
    mirror,
    models,
    octahedral,
    rotations_about,
)
from gconv_jax.models._network import NETWORKS
from gconv_jax.models._weights import state_of
from gconv_jax.nnx import ScorePoses

CASES = {
    "Z2CNN": lambda of, **o: of(width=2, **o),
    "P4CNN": lambda of, **o: of(group=dihedral(2), width=(2, 2, 2, 2, 2, 3), **o),
    "P4CNN relaxed": lambda of, **o: of(filter_banks=2, width=2, **o),
    "P4CNNRotationPooling": lambda of, **o: of(group=P4M.subgroup(5), width=2, **o),
    "LeNet": lambda of, **o: of(widths=(1, 2), hidden=3, **o),
    "GroupEquivariantCNN": lambda of, **o: of(group=P4, **o),
    "MixedGroupCNN": lambda of, **o: of(groups=[P4M, P4M, P4, Z2], widths=2, **o),
    "EarlyP4CNN": lambda of, **o: of(widths=2, **o),
    "PlainCNN": lambda of, **o: of(widths=2, **o),
    "SeparableCNN": lambda of, **o: of(group=cyclic(2), separable="g", width=2, **o),
    "SmallE2CNN": lambda of, **o: of(groups=(dihedral(8), cyclic(8)), width=1, dropout=0.1, **o),
    "E2CNN": lambda of, **o: of(width=1, filters=Harmonic(sigma=0.5), **o),
    "AllCNNC": lambda of, **o: of(group=mirror(), widths=2, **o),
    "ResNet": lambda of, **o: of(
        group=rotations_about(0), blocks=1, widths=2, separable="gc", head="published", **o
    ),
    "ResNet44": lambda of, **o: of(group=P6, blocks=1, widths=1, geometry="published", **o),
    "ResNet26": lambda of, **o: of(blocks=1, widths=1, **o),
    "WideResNet": lambda of, **o: of(groups=(P4M, mirror()), depth=10, widen=1, **o),
    "DenseNet": lambda of, **o: of(blocks=(1, 1), growth=2, **o),
    "GroupViT": lambda of, **o: of(
        width=32, depth=1, heads=1, positions="relative", image_size=32, drop_path=0.1, **o
    ),
    "GroupConvNeXt": lambda of, **o: of(widths=(8, 8), depths=(1, 1), **o),
    "UNet": lambda of, **o: of(width=2, depth=1, in_fields=Fields(vectors=1), **o),
    "GroupUNet": lambda of, **o: of(
        group=octahedral(), width=8, multipliers=(1,), blocks=1, attention=(), dropout=0.2, **o
    ),
    "VoxelCNN": lambda of, **o: of(widths=1, group=klein_four(), **o),
    "CKResNet": lambda of, **o: of(
        group=O2(), width=2, samples=4, partial=True, kernel_network=Siren(hidden=2), **o
    ),
    "PartialGCNN13": lambda of, **o: of(
        width=1, samples=2, kernel_network=MultiplicativeFilters(2, 2), dtype="bfloat16", **o
    ),
    "Augerino": lambda of, **o: of(models.LeNet(widths=1, hidden=2, **o), copies=2, **o),
    "Standardized": lambda of, **o: of(models.Z2CNN(width=1, **o), mean=np.float32(0.5), std=(2,)),
    "Whitened": lambda of, **o: of(models.LeNet(widths=1, hidden=2, **o), image_shape=[2, 3, 1]),
    "RescaledOutputs": lambda of, **o: of(models.Z2CNN(width=1, classes=2, **o), std=(2, 0.5)),
    "Symmetrized": lambda of, **o: of(models.Z2CNN(width=1, **o), group=P4M, sequential=True),
    "Canonicalized": lambda of, **o: of(
        models.Z2CNN(width=1, **o), ScorePoses(models.PoseNetwork(**o), group=P4), group=P4
    ),
    "ScorePoses": lambda of, **o: of(models.Z2CNN(width=1, classes=1, **o), group=P4M),
    "PoseNetwork": lambda of, **o: of(3, dtype=jnp.bfloat16, **o),
    "VectorOutputs": lambda of, **o: of(
        models.P4CNN(width=2, **o), in_features=2, group=P4, targets=3, vectors=[(2, 0)], **o
    ),
}


def made(name: str, rng) -> nnx.Module:
    """Return a tiny network with random numbers, which nothing is compiled for."""
    kind = NETWORKS[name.split()[0]]
    model = nnx.eval_shape(lambda: CASES[name](kind, rngs=nnx.Rngs(0)))
    state = jax.tree.map(
        lambda leaf: jnp.asarray(rng.uniform(0.5, 1.5, leaf.shape), leaf.dtype), state_of(model)
    )
    nnx.update(model, state)
    return model


def small(**options) -> models.Z2CNN:
    return nnx.eval_shape(lambda: models.Z2CNN(width=1, rngs=nnx.Rngs(0), **options))
