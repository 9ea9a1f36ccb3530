"""The table of networks in models.md: parameters, and the smallest image, computed.

python docs/networks.py prints it.
"""

import warnings
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from flax import nnx

from gconv_jax import models

# name -> (what for, which groups)
NETWORKS = {
    "P4CNN": ("small gray images without an upright: start here", "any planar lattice group"),
    "P4CNNRotationPooling": ("the same, pooled over rotations after every layer", "the same"),
    "Z2CNN": ("the plain CNN to compare with P4CNN", "none"),
    "SmallE2CNN": ("the best figure for small images that turn by any angle", "one per layer"),
    "E2CNN": ("the same with 2.7 million parameters, for a GPU", "one per layer"),
    "GroupEquivariantCNN": ("upright images to train on, turned ones to classify", "any planar"),
    "SeparableCNN": ("P4CNN with separable filters: fewer multiplications", "any planar lattice"),
    "LeNet": ("a LeNet with its two convolutions replaced", "any planar lattice group"),
    "EarlyP4CNN": ("images with an upright: equivariant at the bottom alone", "P4"),
    "MixedGroupCNN": ("a smaller group with depth", "a chain of subgroups"),
    "PlainCNN": ("the plain CNN to compare with the two above", "none"),
    "ResNet": ("color images from 32 to 96 pixels: photographs, cells", "any planar lattice group"),
    "ResNet44": ("CIFAR-10, as published", "any planar lattice group"),
    "ResNet26": ("CIFAR-10+, wide, as published", "any planar lattice group"),
    "WideResNet": ("many color images, on a GPU", "one per stage"),
    "DenseNet": ("patches of tissue", "any planar"),
    "AllCNNC": ("CIFAR-10, as published, without skip connections", "any planar lattice group"),
    "CKResNet": ("a symmetry that may hold in part: learns which", "SO(2), O(2), finite"),
    "PartialGCNN13": ("the same, 13 layers", "SO(2), O(2), finite"),
    "UNet": ("masks that turn with the image", "any lattice group"),
    "VoxelCNN": ("volumes", "groups of the cube"),
}


def rows() -> Iterator[tuple[str, str, str, int, int]]:
    """Yield name, purpose, groups, parameters and smallest side of an image of each network."""
    for name, (purpose, groups) in NETWORKS.items():
        yield name, purpose, groups, parameters(name), smallest(name)


def parameters(name: str) -> int:
    """Return the number of parameters of a network with its default arguments."""
    model = nnx.eval_shape(lambda: getattr(models, name)(rngs=nnx.Rngs(0)))
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


def smallest(name: str) -> int:
    """Return the smallest image, of equal sides, that a network takes."""
    kind = getattr(models, name)
    channels = 3 if name in ("AllCNNC", "DenseNet", "UNet", "WideResNet") else 1
    channels = 3 if name.startswith("ResNet") else channels
    space = 3 if name == "VoxelCNN" else 2

    def run(side: int):
        model = kind(rngs=nnx.Rngs(0))
        model.eval()
        return model(jnp.zeros((1, *(side,) * space, channels)))

    for side in range(1, 100):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                nnx.eval_shape(lambda side=side: run(side))
        except ValueError:
            continue
        return side
    raise ValueError(f"`{name}` takes no image of less than 100 pixels")


def table() -> str:
    """Return the table as Markdown."""
    lines = [
        "| network | what for | groups | parameters | smallest image |",
        "|---|---|---|---|---|",
    ]
    for name, purpose, groups, parameters, side in rows():
        lines.append(f"| `{name}` | {purpose} | {groups} | {parameters:,} | {side} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
