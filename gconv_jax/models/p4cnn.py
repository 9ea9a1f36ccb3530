"""The three rotated-MNIST networks of Cohen & Welling 2016 (arXiv:1602.07576, section 8.1).

They have six 3x3 convolutions and a 4x4 one, without padding, with one 2x2 max pooling after the
second: 28 - 26 - 24 - 12 - 10 - 8 - 6 - 4 - 1 pixels. Batch normalization and ReLU follow every
convolution but the last, whose channels are the classes. Images may be larger than 28 pixels: the
remaining positions are pooled at the end.
"""

from collections.abc import Sequence

import jax
from flax import nnx
from jax.typing import DTypeLike

from gconv_jax.groups.finite import P4, Z2, FiniteGroup
from gconv_jax.models._layers import (
    ConvNormReLU,
    check_images,
    check_outputs,
    check_planar,
    unit_variance,
)
from gconv_jax.models._network import Network
from gconv_jax.models.mixed_groups import DEPTH, SMALLEST, MixedGroupCNN
from gconv_jax.nnx import LiftConv
from gconv_jax.ops.arguments import per_axis
from gconv_jax.ops.maximum import max_over
from gconv_jax.planar.conv import conv_general_dilated
from gconv_jax.pooling.group_axis import group_pool
from gconv_jax.pooling.spatial import max_pool


class Z2CNN(Network):
    """The plain CNN with which P4CNN is compared: 20 channels, dropout 0.3, 21,750 parameters.

    Args:
        classes: the number of outputs; 0 for none, and a call returns `features`.
        in_features: the channels of the image.
        width: the channels of the hidden layers.
        dropout: the dropout rate after layers 1, 3, 4, 5 and 6.
        dtype: the dtype of computation.
        rngs: the random keys ``params`` and ``dropout``.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax.models import Z2CNN
    >>> model = Z2CNN(rngs=nnx.Rngs(0))
    >>> model.eval()
    >>> model(jnp.ones((2, 28, 28, 1))).shape  # logits
    (2, 10)
    """

    def __init__(
        self,
        *,
        classes: int = 10,
        in_features: int = 1,
        width: int = 20,
        dropout: float = 0.3,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        self.layer0 = ConvNormReLU(
            _conv(in_features, width, 3, dtype, rngs), dtype=dtype, rngs=rngs
        )
        for i in range(1, DEPTH):
            layer = ConvNormReLU(_conv(width, width, 3, dtype, rngs), dtype=dtype, rngs=rngs)
            setattr(self, f"layer{i}", layer)
        self.classes = check_outputs(classes)
        if classes:
            self.top = _conv(width, classes, 4, dtype, rngs)
        self.dropout = nnx.Dropout(dropout, rngs=rngs)

    def feature_maps(self, x: jax.Array) -> jax.Array:
        """Return the feature maps ``[N, H, W, C]`` before the last layer."""
        check_images(x, SMALLEST)
        for i in range(DEPTH):
            x = getattr(self, f"layer{i}")(x)
            x = max_pool(x, group=Z2, window_shape=2, lifted=False) if i == 1 else self.dropout(x)
        return x

    def _outputs(self, maps: jax.Array) -> jax.Array:
        return max_over(self.top(maps), (1, 2))


class P4CNN(MixedGroupCNN):
    """The G-CNN: every convolution of `Z2CNN` is a group convolution.

    The maximum over the group at the end makes the logits invariant. The network has 10 channels
    and 24,680 parameters for P4.

    Args:
        group: any symmetry of the lattice.
        width: the channels for each group element, an integer or one for each of the first six
            layers; by default ``20 / sqrt(|G|)``, which keeps the number of parameters near that of
            `Z2CNN`.
        classes, in_features, dtype, rngs: as in `Z2CNN`. There is no dropout, as published.
        filter_banks: the number of base filters that relaxed convolutions mix, whose weights may
            learn to break the symmetry (`gconv_jax.nnx.RelaxedGroupConv`); None for exact ones.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax import P4M
    >>> from gconv_jax.models import P4CNN
    >>> model = P4CNN(group=P4M, rngs=nnx.Rngs(0))
    >>> model.eval()
    >>> model(jnp.ones((2, 28, 28, 1))).shape
    (2, 10)
    """

    def __init__(
        self,
        *,
        group: FiniteGroup = P4,
        width: int | Sequence[int] | None = None,
        classes: int = 10,
        in_features: int = 1,
        filter_banks: int | None = None,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        super().__init__(
            groups=(check_planar(group),),
            widths=width if width is None else per_axis(width, DEPTH, "width"),
            classes=classes,
            in_features=in_features,
            filter_banks=filter_banks,
            dtype=dtype,
            rngs=rngs,
        )


class P4CNNRotationPooling(Network):
    """The ablation of `P4CNN`: every layer lifts to the group and pools over it at once.

    So filters are invariant and relative orientations are lost. The network has 20 channels and
    21,750 parameters for every group. Arguments are those of `P4CNN`; ``width`` is 20 by default.

    >>> import jax
    >>> from flax import nnx
    >>> from gconv_jax.models import P4CNNRotationPooling
    >>> model = nnx.eval_shape(lambda: P4CNNRotationPooling(rngs=nnx.Rngs(0)))
    >>> sum(p.size for p in jax.tree.leaves(nnx.state(model, nnx.Param)))
    21750
    """

    def __init__(
        self,
        *,
        group: FiniteGroup = P4,
        width: int = 20,
        classes: int = 10,
        in_features: int = 1,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        options = {"group": check_planar(group), **_conv_options(dtype, rngs)}
        self.group = group
        for i in range(DEPTH):
            conv = LiftConv(width if i else in_features, width, 3, **options)
            setattr(self, f"layer{i}", ConvNormReLU(conv, dtype=dtype, rngs=rngs))
        self.classes = check_outputs(classes)
        if classes:
            self.top = LiftConv(width, classes, 4, **options)

    def feature_maps(self, x: jax.Array) -> jax.Array:
        """Return the feature maps ``[N, H, W, C]`` before the last layer, pooled over the group."""
        check_images(x, SMALLEST)
        for i in range(DEPTH):
            x = group_pool(getattr(self, f"layer{i}")(x))
            if i == 1:
                x = max_pool(x, group=self.group, window_shape=2, lifted=False)
        return x

    def _outputs(self, maps: jax.Array) -> jax.Array:
        return max_over(group_pool(self.top(maps)), (1, 2))


def _conv_options(dtype: DTypeLike | None, rngs: nnx.Rngs) -> dict:
    return {"padding": "VALID", "kernel_init": unit_variance, "dtype": dtype, "rngs": rngs}


def _conv(c_in: int, c_out: int, k: int, dtype: DTypeLike | None, rngs: nnx.Rngs) -> nnx.Conv:
    options = {"conv_general_dilated": conv_general_dilated, **_conv_options(dtype, rngs)}
    return nnx.Conv(c_in, c_out, (k, k), **options)
