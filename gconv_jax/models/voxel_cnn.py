"""A network for voxels over the symmetries of the cube.

It follows CubeNet (Worrall & Brostow 2018, arXiv:1804.04458): group convolutions and poolings, then
the mean over the group.
"""

from collections.abc import Sequence

import jax
from flax import nnx
from jax.typing import DTypeLike

from gconv_jax.groups.finite import FiniteGroup, check_group, octahedral
from gconv_jax.models._layers import ConvNormReLU, check_outputs, scaled_width
from gconv_jax.models._network import Network
from gconv_jax.nnx import GroupConv, LiftConv
from gconv_jax.ops.arguments import per_axis
from gconv_jax.pooling.group_axis import group_pool
from gconv_jax.pooling.spatial import avg_pool

STAGES = 3


class VoxelCNN(Network):
    """A network for voxels, invariant under the group if the sides are divisible by 4.

    It has 3x3x3 convolutions on all, a half and a quarter of the voxels, with batch normalization
    and ReLU. The mean over group and space and a linear classifier follow. The networks for images
    have the maximum over the group; with it, this one learned several times more slowly
    (examples/voxels.py).

    Args:
        group: symmetries of the cube, e.g. `octahedral()`, `full_octahedral()`,
            `rotations_about(0)`; ``trivial(dimension=3)`` for the plain network.
        widths: the channels for each group element, one number for each scale; by default
            ``(16, 32, 64) / sqrt(|G|)``.
        classes: the number of outputs; 0 for none, and a call returns `features`.
        in_features: the channels of the volume.
        dtype: the dtype of computation.
        rngs: the random key ``params``.

    >>> import jax
    >>> from flax import nnx
    >>> from gconv_jax.models import VoxelCNN
    >>> model = nnx.eval_shape(lambda: VoxelCNN(rngs=nnx.Rngs(0)))
    >>> sum(p.size for p in jax.tree.leaves(nnx.state(model, nnx.Param)))
    72866
    """

    def __init__(
        self,
        *,
        group: FiniteGroup | None = None,
        widths: int | Sequence[int] | None = None,
        classes: int = 10,
        in_features: int = 1,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        group = octahedral() if group is None else check_group(group)
        if group.dimension != 3:
            raise ValueError(
                f"`group` must act on voxels, such as gconv_jax.octahedral(), got {group!r} of "
                f"dimension {group.dimension}"
            )
        if widths is None:
            widths = tuple(scaled_width(width, group) for width in (16, 32, 64))
        widths = per_axis(widths, STAGES, "widths")
        self.group = group
        options = {"group": group, "dtype": dtype, "rngs": rngs}
        lift = LiftConv(in_features, widths[0], 3, **options)
        self.layer0 = ConvNormReLU(lift, dtype=dtype, rngs=rngs)
        for i in range(1, STAGES):
            conv = GroupConv(widths[i - 1], widths[i], 3, **options)
            setattr(self, f"layer{i}", ConvNormReLU(conv, dtype=dtype, rngs=rngs))
        self.classes = check_outputs(classes)
        if classes:
            self.top = nnx.Linear(widths[-1], classes, dtype=dtype, rngs=rngs)

    def feature_maps(self, x: jax.Array) -> jax.Array:
        """Return the feature maps ``[N, D, H, W, |G|, C]`` before the last layer."""
        if x.ndim != 5 or min(x.shape[1:4]) < 4:
            raise ValueError(
                "`x` must be volumes [N, D, H, W, C] of at least 4 voxels on each side, got shape "
                f"{x.shape}"
            )
        for i in range(STAGES):
            if i:
                x = avg_pool(x, group=self.group, window_shape=2, lifted=True)
            x = getattr(self, f"layer{i}")(x)
        return x

    def _pool(self, maps: jax.Array) -> jax.Array:
        return group_pool(maps, reduce="mean").mean((1, 2, 3))

    def _outputs(self, maps: jax.Array) -> jax.Array:
        return self.top(self._pool(maps))
