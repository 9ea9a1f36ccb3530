"""Densely connected networks (Huang et al. 2017, arXiv:1608.06993) with group convolutions.

Veeling et al. 2018 (arXiv:1806.03962) use them for digital pathology, whose images have neither up
nor left. In a dense block each layer sees the results of all layers before it, and adds ``growth``
channels. A pointwise convolution and means of 2 x 2 pixels stand between blocks.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.nn.initializers import variance_scaling
from jax.typing import DTypeLike

from gconv_jax.filters.basis import Filters
from gconv_jax.filters.initializers import compile_unoptimized
from gconv_jax.groups.finite import P4M, FiniteGroup
from gconv_jax.models._downsample import halve
from gconv_jax.models._layers import (
    batch_norm,
    check_images,
    check_outputs,
    check_planar,
    default_filters,
    scaled_width,
)
from gconv_jax.models._network import Network
from gconv_jax.nnx import GroupConv, LiftConv
from gconv_jax.ops.arguments import check_integer, per_axis
from gconv_jax.pooling.group_axis import group_pool

_init = compile_unoptimized(variance_scaling(2.0, "fan_in", "normal"))


class _NormReLUConv(nnx.Module):
    """A layer of batch normalization, ReLU and a convolution."""

    def __init__(self, c_in: int, c_out: int, kernel_size: int, **options):
        self.norm = batch_norm(c_in, dtype=options["dtype"], rngs=options["rngs"])
        self.conv = GroupConv(c_in, c_out, kernel_size, **options)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.conv(nnx.relu(self.norm(x)))


class DenseNet(Network):
    """A densely connected network that is exactly invariant on images of any size.

    Sides are halved by windows that are their own mirror image. Each dense layer is a pointwise
    convolution to ``4 growth`` channels and a 3x3 one to ``growth``. Each transition halves the
    channels (DenseNet-BC). The defaults are ours, for images of 96 x 96 pixels and two classes such
    as PatchCamelyon's. They make 113,838 parameters for P4M, 128,190 for P4 and 130,001 for Z2.

    Args:
        group: any group of the plane.
        blocks: the number of layers of each dense block.
        growth: the channels that each layer adds; by default ``24 / sqrt(|G|)``.
        filters: the filters of the convolutions; by default pixels, and circular harmonics if the
            group is finer than the lattice.
        dropout: the dropout rate after each dense layer.
        classes: the number of outputs; 0 for none, and a call returns `features`.
        in_features: the channels of the image.
        dtype: the dtype of computation.
        rngs: the random keys ``params`` and ``dropout``.

    >>> import jax
    >>> from flax import nnx
    >>> from gconv_jax.models import DenseNet
    >>> model = nnx.eval_shape(lambda: DenseNet(rngs=nnx.Rngs(0)))
    >>> sum(p.size for p in jax.tree.leaves(nnx.state(model, nnx.Param)))
    113838
    """

    def __init__(
        self,
        *,
        group: FiniteGroup = P4M,
        blocks: Sequence[int] = (1, 1, 1, 1, 1),
        growth: int | None = None,
        filters: Filters | None = None,
        dropout: float = 0.0,
        classes: int = 2,
        in_features: int = 3,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        self.group = check_planar(group)
        if not isinstance(blocks, Sequence) or not blocks:
            raise ValueError(f"`blocks` must be the layers of each block, got {blocks!r}")
        self.blocks = per_axis(blocks, len(blocks), "blocks")
        growth = check_integer(
            "growth", scaled_width(24, group) if growth is None else growth, least=1
        )
        options: dict[str, Any] = {
            "group": group,
            "filters": filters or default_filters(group),
            "use_bias": False,  # batch normalization follows
            "kernel_init": _init,
            "dtype": dtype,
            "rngs": rngs,
        }
        c = 2 * growth
        self.lift = LiftConv(in_features, c, 3, **options)
        self.dropout = nnx.Dropout(dropout, rngs=rngs)
        for b, layers in enumerate(self.blocks):
            if b:
                setattr(self, f"transition{b}", _NormReLUConv(c, c // 2, 1, **options))
                c //= 2
            for i in range(layers):
                setattr(self, f"block{b}_squeeze{i}", _NormReLUConv(c, 4 * growth, 1, **options))
                grow = _NormReLUConv(4 * growth, growth, 3, **options)
                setattr(self, f"block{b}_grow{i}", grow)
                c += growth
        self.norm = batch_norm(c, dtype=dtype, rngs=rngs)
        self.classes = check_outputs(classes)
        if classes:
            self.top = GroupConv(c, classes, 1, **{**options, "use_bias": True})

    def feature_maps(self, x: jax.Array) -> jax.Array:
        """Return the feature maps ``[N, H, W, |G|, C]`` before the last layer."""
        check_images(x, 2 ** (len(self.blocks) - 1))
        x = self.lift(x)
        for b, layers in enumerate(self.blocks):
            if b:
                x = halve(getattr(self, f"transition{b}")(x))
            for i in range(layers):
                y = getattr(self, f"block{b}_squeeze{i}")(x)
                y = self.dropout(getattr(self, f"block{b}_grow{i}")(y))
                x = jnp.concatenate([x, y], -1)
        return nnx.relu(self.norm(x))

    def _outputs(self, maps: jax.Array) -> jax.Array:
        x = maps.mean(axis=(1, 2), keepdims=True)
        return group_pool(self.top(x)[:, 0, 0])
