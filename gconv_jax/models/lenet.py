"""LeNet with its two convolutions replaced by group convolutions."""

from collections.abc import Sequence

import jax
from flax import nnx
from jax.nn.initializers import lecun_normal
from jax.typing import DTypeLike

from gconv_jax.filters.initializers import compile_unoptimized
from gconv_jax.groups.finite import P4, FiniteGroup
from gconv_jax.models._layers import check_outputs, check_planar, scaled_width
from gconv_jax.models._network import Network
from gconv_jax.nnx import GroupConv, LiftConv
from gconv_jax.ops.arguments import per_axis
from gconv_jax.pooling.spatial import max_pool

SIZE = 28
PARAMETERS = 216_000
_POSITIONS = 4 * 4  # 28 - 24 - 12 - 8 - 4 pixels
_init = compile_unoptimized(lecun_normal())


class LeNet(Network):
    """LeNet: twice a 5x5 convolution, ReLU and 2x2 max pooling, then two linear layers.

    The convolutions are those of ``group``, and nothing else is changed. So the feature maps keep
    the law, but the logits are not invariant, since the linear layers see the maps flattened over
    space and group. Ansanelli 2022, "Group equivariant neural networks", names this family and its
    216 thousand parameters only; the widths here are ours. They make 216,212 parameters for Z2,
    216,122 for P4 and 216,465 for P4M.

    Args:
        group: any symmetry of the lattice; `Z2` for the plain network.
        widths: the channels for each group element of the two convolutions, by default
            ``(20, 48) / sqrt(|G|)``.
        hidden: the units between the linear layers; by default as many as bring the number of
            parameters nearest to 216,000.
        classes: the number of outputs; 0 for none, and a call returns `features`.
        in_features: the channels of the image.
        dtype: the dtype of computation.
        rngs: the random key ``params``.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax.models import LeNet
    >>> LeNet(rngs=nnx.Rngs(0))(jnp.ones((2, 28, 28, 1))).shape  # logits
    (2, 10)
    """

    def __init__(
        self,
        *,
        group: FiniteGroup = P4,
        widths: int | Sequence[int] | None = None,
        hidden: int | None = None,
        classes: int = 10,
        in_features: int = 1,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        check_planar(group)
        if widths is None:
            widths = tuple(scaled_width(width, group) for width in (20, 48))
        first, second = per_axis(widths, 2, "widths")
        flat = _POSITIONS * group.order * second
        if hidden is None:
            convs = (25 * in_features + 1) * first + (25 * group.order * first + 1) * second
            hidden = max(1, round((PARAMETERS - convs - classes) / (flat + 1 + classes)))
        self.group = group
        options = {"group": group, "padding": "VALID", "dtype": dtype, "rngs": rngs}
        self.conv0 = LiftConv(in_features, first, 5, **options)
        self.conv1 = GroupConv(first, second, 5, **options)
        options = {"kernel_init": _init, "dtype": dtype, "rngs": rngs}
        self.linear0 = nnx.Linear(flat, hidden, **options)
        self.classes = check_outputs(classes)
        if classes:
            self.linear1 = nnx.Linear(hidden, classes, **options)

    def feature_maps(self, x: jax.Array) -> jax.Array:
        """Return the feature maps ``[N, 4, 4, |G|, C]`` of images ``[N, 28, 28, in_features]``
        before the linear layers."""
        if x.ndim != 4 or x.shape[1:3] != (SIZE, SIZE):
            raise ValueError(
                f"`x` must be images [N, {SIZE}, {SIZE}, C], since the linear layers have a weight "
                f"for each position, got shape {x.shape}"
            )
        for conv in (self.conv0, self.conv1):
            x = max_pool(nnx.relu(conv(x)), group=self.group, window_shape=2, lifted=True)
        return x

    def _pool(self, maps: jax.Array) -> jax.Array:
        return nnx.relu(self.linear0(maps.reshape(maps.shape[0], -1)))

    def _outputs(self, maps: jax.Array) -> jax.Array:
        return self.linear1(self._pool(maps))
