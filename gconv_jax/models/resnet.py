"""Residual networks with group convolutions for CIFAR-10.

They are those of Cohen & Welling 2016 (arXiv:1602.07576, section 8.2), with the normalization
before each convolution (He et al. 2016, arXiv:1603.05027). After a 3x3 convolution come three
stages of blocks ``x + conv(relu(bn(conv(relu(bn(x))))))``, on all, a half and a quarter of the
pixels. Batch normalization, ReLU, the mean over space and a linear classifier follow. Where a stage
halves the pixels, a pointwise convolution without normalization takes the place of x. Over
symmetries of the cube the same network takes volumes, with 3x3x3 filters. Over finer rotations,
such as those by 45 degrees, the filters are circular harmonics (Weiler & Cesa 2019,
arXiv:1911.08251), and a blur halves the pixels.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import jax
from flax import nnx
from jax.nn.initializers import variance_scaling
from jax.typing import DTypeLike

from gconv_jax.conv.separable import Separable
from gconv_jax.filters.basis import Filters
from gconv_jax.filters.initializers import compile_unoptimized
from gconv_jax.groups.finite import P4M, FiniteGroup, check_group
from gconv_jax.models._downsample import (
    SMALLEST,
    Geometry,
    HalvingConv,
    HalvingSeparableConv,
    check_geometry,
)
from gconv_jax.models._layers import (
    batch_norm,
    check_images,
    check_outputs,
    default_filters,
    scaled_width,
)
from gconv_jax.models._network import Network
from gconv_jax.nnx import GroupConv, LiftConv, SeparableGroupConv
from gconv_jax.ops.arguments import check_integer, per_axis
from gconv_jax.pooling.group_axis import group_pool

Head = Literal["invariant", "published"]
HEADS = ("invariant", "published")
STAGES = 3
_init = compile_unoptimized(variance_scaling(2.0, "fan_in", "normal"))


class _Block(nnx.Module):
    """A block of two convolutions beside a shortcut; a ``geometry`` halves the pixels."""

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel_size: int,
        *,
        geometry: Geometry | None,
        separable: Separable | None,
        **options,
    ):
        norm_options = {"dtype": options["dtype"], "rngs": options["rngs"]}
        self.halves = geometry is not None
        self.norm0 = batch_norm(c_in, **norm_options)
        self.norm1 = batch_norm(c_out, **norm_options)
        if geometry is not None:
            self.shortcut = HalvingConv(c_in, c_out, 1, geometry=geometry, **options)
        conv, halving = GroupConv, HalvingConv
        if separable is not None:
            conv, halving = SeparableGroupConv, HalvingSeparableConv
            options["separable"] = separable
        if geometry is not None:
            self.conv0 = halving(c_in, c_out, kernel_size, geometry=geometry, **options)
        else:
            self.conv0 = conv(c_in, c_out, kernel_size, **options)
        self.conv1 = conv(c_out, c_out, kernel_size, **options)

    def __call__(self, x: jax.Array) -> jax.Array:
        y = self.conv0(nnx.relu(self.norm0(x)))
        y = self.conv1(nnx.relu(self.norm1(y)))
        return y + (self.shortcut(x) if self.halves else x)


class ResNet(Network):
    """A residual network of ``6 blocks + 2`` layers; `ResNet44` and `ResNet26` are published ones.

    Args:
        blocks: the residual blocks in each of the three stages; by default those of `ResNet44`.
        widths: the channels for each group element, one number for each stage; by default the
            published ones of the plain network over ``sqrt(|G|)``.
        group: any group of the plane; `Z2` for the plain network. With symmetries of the cube, such
            as `octahedral()`, the network takes volumes. For finer rotations, such as
            ``cyclic(8)``, logits are exactly invariant under the elements that map pixels onto
            pixels, and nearly under the others.
        filters: the filters, as in `gconv_jax.nnx.LiftConv`; by default pixels for symmetries of
            the lattice, and ``"harmonic"`` for finer rotations.
        kernel_size: the size of the filters, an odd number.
        head: the part after the mean over space. In both cases it is a pointwise group convolution
            to the classes, with the same parameters. ``"invariant"`` takes its maximum over the
            group. ``"published"`` takes the response of the identity alone, a linear map of all
            ``|G| C`` planes. It may tell orientations apart, so its logits turn with the image.
        geometry: the way to halve the pixels. ``"exact"`` keeps the law on images of any size;
            ``"published"`` has strides of 2, which break it on even sizes, with a warning.
        separable: ``"g"`` or ``"gc"`` for `SeparableGroupConv` in the blocks (Lengyel & van Gemert
            2021, arXiv:2110.13059).
        classes: the number of outputs; 0 for none, and a call returns `features`.
        in_features: the channels of the image.
        dtype: the dtype of computation.
        rngs: the random key ``params``.

    Raises:
        ValueError: a group of the line, or another argument that is none of those above.

    >>> import jax
    >>> from flax import nnx
    >>> from gconv_jax import P4
    >>> from gconv_jax.models import ResNet
    >>> options = {"blocks": 1, "widths": (4, 8, 16), "group": P4}
    >>> model = nnx.eval_shape(lambda: ResNet(**options, rngs=nnx.Rngs(0)))
    >>> sum(p.size for p in jax.tree.leaves(nnx.state(model, nnx.Param)))
    20034
    """

    published_blocks = 7
    published_widths = (32, 64, 128)
    # arXiv:2110.13059 has 19, 38, 76 and 28, 56, 112 for P4M.
    separable_widths: ClassVar[dict[str, tuple[int, ...]]] = {
        "g": (54, 108, 215),
        "gc": (79, 158, 317),
    }

    def __init__(
        self,
        *,
        blocks: int | None = None,
        widths: int | Sequence[int] | None = None,
        group: FiniteGroup = P4M,
        filters: Filters | None = None,
        kernel_size: int = 3,
        head: Head = "invariant",
        geometry: Geometry = "exact",
        separable: Separable | None = None,
        classes: int = 10,
        in_features: int = 3,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        if check_group(group).dimension not in (2, 3):
            raise ValueError(
                "`group` must act on the plane or on space, since the network takes images or "
                f"volumes, got {group!r} of dimension {group.dimension}"
            )
        check_geometry(geometry)
        if head not in HEADS:
            raise ValueError(f"`head` must be one of {', '.join(HEADS)}, got {head!r}")
        blocks = self.published_blocks if blocks is None else blocks
        self.blocks = check_integer("blocks", blocks, least=1)
        if widths is None:
            plain = self.separable_widths.get(separable or "", self.published_widths)
            widths = tuple(scaled_width(width, group) for width in plain)
        widths = per_axis(widths, STAGES, "widths")
        self.group = group
        self.head = head
        filters = default_filters(group) if filters is None else filters
        options = {"group": group, "filters": filters, "kernel_init": _init}
        options |= {"dtype": dtype, "rngs": rngs}
        size = check_integer("kernel_size", kernel_size, least=1)
        if size % 2 == 0:
            raise ValueError(f"`kernel_size` must be odd, got {size}")
        self.lift = LiftConv(in_features, widths[0], size, **options)
        c_in = widths[0]
        for stage, c_out in enumerate(widths):
            for i in range(self.blocks):
                halving = geometry if stage and i == 0 else None
                given = {"geometry": halving, "separable": separable}
                block = _Block(c_in, c_out, size, **given, **options)
                setattr(self, f"stage{stage}_block{i}", block)
                c_in = c_out
        self.norm = batch_norm(c_in, dtype=dtype, rngs=rngs)
        self.classes = check_outputs(classes)
        if classes:
            self.top = GroupConv(c_in, classes, 1, **options)

    def feature_maps(self, x: jax.Array) -> jax.Array:
        """Return the feature maps ``[N, *spatial, |G|, C]`` before the last layer."""
        check_images(x, SMALLEST, self.group.dimension)
        x = self.lift(x)
        for stage in range(STAGES):
            for i in range(self.blocks):
                x = getattr(self, f"stage{stage}_block{i}")(x)
        return nnx.relu(self.norm(x))

    def _outputs(self, maps: jax.Array) -> jax.Array:
        space = tuple(range(1, 1 + self.group.dimension))
        responses = self.top(maps.mean(axis=space, keepdims=True))
        responses = responses.reshape(maps.shape[0], *responses.shape[-2:])  # [N, |G|, classes]
        if self.head == "published":
            return responses[:, self.group.identity]
        return group_pool(responses)


class ResNet44(ResNet):
    """The `ResNet` with seven blocks a stage: 2,639,434 parameters for Z2 and 2,622,878 for P4M.

    The widths are 32, 64 and 128 for Z2 and, as published, 11, 23 and 45 for P4M. Those of other
    groups follow the same formula ``(32, 64, 128) / sqrt(|G|)`` and are ours: 16, 32 and 64 for P4,
    with 2,635,434 parameters. The separable ones for P4M have widths 19, 38, 76 and 1,784,148
    parameters (g), or 28, 56, 112 and 1,886,874 (gc).

    >>> import jax
    >>> from flax import nnx
    >>> from gconv_jax.models import ResNet44
    >>> model = nnx.eval_shape(lambda: ResNet44(rngs=nnx.Rngs(0)))
    >>> sum(p.size for p in jax.tree.leaves(nnx.state(model, nnx.Param)))
    2622878
    """


class ResNet26(ResNet):
    """The `ResNet` with four wide blocks a stage: 7,236,046 parameters for Z2, 7,173,110 for P4M.

    The widths are 71, 142 and 284 for Z2 and, as published, 25, 50 and 100 for P4M. Those of other
    groups follow the same formula ``(71, 142, 284) / sqrt(|G|)`` and are ours.

    >>> import jax
    >>> from flax import nnx
    >>> from gconv_jax.models import ResNet26
    >>> model = nnx.eval_shape(lambda: ResNet26(rngs=nnx.Rngs(0)))
    >>> sum(p.size for p in jax.tree.leaves(nnx.state(model, nnx.Param)))
    7173110
    """

    published_blocks = 4
    published_widths = (71, 142, 284)
