"""Wide residual networks (Zagoruyko & Komodakis 2016, arXiv:1605.07146) with a group a stage.

The groups of the stages are as in E(2)-CNN (Weiler & Cesa 2019, arXiv:1911.08251). After a 3x3
convolution come three stages of blocks ``x + conv(dropout(relu(bn(conv(relu(bn(x)))))))``, on all,
a half and a quarter of the pixels. Batch normalization, ReLU, the mean over space and a linear
classifier follow. Where a stage changes the channels, a pointwise convolution of ``relu(bn(x))``
takes the place of x.
"""

from collections.abc import Sequence
from typing import Any

import jax
from flax import nnx
from jax.nn.initializers import variance_scaling
from jax.typing import DTypeLike

from gconv_jax.filters.basis import Filters
from gconv_jax.filters.initializers import compile_unoptimized
from gconv_jax.groups.finite import P4M, FiniteGroup
from gconv_jax.models._downsample import SMALLEST, Geometry, HalvingConv, check_geometry
from gconv_jax.models._layers import (
    batch_norm,
    check_images,
    check_outputs,
    default_filters,
    scaled_width,
    spread_groups,
)
from gconv_jax.models._network import Network
from gconv_jax.nnx import GroupConv, LiftConv
from gconv_jax.ops.arguments import check_integer
from gconv_jax.pooling.group_axis import group_pool, restrict

STAGES = 3
_init = compile_unoptimized(variance_scaling(2.0, "fan_in", "normal"))


class _Block(nnx.Module):
    """A block of two 3x3 convolutions beside a shortcut; a ``geometry`` halves the pixels."""

    def __init__(
        self, c_in: int, c_out: int, *, geometry: Geometry | None, dropout: float, **options
    ):
        norm_options = {"dtype": options["dtype"], "rngs": options["rngs"]}
        halving: dict[str, Any] = {"geometry": geometry} if geometry else {}
        conv = HalvingConv if geometry else GroupConv
        self.norm0 = batch_norm(c_in, **norm_options)
        self.conv0 = conv(c_in, c_out, 3, **halving, **options)
        self.norm1 = batch_norm(c_out, **norm_options)
        self.dropout = nnx.Dropout(dropout, rngs=options["rngs"])
        self.conv1 = GroupConv(c_out, c_out, 3, **options)
        self.is_identity = c_in == c_out and not geometry
        if not self.is_identity:
            self.shortcut = conv(c_in, c_out, 1, **halving, **options)

    def __call__(self, x: jax.Array) -> jax.Array:
        y = nnx.relu(self.norm0(x))
        z = self.dropout(nnx.relu(self.norm1(self.conv0(y))))
        return self.conv1(z) + (x if self.is_identity else self.shortcut(y))


class WideResNet(Network):
    """The network WRN-``depth``-``widen``, over one group, or a smaller one at each stage.

    Args:
        groups: one to three groups, each with the next as a subgroup, for the stages; fewer than
            three are stretched evenly. E(2)-CNN has ``(dihedral(8), dihedral(4), mirror())``.
        depth: the number of layers, ``6 n + 4``.
        widen: the factor of the channels. The stages have ``16 widen, 32 widen, 64 widen`` over
            ``sqrt(|G|)`` for each stage's own group, the first layer 16 over ``sqrt(|G|)``.
        filters: the filters of the convolutions; by default pixels, and circular harmonics in the
            stages whose group is finer than the lattice.
        geometry: the way to halve the pixels. ``"exact"`` keeps the law on images of any size;
            ``"published"`` has strides of 2, which break it on even sizes, with a warning.
        dropout: the dropout rate in the blocks.
        classes: the number of outputs; 0 for none, and a call returns `features`.
        in_features: the channels of the image.
        dtype: the dtype of computation.
        rngs: the random keys ``params`` and ``dropout``.

    >>> import jax
    >>> from flax import nnx
    >>> from gconv_jax import P4M, Z2, mirror
    >>> from gconv_jax.models import WideResNet
    >>> def count(*groups):
    ...     model = nnx.eval_shape(lambda: WideResNet(groups=groups, rngs=nnx.Rngs(0)))
    ...     return sum(p.size for p in jax.tree.leaves(nnx.state(model, nnx.Param)))
    >>> count(Z2), count(P4M, P4M, mirror())
    (36479194, 38587056)
    """

    def __init__(
        self,
        *,
        groups: Sequence[FiniteGroup] = (P4M,),
        depth: int = 28,
        widen: int = 10,
        filters: Filters | None = None,
        geometry: Geometry = "exact",
        dropout: float = 0.0,
        classes: int = 10,
        in_features: int = 3,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        self.groups = spread_groups(groups, STAGES)
        check_geometry(geometry)
        depth = check_integer("depth", depth, least=1)
        widen = check_integer("widen", widen, least=1)
        if depth < 10 or (depth - 4) % 6:
            raise ValueError(f"`depth` must be 6 n + 4, such as 16, 22 or 28, got {depth}")
        self.blocks = (depth - 4) // 6

        def options(group: FiniteGroup) -> dict[str, Any]:
            return {
                "group": group,
                "filters": filters or default_filters(group),
                "use_bias": False,  # batch normalization follows
                "kernel_init": _init,
                "dtype": dtype,
                "rngs": rngs,
            }

        before = self.groups[0]
        c_in = scaled_width(16, before)
        self.lift = LiftConv(in_features, c_in, 3, **options(before))
        for stage, group in enumerate(self.groups):
            c_out = scaled_width(16 * widen << stage, group)
            c_in *= before.order // group.order  # restrict has so many channels
            for i in range(self.blocks):
                halving = geometry if stage and i == 0 else None
                block = _Block(c_in, c_out, geometry=halving, dropout=dropout, **options(group))
                setattr(self, f"stage{stage}_block{i}", block)
                c_in = c_out
            before = group
        self.norm = batch_norm(c_in, dtype=dtype, rngs=rngs)
        self.classes = check_outputs(classes)
        if classes:
            self.top = GroupConv(c_in, classes, 1, **{**options(before), "use_bias": True})

    def feature_maps(self, x: jax.Array) -> jax.Array:
        """Return the feature maps ``[N, H, W, |G|, C]`` before the last layer."""
        check_images(x, SMALLEST)
        x = self.lift(x)
        before = self.groups[0]
        for stage, group in enumerate(self.groups):
            if group != before:
                x = restrict(x, group=before, subgroup=group)
            for i in range(self.blocks):
                x = getattr(self, f"stage{stage}_block{i}")(x)
            before = group
        return nnx.relu(self.norm(x))

    def _outputs(self, maps: jax.Array) -> jax.Array:
        x = maps.mean(axis=(1, 2), keepdims=True)
        return group_pool(self.top(x)[:, 0, 0])
