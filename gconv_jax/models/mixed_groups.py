"""Networks with other symmetries at other depths: the groups of the layers get smaller.

Small features may appear in any pose, while the pose of a whole digit matters: a turned 6 is a 9.
The layers are those of `gconv_jax.models.P4CNN` (Cohen & Welling 2016, arXiv:1602.07576, section
8.1): six 3x3 convolutions and a 4x4 one. Before a layer of a smaller group, `restrict` turns the
orientations that this group does not exchange into ordinary channels.
"""

from collections.abc import Sequence

import jax
from flax import nnx
from jax.typing import DTypeLike

from gconv_jax.groups.finite import P4, P4M, Z2, FiniteGroup
from gconv_jax.models._layers import (
    ConvNormReLU,
    check_images,
    check_outputs,
    check_planar,
    scaled_width,
    spread_groups,
    unit_variance,
)
from gconv_jax.models._network import Network
from gconv_jax.nnx import GroupConv, LiftConv, RelaxedGroupConv, RelaxedLiftConv
from gconv_jax.ops.arguments import per_axis
from gconv_jax.ops.maximum import max_over
from gconv_jax.pooling.group_axis import group_pool, restrict
from gconv_jax.pooling.spatial import max_pool

DEPTH = 6
LAYERS = DEPTH + 1
SMALLEST = 28
LETTER_WIDTHS = {
    "plain": (20, 20, 20, 54, 54, 54),
    "p4": (12, 12, 12, 20, 20, 20),
    "early": (10, 10, 10, 51, 51, 51),
}
"""The ``widths`` for the 47 classes of EMNIST's letters.

With ``classes=47``, `PlainCNN` has 110,909 parameters, `P4CNN` 108,411 and `EarlyP4CNN` 111,416."""


class MixedGroupCNN(Network):
    """The seven layers of `P4CNN`, each with a group of its own.

    The maximum over the last group and over space makes the logits invariant under the last group,
    and under no larger one. With a single group the network is `P4CNN`, with the same parameters.

    Args:
        groups: one to seven groups, each with the next as a subgroup. Fewer than seven are
            stretched evenly: layer i of 7 has ``groups[i * len(groups) // 7]``.
        widths: the channels for each group element of the first six layers, an integer or one for
            each; by default ``20 / sqrt(|G|)`` for each layer's own group.
        classes: the number of outputs; 0 for none, and a call returns `features`.
        in_features: the channels of the image.
        filter_banks: the number of base filters that relaxed convolutions mix, whose weights may
            learn to break the symmetry (`gconv_jax.nnx.RelaxedGroupConv`); None for exact ones.
        dtype: the dtype of computation.
        rngs: the random key ``params``.

    >>> from flax import nnx
    >>> from gconv_jax import P4, P4M, Z2
    >>> from gconv_jax.models import MixedGroupCNN
    >>> model = nnx.eval_shape(
    ...     lambda: MixedGroupCNN(groups=(P4M, P4M, P4, Z2), rngs=nnx.Rngs(0))
    ... )
    >>> model.groups
    (P4M, P4M, P4M, P4M, P4, P4, Z2)
    """

    def __init__(
        self,
        *,
        groups: Sequence[FiniteGroup] = (P4M, P4M, P4, Z2),
        widths: int | Sequence[int] | None = None,
        classes: int = 10,
        in_features: int = 1,
        filter_banks: int | None = None,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        self.groups = spread_groups(groups, LAYERS)
        self.classes = check_outputs(classes)
        if widths is None:
            widths = tuple(scaled_width(20, group) for group in self.groups[:DEPTH])
        widths = per_axis(widths, DEPTH, "widths")
        options = {"padding": "VALID", "kernel_init": unit_variance, "dtype": dtype, "rngs": rngs}
        lift_layer, group_layer = LiftConv, GroupConv
        if filter_banks is not None:
            lift_layer, group_layer = RelaxedLiftConv, RelaxedGroupConv
            options["filter_banks"] = filter_banks
        conv = lift_layer(in_features, widths[0], 3, group=self.groups[0], **options)
        self.layer0 = ConvNormReLU(conv, dtype=dtype, rngs=rngs)
        for i in range(1, LAYERS):
            before, group = self.groups[i - 1 : i + 1]
            c_in = before.order // group.order * widths[i - 1]
            if i < DEPTH:
                conv = group_layer(c_in, widths[i], 3, group=group, **options)
                setattr(self, f"layer{i}", ConvNormReLU(conv, dtype=dtype, rngs=rngs))
            elif classes:
                self.top = group_layer(c_in, classes, 4, group=group, **options)

    def feature_maps(self, x: jax.Array) -> jax.Array:
        """Return the feature maps ``[N, H, W, |G|, C]`` before the last layer."""
        check_images(x, SMALLEST)
        for i in range(DEPTH):
            group, following = self.groups[i : i + 2]
            x = getattr(self, f"layer{i}")(x)
            if i == 1:
                x = max_pool(x, group=group, window_shape=2, lifted=True)
            if following != group:
                x = restrict(x, group=group, subgroup=following)
        return x

    def _outputs(self, maps: jax.Array) -> jax.Array:
        return max_over(group_pool(self.top(maps)), (1, 2))


class PlainCNN(MixedGroupCNN):
    """A `MixedGroupCNN` without any symmetry, with which the two others are compared.

    It has 21,750 parameters. The comparison is table 3 of Ansanelli 2022, "Group equivariant neural
    networks". The report names 21, 24 and 25 thousand parameters of `PlainCNN`, `P4CNN` and
    `EarlyP4CNN`, and 111, 108 and 111 thousand of their variants for letters (`LETTER_WIDTHS`). The
    widths are ours. Arguments are those of `MixedGroupCNN`.

    >>> import jax
    >>> from flax import nnx
    >>> from gconv_jax.models import LETTER_WIDTHS, PlainCNN
    >>> options = {"widths": LETTER_WIDTHS["plain"], "classes": 47}
    >>> model = nnx.eval_shape(lambda: PlainCNN(**options, rngs=nnx.Rngs(0)))
    >>> sum(p.size for p in jax.tree.leaves(nnx.state(model, nnx.Param)))
    110909
    """

    def __init__(
        self,
        *,
        widths: int | Sequence[int] | None = None,
        classes: int = 10,
        in_features: int = 1,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        super().__init__(
            groups=(Z2,),
            widths=widths,
            classes=classes,
            in_features=in_features,
            dtype=dtype,
            rngs=rngs,
        )


class EarlyP4CNN(MixedGroupCNN):
    """A `MixedGroupCNN` whose equivariance stops early.

    It has a group in the first three layers, and none in the others, which see all orientations as
    channels. It has 25,170 parameters for P4 (see `PlainCNN`).

    Args:
        group: the group of the first three layers.
        widths, classes, in_features, dtype, rngs: as `MixedGroupCNN`.

    >>> from flax import nnx
    >>> from gconv_jax.models import EarlyP4CNN
    >>> model = nnx.eval_shape(lambda: EarlyP4CNN(rngs=nnx.Rngs(0)))
    >>> model.groups
    (P4, P4, P4, Z2, Z2, Z2, Z2)
    """

    def __init__(
        self,
        *,
        group: FiniteGroup = P4,
        widths: int | Sequence[int] | None = None,
        classes: int = 10,
        in_features: int = 1,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        super().__init__(
            groups=(check_planar(group),) * 3 + (Z2,) * (LAYERS - 3),
            widths=widths,
            classes=classes,
            in_features=in_features,
            dtype=dtype,
            rngs=rngs,
        )
