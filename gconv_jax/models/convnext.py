"""ConvNeXt over a group: depthwise convolutions with turned filters, and linear maps on the group.

The network is that of Liu et al. 2022 (arXiv:2201.03545). Its depthwise convolutions treat each
element of the group by itself, with the filters turned by it, and its pointwise layers are
`GroupLinear`, which take |G| times fewer parameters, and in the group's Fourier basis a fraction of
the multiplications.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from gconv_jax.groups.fields import Fields, require_fields
from gconv_jax.groups.finite import P4M, FiniteGroup, check_group, trivial
from gconv_jax.lattice.hexagons import refuse_hexagons
from gconv_jax.models._layers import check_outputs, default_filters
from gconv_jax.models._network import Network
from gconv_jax.models._transformer import (
    GroupMLP,
    channels_of,
    check_divisible,
    spread_rates,
)
from gconv_jax.nnx import DepthwiseGroupConv, DropPath, GroupConv, GroupLinear, LayerNorm, LiftConv
from gconv_jax.ops.arguments import check_integer
from gconv_jax.ops.dropout import check_rate
from gconv_jax.pooling.group_axis import group_pool


class ConvNeXtSize(NamedTuple):
    """The sizes of a ConvNeXt: blocks and width of each stage."""

    depths: tuple[int, ...]
    widths: tuple[int, ...]


CONVNEXT_SIZES = {
    "tiny": ConvNeXtSize((3, 3, 9, 3), (96, 192, 384, 768)),
    "small": ConvNeXtSize((3, 3, 27, 3), (96, 192, 384, 768)),
    "base": ConvNeXtSize((3, 3, 27, 3), (128, 256, 512, 1024)),
}
"""The published sizes (arXiv:2201.03545)."""


class ConvNeXtBlock(nnx.Module):
    """A block of `GroupConvNeXt`: a depthwise convolution, a normalization and an MLP.

    Their result is multiplied by a factor for each channel and added to the input.

    Args:
        features: C, the channels for each group element.
        kernel_size: the side of the depthwise filters.
        scale: the initial value of the factors of the branch's channels.
        drop_path: the rate at which the branch of an example is dropped in training.
        group, dtype, rngs: as in `GroupConvNeXt`.
    """

    def __init__(
        self,
        features: int,
        *,
        kernel_size: int = 7,
        scale: float = 1e-6,
        drop_path: float = 0.0,
        group: FiniteGroup,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        options = {"group": group, "dtype": dtype, "rngs": rngs}
        filters = default_filters(group)
        self.spatial = DepthwiseGroupConv(features, kernel_size, filters=filters, **options)
        self.norm = LayerNorm(features, dtype=dtype, rngs=rngs)
        self.mlp = GroupMLP(features, 4 * features, **options)
        self.scale = nnx.Param(jnp.full((features,), scale, jnp.float32))
        self.drop = DropPath(drop_path, rngs=rngs) if check_rate("drop_path", drop_path) else None

    def __call__(self, x: jax.Array) -> jax.Array:
        """``[N, *spatial, |G|, C]`` to the same shape."""
        y = self.mlp(self.norm(self.spatial(x)))
        y = y * self.scale[...].astype(y.dtype)
        return x + (y if self.drop is None else self.drop(y))


class GroupConvNeXt(Network):
    """A ConvNeXt whose logits do not change when an element of the group moves the image.

    Photographs have an upright, and a network that ignores it gives away what it says about the
    class. With ``head="ordinary"`` all layers are equivariant and the logits depend on the pose.

    Args:
        group: any symmetry of the square or the cube; for finer rotations the law is exact for the
            elements that map pixels onto pixels.
        size: ``tiny``, ``small`` or ``base``, the published sizes.
        depths, widths: the blocks and the width of each stage, in place of those of ``size``. A
            width counts all elements: there are ``width / |G|`` channels for each.
        patch_size: the stride of the first layer. Each stage after the first halves the pixels, so
            that ``patch_size * 2^(stages - 1)`` must divide the sides of the images.
        kernel_size: the side of the depthwise filters.
        scale: the initial value of the factors of the branches.
        drop_path: the rate of stochastic depth in the last block; it grows from 0 in the first.
        head: ``invariant``: the same linear map for each element, and the maximum over the group.
            ``ordinary``: one linear map of all elements and channels.
        classes: the number of outputs; 0 for none, and a call returns `features`.
        in_features: the channels of the image.
        in_fields: what they are, if not numbers alone. It takes the place of ``in_features``.
        dtype: the dtype of computation.
        rngs: the random key ``params``, and ``dropout`` for ``drop_path``.

    >>> import jax
    >>> from flax import nnx
    >>> from gconv_jax.models import GroupConvNeXt
    >>> model = nnx.eval_shape(lambda: GroupConvNeXt(rngs=nnx.Rngs(0)))
    >>> sum(p.size for p in jax.tree.leaves(nnx.state(model, nnx.Param)))
    3485206
    """

    def __init__(
        self,
        *,
        group: FiniteGroup = P4M,
        size: Literal["tiny", "small", "base"] = "tiny",
        depths: Sequence[int] | None = None,
        widths: Sequence[int] | None = None,
        patch_size: int = 4,
        kernel_size: int = 7,
        scale: float = 1e-6,
        drop_path: float = 0.0,
        head: Literal["invariant", "ordinary"] = "invariant",
        classes: int = 10,
        in_features: int = 3,
        in_fields: Fields | None = None,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        self.group = refuse_hexagons(check_group(group), "GroupConvNeXt")
        depths, widths = _check_sizes(size, depths, widths)
        channels = [channels_of(width, group, f"widths[{i}]") for i, width in enumerate(widths)]
        patch_size = check_integer("patch_size", patch_size, least=1)
        self.classes = check_outputs(classes)
        check_rate("drop_path", drop_path)
        if head not in ("invariant", "ordinary"):
            raise ValueError(f"`head` must be invariant or ordinary, got {head!r}")
        if in_fields is not None:
            in_features = require_fields(in_fields).channels(group)
        self.in_features, self.depths = in_features, depths
        self.divisor = patch_size * 2 ** (len(depths) - 1)
        options = {"dtype": dtype, "rngs": rngs}
        convolution = {"padding": "VALID", "filters": default_filters(group), "group": group}
        self.embed = LiftConv(
            in_features,
            channels[0],
            patch_size,
            patch_size,
            fields=in_fields,
            **convolution,
            **options,
        )
        self.norm = LayerNorm(channels[0], **options)
        rates = iter(spread_rates(drop_path, sum(depths)))
        for stage, c in enumerate(channels):
            if stage:
                setattr(self, f"norm{stage}", LayerNorm(channels[stage - 1], **options))
                halve = GroupConv(channels[stage - 1], c, 2, 2, **convolution, **options)
                setattr(self, f"halve{stage}", halve)
            for i in range(depths[stage]):
                block = ConvNeXtBlock(
                    c,
                    kernel_size=kernel_size,
                    scale=scale,
                    drop_path=next(rates),
                    group=group,
                    **options,
                )
                setattr(self, f"stage{stage}_block{i}", block)
        self.top_norm = LayerNorm(channels[-1], **options)
        self.top_group = group if head == "invariant" else trivial(group.dimension)
        width = widths[-1] // self.top_group.order
        if classes:
            self.top = GroupLinear(width, classes, group=self.top_group, **options)

    def feature_maps(self, x: jax.Array) -> jax.Array:
        """Return the feature maps ``[N, *spatial, |G|, C]`` of the last block."""
        x = jnp.asarray(x)
        check_divisible(x, self.group, self.divisor, self.in_features)
        x = self.norm(self.embed(x))
        for stage, depth in enumerate(self.depths):
            if stage:
                x = getattr(self, f"halve{stage}")(getattr(self, f"norm{stage}")(x))
            for i in range(depth):
                x = getattr(self, f"stage{stage}_block{i}")(x)
        return x

    def _pool(self, maps: jax.Array) -> jax.Array:
        return self._summary(maps).mean(1)

    def _outputs(self, maps: jax.Array) -> jax.Array:
        return group_pool(self.top(self._summary(maps)))

    def _summary(self, maps: jax.Array) -> jax.Array:
        """Return the numbers that the last layer is given, ``[N, elements, C]``."""
        x = self.top_norm(maps.mean(tuple(range(1, maps.ndim - 2))))
        return x.reshape(x.shape[0], self.top_group.order, -1)


def _check_sizes(size, depths, widths) -> ConvNeXtSize:
    if size not in CONVNEXT_SIZES:
        raise ValueError(f"`size` must be one of {', '.join(CONVNEXT_SIZES)}, got {size!r}")
    sizes = CONVNEXT_SIZES[size]
    for name, numbers in (("depths", depths), ("widths", widths)):
        if not isinstance(numbers, Sequence | None):
            raise TypeError(f"`{name}` must have a number for each stage, got {numbers!r}")
    depths = sizes.depths if depths is None else tuple(depths)
    widths = sizes.widths if widths is None else tuple(widths)
    if len(depths) != len(widths) or not depths:
        raise ValueError(
            f"`depths` and `widths` must have a number for each stage, got {depths} and {widths}"
        )
    for name, numbers in (("depths", depths), ("widths", widths)):
        for n in numbers:
            check_integer(name, n, least=1)
    return ConvNeXtSize(depths, widths)
