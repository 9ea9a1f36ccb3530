"""The options of the network that is trained: its kind, its symmetry and its size.

`train.options.networks` says which network takes which of them.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from .networks import Symmetry, describe

Group = Literal[
    "z2", "mirror", "p2", "p4", "d2", "p4m", "c8", "c16", "d8", "d16", "so2", "o2",
    "z3", "about-depth", "about-height", "about-width", "octahedral", "full-octahedral",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """The part of a `train.config.Config` that decides the network."""

    model: str = "p4cnn"
    """The network; see gconv_jax.models. The group may be written before it: p4m-resnet.
    FILE.py:NAME or MODULE:NAME is a Flax module of your own, from images to class scores."""
    model_args: tuple[str, ...] = ()
    """Arguments of a model of your own, KEY=VALUE: depth=3 rates=[0,0.5] norm=layer subgroup=p4.
    It is given classes (or num_classes), in_features, image_shape, group, width, dtype and rngs, as
    far as it takes them."""
    group: Annotated[
        Group | None,
        tyro.conf.arg(
            help=describe(
                "group",
                "The symmetry (default: p4, p4m for unet and group-unet, so2 for ck-resnet and "
                "gcnn13, octahedral for voxel-cnn). z2 is translations alone, p4m has "
                "reflections too, c8 turns by 45 degrees and d8 has reflections too (networks with "
                "--filters, vit, convnext and group-unet), "
                "so2 and o2 turn by any angle. Of volumes, z3 is translations alone, about-depth "
                "(-height, -width) quarter turns about one axis, octahedral the 24 rotations of "
                "the cube, and full-octahedral has reflections too. The same --width is another "
                "number of parameters in each group: to compare with z2, see --compare-plain",
            )
        ),
    ] = None
    groups: Annotated[
        tuple[Group, ...],
        tyro.conf.arg(
            help=describe("groups", "Groups per depth stage, each a subgroup of the previous one")
        ),
    ] = ()
    filters: Annotated[
        Literal["pixel", "bilinear", "bicubic", "harmonic"] | None,
        tyro.conf.arg(
            help=describe(
                "filters",
                "The kind of filters (default: harmonic where they turn by other angles than 90 "
                "degrees, and always in the e2cnn)",
            )
        ),
    ] = None
    samples: Annotated[
        int | None,
        tyro.conf.arg(
            help=describe(
                "samples",
                "The elements at which each layer over so2 or o2 is sampled (default: 8), "
                "half of them mirrored for o2",
            )
        ),
    ] = None
    partial: Annotated[
        bool,
        tyro.conf.arg(help=describe("partial", "Learn how much of the group each layer respects")),
    ] = False
    kernel_network: Annotated[
        Literal["siren", "multiplicative"] | None,
        tyro.conf.arg(
            help=describe("kernel_network", "The network that computes filters (default: siren)")
        ),
    ] = None
    pools: Annotated[
        Literal["early", "late"] | None,
        tyro.conf.arg(
            help=describe(
                "pools",
                "The stages after which images are halved: the first two (default) or the last",
            )
        ),
    ] = None
    width: int | None = None
    """The channels for each group element; by default those of the published parameter count. It is
    the width over all elements in vit and convnext, the widening factor of wide-resnet (default:
    10) and the growth of densenet."""
    blocks: Annotated[
        int | None,
        tyro.conf.arg(
            help=describe(
                "blocks",
                "The blocks in each of the three stages, if not the published number; the layers "
                "in each of the five blocks of densenet (default: 1); all blocks of vit (default: "
                "12); those at each scale of group-unet (default: 2)",
            )
        ),
    ] = None
    patch_size: Annotated[
        int | None,
        tyro.conf.arg(
            help=describe("patch_size", "The pixels on a side of each patch (default: 4)")
        ),
    ] = None
    size: Annotated[
        Literal["digits", "letters"],
        tyro.conf.arg(
            help=describe("size", "The published widths, or the larger ones for letters")
        ),
    ] = "digits"
    geometry: Annotated[
        Literal["exact", "published"],
        tyro.conf.arg(
            help=describe(
                "geometry",
                "The halving of images: one that stays equivariant, or the published one, which "
                "does not",
            )
        ),
    ] = "exact"
    separable: Annotated[
        Literal["none", "g", "gc"] | None,
        tyro.conf.arg(
            help=describe(
                "separable",
                "Filters that are products of one on the group and one on space, for each pair of "
                "channels (g) or each output channel (gc); default: gc in separable-cnn, else none",
            )
        ),
    ] = None
    relaxed: Annotated[
        int | None,
        tyro.conf.arg(
            help=describe("relaxed", "The base filters that each group element mixes, with weights")
        ),
    ] = None
    head: Annotated[
        Literal["invariant", "published", "ordinary"],
        tyro.conf.arg(
            help=describe(
                "head",
                "The maximum over the group, or logits that depend on the pose: the published "
                "flattening of it (residual networks), an ordinary linear map (convnext)",
            )
        ),
    ] = "invariant"

    adapt: Literal["none", "symmetrize", "canonicalize", "penalty"] = "none"
    """Make the whole network equivariant under adapt-group: average it over all poses, let a small
    network choose one, or add the deviation to the loss."""
    adapt_group: Symmetry = "p4"
    """The symmetry of adapt."""
    adapt_weight: float = 1.0
    """The weight of the deviation, or of the prior that training images are upright
    (canonicalize)."""
