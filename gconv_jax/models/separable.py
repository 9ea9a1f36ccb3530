"""A network with separable group convolutions for rotated MNIST.

It is that of Lengyel & van Gemert 2021 (arXiv:2110.13059). It has the layers of `P4CNN` up to the
last convolution, which gives features in place of logits. Batch normalization, ReLU, the maximum
over the group and a linear classifier follow.
"""

import jax
from flax import nnx
from jax.typing import DTypeLike

from gconv_jax.conv.separable import Separable
from gconv_jax.groups.finite import P4, FiniteGroup
from gconv_jax.models._layers import (
    ConvNormReLU,
    check_images,
    check_outputs,
    check_planar,
    unit_variance,
)
from gconv_jax.models._network import Network
from gconv_jax.models.mixed_groups import DEPTH, SMALLEST
from gconv_jax.nnx import GroupConv, LiftConv, SeparableGroupConv
from gconv_jax.ops.arguments import check_integer
from gconv_jax.ops.maximum import max_over
from gconv_jax.pooling.group_axis import group_pool
from gconv_jax.pooling.spatial import max_pool

# The channels for each element of P4, which make about 25,000 parameters.
_WIDTHS = {"gc": 30, "g": 17, None: 10}


class SeparableCNN(Network):
    """A small invariant network of separable group convolutions.

    It has 24,640 parameters (gc), 25,255 (g) or 24,810 (not separable) for P4.

    Args:
        group: any symmetry of the lattice.
        separable: ``"gc"``, ``"g"``, or None for group convolutions that are not separable.
        width: the channels for each group element; by default the published ones of P4, which are
            30, 17 and 10, times ``sqrt(4 / |G|)``. The factor for other groups is ours.
        classes, in_features, dtype, rngs: as in `Z2CNN`. There is no dropout.

    >>> import jax
    >>> from flax import nnx
    >>> from gconv_jax.models import SeparableCNN
    >>> model = nnx.eval_shape(lambda: SeparableCNN(rngs=nnx.Rngs(0)))
    >>> sum(p.size for p in jax.tree.leaves(nnx.state(model, nnx.Param)))
    24640
    """

    def __init__(
        self,
        *,
        group: FiniteGroup = P4,
        separable: Separable | None = "gc",
        width: int | None = None,
        classes: int = 10,
        in_features: int = 1,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        check_planar(group)
        if separable not in _WIDTHS:
            raise ValueError(f"`separable` must be 'gc', 'g' or None, got {separable!r}")
        if width is None:
            width = max(1, round(_WIDTHS[separable] * (4 / group.order) ** 0.5))
        width = check_integer("width", width, least=1)
        self.group, self.separable = group, separable
        options = {"group": group, "padding": "VALID", "dtype": dtype, "rngs": rngs}

        def conv(kernel_size: int) -> nnx.Module:
            if separable is None:
                init = {"kernel_init": unit_variance}
                return GroupConv(width, width, kernel_size, **init, **options)
            return SeparableGroupConv(width, width, kernel_size, separable=separable, **options)

        lift = LiftConv(in_features, width, 3, kernel_init=unit_variance, **options)
        self.layer0 = ConvNormReLU(lift, dtype=dtype, rngs=rngs)
        for i in range(1, DEPTH):
            setattr(self, f"layer{i}", ConvNormReLU(conv(3), dtype=dtype, rngs=rngs))
        self.top = ConvNormReLU(conv(4), dtype=dtype, rngs=rngs)
        self.classes = check_outputs(classes)
        if classes:
            self.linear = nnx.Linear(width, classes, dtype=dtype, rngs=rngs)

    def feature_maps(self, x: jax.Array) -> jax.Array:
        """Return the feature maps ``[N, H, W, |G|, C]`` before the last layer."""
        check_images(x, SMALLEST)
        for i in range(DEPTH):
            x = getattr(self, f"layer{i}")(x)
            if i == 1:
                x = max_pool(x, group=self.group, window_shape=2, lifted=True)
        return self.top(x)

    def _pool(self, maps: jax.Array) -> jax.Array:
        return max_over(group_pool(maps), (1, 2))

    def _outputs(self, maps: jax.Array) -> jax.Array:
        return self.linear(self._pool(maps))
