"""All-CNN-C (Springenberg et al. 2014, arXiv:1412.6806) with group convolutions, for CIFAR-10
(Cohen & Welling 2016, arXiv:1602.07576, section 8.2)."""

from collections.abc import Sequence

import jax
from flax import nnx
from jax.nn.initializers import normal
from jax.typing import DTypeLike

from gconv_jax.filters.initializers import compile_unoptimized
from gconv_jax.groups.finite import P4, P4M, Z2, FiniteGroup
from gconv_jax.models._downsample import SMALLEST, Geometry, HalvingConv, check_geometry
from gconv_jax.models._layers import (
    ConvNormReLU,
    check_images,
    check_outputs,
    check_planar,
    scaled_width,
)
from gconv_jax.models._network import Network
from gconv_jax.nnx import GroupConv, LiftConv
from gconv_jax.ops.arguments import per_axis

# For P4M the formula 96 / sqrt(8) would give 34.
PUBLISHED_WIDTHS = {Z2: (96, 192), P4: (48, 96), P4M: (32, 64)}
DEPTH = 9
_HALVING = (2, 5)
# The scales are those of the authors' code, which draws smaller filters for the groups.
_plain_init, _group_init = compile_unoptimized(normal(0.05)), compile_unoptimized(normal(0.035))


class AllCNNC(Network):
    """The network All-CNN-C, which consists of nine convolutions.

    Three convolutions have width w and three 2 w, and the third of each halves the pixels. Another
    3x3 convolution, a 1x1 one to 2 w and a 1x1 one to the classes follow. Batch normalization and
    ReLU follow each convolution, the last one too. The logits are means over space and group, which
    makes the published head invariant; so there is no ``head`` to choose as in `ResNet`. The
    network has 1,372,254 parameters for Z2, 1,371,006 for P4 and 1,219,678 for P4M.

    Args:
        group: any symmetry of the lattice; `Z2` for the plain network.
        widths: the channels for each group element of the first three layers, and of the next five.
            By default they are the published ones, and ``(96, 192) / sqrt(|G|)`` for other groups.
        geometry: the way to halve the pixels. ``"exact"`` keeps the law on images of any size;
            ``"published"`` has strides of 2, which break it on even sizes, with a warning.
        input_dropout, dropout: the dropout rates on the image, and after each halving.
        classes: the number of outputs; 0 for none, and a call returns `features`.
        in_features: the channels of the image.
        dtype: the dtype of computation.
        rngs: the random keys ``params`` and ``dropout``.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax import P4
    >>> from gconv_jax.models import AllCNNC
    >>> model = AllCNNC(group=P4, widths=(4, 8), rngs=nnx.Rngs(0))
    >>> model.eval()
    >>> model(jnp.ones((2, 32, 32, 3))).shape  # logits
    (2, 10)
    """

    def __init__(
        self,
        *,
        group: FiniteGroup = P4M,
        widths: int | Sequence[int] | None = None,
        geometry: Geometry = "exact",
        input_dropout: float = 0.2,
        dropout: float = 0.5,
        classes: int = 10,
        in_features: int = 3,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        check_planar(group)
        check_geometry(geometry)
        if widths is None:
            formula = tuple(scaled_width(width, group) for width in (96, 192))
            widths = PUBLISHED_WIDTHS.get(group, formula)
        first, second = per_axis(widths, 2, "widths")
        init = _plain_init if group.order == 1 else _group_init
        options = {"group": group, "kernel_init": init, "dtype": dtype, "rngs": rngs}
        self.classes = check_outputs(classes)
        c_in, c_out = in_features, [first] * 3 + [second] * 5 + [classes]
        for i in range(DEPTH if classes else DEPTH - 1):
            kernel_size = 3 if i < DEPTH - 2 else 1
            if i in _HALVING:
                conv = HalvingConv(c_in, c_out[i], kernel_size, geometry=geometry, **options)
            else:
                conv = (GroupConv if i else LiftConv)(c_in, c_out[i], kernel_size, **options)
            setattr(self, f"layer{i}", ConvNormReLU(conv, dtype=dtype, rngs=rngs))
            c_in = c_out[i]
        self.input_dropout = nnx.Dropout(input_dropout, rngs=rngs)
        self.dropout = nnx.Dropout(dropout, rngs=rngs)

    def feature_maps(self, x: jax.Array) -> jax.Array:
        """Return the feature maps ``[N, H, W, |G|, C]`` before the last layer."""
        check_images(x, SMALLEST)
        x = self.input_dropout(x)
        for i in range(DEPTH - 1):
            x = getattr(self, f"layer{i}")(x)
            if i in _HALVING:
                x = self.dropout(x)
        return x

    def _outputs(self, maps: jax.Array) -> jax.Array:
        return getattr(self, f"layer{DEPTH - 1}")(maps).mean(axis=(1, 2, 3))
