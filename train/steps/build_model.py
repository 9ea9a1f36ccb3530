"""The networks of configurations."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import gconv_jax
from gconv_jax import FiniteGroup, LieGroup, models

from ..config import Config
from ..data.vectors import Vectors
from ..options.networks import NETWORKS, Symmetry, is_own
from .adapt_model import adapt_model
from .own_model import build_own
from .rescaled import Rescaled

GROUPS: dict[str, FiniteGroup | LieGroup] = {
    "z2": gconv_jax.Z2,
    "mirror": gconv_jax.mirror(),
    "p2": gconv_jax.cyclic(2),
    "p4": gconv_jax.P4,
    "d2": gconv_jax.dihedral(2),
    "p4m": gconv_jax.P4M,
    "c8": gconv_jax.cyclic(8),
    "c16": gconv_jax.cyclic(16),
    "d8": gconv_jax.dihedral(8),
    "d16": gconv_jax.dihedral(16),
    "so2": gconv_jax.SO2(),
    "o2": gconv_jax.O2(),
    "z3": gconv_jax.trivial(dimension=3),
    "about-depth": gconv_jax.rotations_about(0),
    "about-height": gconv_jax.rotations_about(1),
    "about-width": gconv_jax.rotations_about(2),
    "octahedral": gconv_jax.octahedral(),
    "full-octahedral": gconv_jax.full_octahedral(),
}


def _augerino(*, rngs: nnx.Rngs, **options) -> models.Augerino:
    """Return Augerino over the plain 13-layer network, as published."""
    plain = models.PartialGCNN13(group=gconv_jax.Z2, rngs=rngs, **options)
    return models.Augerino(plain, rngs=rngs)


def _vit(
    *,
    group: FiniteGroup,
    width: int = 192,
    blocks: int = 12,
    patch_size: int = 4,
    **options,
) -> models.GroupViT:
    """Return a transformer whose heads are 32 wide, or wider where the many elements of the cube
    leave each few channels, of which a head has an even number."""
    heads = max(1, width // 32)
    if group.dimension == 3:
        channels = width // group.order
        heads = next((n for n in range(heads, 0, -1) if channels % (2 * n) == 0), 1)
    options |= {"group": group, "patch_size": patch_size}
    return models.GroupViT(width=width, depth=blocks, heads=heads, **options)


def _convnext(
    *, widths: Sequence[int] = (96, 192, 384), blocks: int = 3, **options
) -> models.GroupConvNeXt:
    """Return a ConvNeXt of three stages."""
    return models.GroupConvNeXt(widths=widths, depths=(blocks,) * len(widths), **options)


def _unet(*, group: FiniteGroup, **options) -> models.UNet:
    """Return a U-Net that halves images three times, and volumes twice."""
    return models.UNet(group=group, depth=2 if group.dimension == 3 else 3, **options)


def _group_unet(*, classes: int, blocks: int | None = None, **options) -> models.GroupUNet:
    """Return a U-Net with attention, whose results are the logits of each pixel."""
    options |= {} if blocks is None else {"blocks": blocks}
    return models.GroupUNet(out_features=classes, **options)


CLASSES: dict[str, Callable[..., nnx.Module]] = {
    "z2cnn": models.Z2CNN,
    "p4cnn": models.P4CNN,
    "p4cnn-rp": models.P4CNNRotationPooling,
    "plain-cnn": models.PlainCNN,
    "early-p4cnn": models.EarlyP4CNN,
    "mixed": models.MixedGroupCNN,
    "lenet": models.LeNet,
    "group-cnn": models.GroupEquivariantCNN,
    "e2cnn": models.E2CNN,
    "small-e2cnn": models.SmallE2CNN,
    "all-cnn-c": models.AllCNNC,
    "resnet": models.ResNet,
    "resnet44": models.ResNet44,
    "resnet26": models.ResNet26,
    "wide-resnet": models.WideResNet,
    "densenet": models.DenseNet,
    "ck-resnet": models.CKResNet,
    "gcnn13": models.PartialGCNN13,
    "augerino": _augerino,
    "separable-cnn": models.SeparableCNN,
    "vit": _vit,
    "convnext": _convnext,
    "voxel-cnn": models.VoxelCNN,
    "unet": _unet,
    "group-unet": _group_unet,
}
LETTERS = {"plain-cnn": "plain", "p4cnn": "p4", "early-p4cnn": "early"}


def symmetry_of(name: Symmetry | None) -> FiniteGroup | None:
    """Return the group that an option ``--symmetrize`` names; None for none."""
    return None if name is None else GROUPS[name]  # pyright: ignore[reportReturnType]


def build_model(
    config: Config,
    *,
    classes: int,
    in_features: int,
    image_shape: tuple[int, ...] | None = None,
    center: np.ndarray | None = None,
    scale: np.ndarray | None = None,
    vectors: Vectors | None = None,
) -> nnx.Module:
    """Return the network with its initial parameters, which depend on ``config.seed`` alone.

    Args:
        config: the configuration.
        classes: the classes that it tells apart, or the numbers that it predicts.
        in_features: the channels of an image.
        image_shape: the shape of an image; models of the user's own need it, and vectors.
        center: the means of the numbers over the training images, if it predicts numbers and is
            not loaded afterwards.
        scale: their standard deviations, if it predicts numbers.
        vectors: the numbers that are components of vectors, if any are. A model of the user's own
            has to see to it itself that these turn with the image.
    """
    if is_own(config.model):
        assert image_shape is not None, "all who build such models know it"
        model = build_own(config, GROUPS, classes=classes, image_shape=image_shape)
    elif vectors is not None:
        assert image_shape is not None, "all who build such models know it"
        model = _with_vectors(config, vectors, image_shape)
    else:
        model = _build(config, classes=classes, in_features=in_features)
    if scale is not None:
        model = Rescaled(model, np.zeros_like(scale) if center is None else center, scale)
    group = GROUPS[config.adapt_group]
    return adapt_model(model, config, group, in_features)  # pyright: ignore[reportArgumentType]


def _with_vectors(config: Config, vectors: Vectors, image_shape: tuple[int, ...]) -> nnx.Module:
    """Return a network of the table that ends in vectors."""
    network: Any = _build(config, classes=0, in_features=image_shape[-1])
    row = NETWORKS[config.model]
    if groups := getattr(network, "groups", ()):
        group = groups[-1]
    else:
        group = GROUPS[(config.group or row.default_group) if "group" in row.options else "z2"]
    # Other numbers than those of the network, which come from the seed itself.
    rngs = nnx.Rngs(jax.random.fold_in(jax.random.key(config.seed), 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a call says the same
        image = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
        channels = nnx.eval_shape(lambda m, x: m.feature_maps(x), network, image).shape[-1]
    places = {"targets": vectors.targets, "vectors": vectors.places}
    return models.VectorOutputs(network, in_features=channels, group=group, **places, rngs=rngs)  # pyright: ignore[reportArgumentType]


def _build(config: Config, *, classes: int, in_features: int) -> nnx.Module:
    """Return a network of the table."""
    name, network = config.model, NETWORKS[config.model]
    options = {"classes": classes, "in_features": in_features, "rngs": nnx.Rngs(config.seed)}
    options["dtype"] = jnp.dtype(config.dtype)
    if config.groups:
        options["groups"] = tuple(GROUPS[group] for group in config.groups)
    elif "group" in network.options:
        options["group"] = GROUPS[config.group or network.default_group]
    if config.size == "letters":
        key = "width" if name == "p4cnn" else "widths"
        options[key] = models.LETTER_WIDTHS[LETTERS[name]]
    elif config.width is not None:
        several = tuple(config.width * m for m in network.multiples)
        options[network.width] = several or config.width
    if config.filters is not None:
        options["filters"] = config.filters
    if "samples" in network.options:
        options |= {"samples": config.samples, "partial": config.partial}
    if config.kernel_network is not None:
        options["kernel_network"] = _kernel_network(config)
    if config.pools is not None:
        options["early_pool"] = config.pools == "early"
    if config.separable is not None:
        options["separable"] = None if config.separable == "none" else config.separable
    if config.relaxed is not None:
        options["filter_banks"] = config.relaxed
    if "geometry" in network.options:
        options["geometry"] = config.geometry
    if "head" in network.options:
        options["head"] = config.head
    if "patch_size" in network.options:
        given = {"blocks": config.blocks, "patch_size": config.patch_size}
        options |= {key: value for key, value in given.items() if value is not None}
    elif name == "wide-resnet":
        options |= {} if config.blocks is None else {"depth": 6 * config.blocks + 4}
    elif name == "densenet":
        options |= {} if config.blocks is None else {"blocks": (config.blocks,) * 5}
    elif "blocks" in network.options:
        options["blocks"] = config.blocks
    return CLASSES[name](**options)


def _kernel_network(config: Config) -> gconv_jax.KernelNetwork:
    hidden = 8 if config.model != "ck-resnet" else 32
    if config.kernel_network == "siren":
        return gconv_jax.Siren(hidden=hidden)
    return gconv_jax.MultiplicativeFilters(hidden=hidden)


def parameter_count(tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))
