"""The recipes that have a name: what `python -m train NAME` starts from.

The rotmnist ones follow Cohen & Welling 2016 (arXiv:1602.07576): all 12,000 training images, Adam
1e-3, batch 128, no weight decay, batch statistics re-estimated before evaluation. No augmentation,
as the paper has it; the authors' code turned images by +-3.14 *degrees* (a uniform angle in +-pi
handed to a function that takes degrees), which is ``augment="jitter"``.

folder, folder-convnext, folder-vit, folder-voxels and those of masks are ours: what a CPU can train
on a few hundred images or volumes, whatever they show. So are rotmnist-vit and cifar10-convnext
(`train.recipes.transformers`): AdamW 1e-3, decay 0.05, a cosine schedule, gradients clipped at 1.
The symmetry ones are ours, too (`train.recipes.how_much_symmetry`).

The other cifar10 ones are of Cohen & Welling 2016: contrast normalization and ZCA, momentum 0.9,
the published geometry and head. All-CNN-C follows Springenberg et al. 2014 (arXiv:1412.6806) with
rate 0.05. The weight decay of the resnets, 1e-3, is the default of the authors' code; the paper
gives none.
``cifar10plus`` adds mirroring and sub-pixel shifts.

lenet and early: early stopping with patience 5 on held-out images, as their source has it, which
gives neither optimizer nor split; Adam 1e-3, batch 128 and 5,000 images are ours. upright: train on
upright digits, test on rotated ones; AdamW 1e-2, decay 1e-4, batch 64, 10 epochs as published for
z2 and p4; finer rotations are ours.

rotmnist-e2cnn: Weiler & Cesa 2019 (arXiv:1911.08251) as far as their code tells: 40 epochs, batch
64, rate 0.015 times 0.8 after each epoch from the 15th on, training images turned by any angle.
Theirs is an Adam with L1 and L2 penalties and turns with nearest neighbors. rotmnist-small and
-small-turned are ours, for a CPU.

rotmnist-not-separable, -g and -gc: Lengyel & van Gemert 2021 (arXiv:2110.13059): Adam 1e-2, a tenth
of it after 40 of 50 epochs, batch 256. Their weight decay of 1e-5 is part of the gradient; ours,
with adam, is not. cifar10-resnet44-p4m-g and -gc are theirs as well, with that weight decay in SGD;
they crop at random where ``cifar10plus`` shifts.

rotmnist-ck, cifar10-ck, cifar100-ck, the same with 13, and mnist6: Romero & Lohit 2021
(arXiv:2110.10211) and their code: Adam 1e-3, a tenth of it for the supports, 5 epochs of warm-up,
then cosine, images held out to select the epoch, 300 epochs (205 for the 13-layer network). Theirs
decays generated kernels and not parameters; ours, parameters on CIFAR. The published mnist6 chose
the epoch by the test images; ours by held-out ones, in fewer epochs.
"""

from collections.abc import Iterator
from dataclasses import replace

from ..config import Config
from . import families, transformers
from .families import Recipe
from .how_much_symmetry import how_much_symmetry
from .own_images import own_images, own_volumes

# Test accuracies in percent: T(2), then the whole group and part of it for each group; with the
# 13-layer network T(2), SE(2) with 8 elements, the same partial, Augerino with 8 copies.
_PARTIAL = {
    ("rotmnist", "ck"): "97.23 99.10 99.13 99.17 99.23 99.24 99.18 98.14 97.78 98.35 98.58",
    ("rotmnist", "13"): "96.90 98.43 98.78 98.94",
    ("cifar10", "ck"): "83.11 83.73 86.15 86.08 88.59 86.59 89.11 85.55 89.00 88.95 90.12",
    ("cifar10", "13"): "91.21 89.73 92.28 91.66",
    ("cifar100", "ck"): "47.99 52.35 53.91 55.55 57.26 51.55 57.31 54.29 55.22 57.78 61.46",
    ("cifar100", "13"): "67.14 65.97 69.83 68.99",
}


def _every() -> Iterator[Recipe]:
    yield from families.digits()
    yield from families.folder()
    yield from own_images()
    yield from transformers.folder()
    yield from families.voxels()
    yield from own_volumes()
    yield from families.masks()
    yield from families.rotated_mnist()
    yield from transformers.transformers()
    yield from families.lenet()
    yield from families.early_digits()
    yield from families.early_letters()
    yield from families.upright()
    yield from families.steerable()
    yield from families.separable()
    yield from families.cifar10(augmented=False)
    yield from transformers.convnext()
    yield from families.cifar10(augmented=True)
    for (dataset, network), accuracies in _PARTIAL.items():
        yield from families.partial(dataset, network, accuracies)
    yield from families.mnist6()
    yield from how_much_symmetry()


RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in _every()}
"""The recipes by name."""
PRESETS: dict[str, tuple[str, Config]] = {
    name: (recipe.description, replace(recipe.config, preset=name))
    for name, recipe in RECIPES.items()
}
"""Name -> (description, configuration)."""
GROUPS: dict[str, str] = {
    "digits": "the main job: rotated digits inside scikit-learn",
    "folder": "your own images, a folder for each class",
    "rotmnist": "rotated MNIST: plain, p4, finer rotations, separable, continuous, partial",
    "lenet": "MNIST, a LeNet with its two convolutions replaced",
    "early": "MNIST, equivariant at the bottom and ordinary on top",
    "letters": "EMNIST, the same",
    "upright": "upright digits to train, rotated ones to test",
    "cifar10": "CIFAR-10: All-CNN-C, residual, ConvNeXt, separable, continuous, partial",
    "cifar10plus": "CIFAR-10, mirrored and shifted",
    "cifar100": "CIFAR-100: continuous, partial",
    "mnist6": "is a six upside down, or mirrored? continuous, partial",
    "symmetry": "one network with more and more of a symmetry, where it holds and where not",
}
"""The groups of recipes, by the first word of their names."""


def group_of(name: str) -> str:
    """Return the group of a recipe."""
    return name.split("-")[0]
