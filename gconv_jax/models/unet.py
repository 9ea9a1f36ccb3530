"""A U-Net with group convolutions, which gives classes of pixels that turn with the image.

The U-Net is that of Ronneberger et al. 2015 (arXiv:1505.04597). It has two 3x3 convolutions at each
scale, means of 2 x 2 pixels on the way down, and transposed convolutions of 2 x 2 on the way up,
which are joined with the features of the same scale. The maximum over the group and a linear
classifier of each pixel come last.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from gconv_jax.groups.fields import Fields, require_fields
from gconv_jax.groups.finite import P4M, FiniteGroup, check_group
from gconv_jax.models._layers import ConvNormReLU, check_outputs, scaled_width
from gconv_jax.models._network import Network
from gconv_jax.nnx import GroupConv, GroupConvTranspose, LiftConv
from gconv_jax.ops.arguments import check_integer, spatial_axes
from gconv_jax.pooling.fields import project_fields
from gconv_jax.pooling.group_axis import group_pool
from gconv_jax.pooling.spatial import avg_pool


class UNet(Network):
    """A U-Net that is exactly equivariant: ``unet(L_g x) == L_g unet(x)`` for every element g.

    Every side of the images must be divisible by ``2**depth``.

    Args:
        group: any symmetry of the lattice; of the cube for voxels ``[N, D, H, W, C]``.
        depth: the number of times that the pixels are halved.
        width: the channels for each group element at the first scale, doubled at each halving; by
            default ``32 / sqrt(|G|)``.
        classes: the number of outputs of each pixel; 0 for none, and a call returns `features`.
        in_features: the channels of the image.
        in_fields, out_fields: what the channels of the image and of the result are, if they are not
            numbers alone, such as ``Fields(vectors=1)`` for velocities. They take the place of
            ``in_features`` and ``classes``. A result with fields is the mean over orientations of
            `project_fields` in place of the maximum.
        padding: of the 3x3 convolutions: ``SAME`` (zeros), or ``CIRCULAR`` for periodic images.
        dtype: the dtype of computation.
        rngs: the random key ``params``.

    >>> import jax
    >>> from flax import nnx
    >>> from gconv_jax.models import UNet
    >>> model = nnx.eval_shape(lambda: UNet(rngs=nnx.Rngs(0)))
    >>> sum(p.size for p in jax.tree.leaves(nnx.state(model, nnx.Param)))
    1819754
    """

    def __init__(
        self,
        *,
        group: FiniteGroup = P4M,
        depth: int = 3,
        width: int | None = None,
        classes: int = 2,
        in_features: int = 3,
        in_fields: Fields | None = None,
        out_fields: Fields | None = None,
        padding: Literal["SAME", "CIRCULAR"] = "SAME",
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        self.group = check_group(group)
        self.depth = check_integer("depth", depth, least=1)
        width = check_integer("width", scaled_width(32, group) if width is None else width, least=1)
        if in_fields is not None:
            in_features = require_fields(in_fields).channels(group)
        if out_fields is not None:
            classes = require_fields(out_fields).channels(group)
        self.out_fields = out_fields
        if padding not in ("SAME", "CIRCULAR"):
            raise ValueError(f"`padding` must be 'SAME' or 'CIRCULAR', got {padding!r}")
        options = {"group": group, "dtype": dtype, "rngs": rngs}
        conv = {"padding": padding, **options}
        norm = {"dtype": dtype, "rngs": rngs}

        def pair(name: str, first: LiftConv | GroupConv) -> None:
            c = first.out_features
            setattr(self, f"{name}_0", ConvNormReLU(first, **norm))
            setattr(self, f"{name}_1", ConvNormReLU(GroupConv(c, c, 3, **conv), **norm))

        pair("down0", LiftConv(in_features, width, 3, fields=in_fields, **conv))
        for i in range(1, self.depth + 1):
            pair(f"down{i}", GroupConv(width << (i - 1), width << i, 3, **conv))
        for i in reversed(range(self.depth)):
            c = width << i
            setattr(self, f"grow{i}", GroupConvTranspose(2 * c, c, 2, strides=2, **options))
            pair(f"up{i}", GroupConv(2 * c, c, 3, **conv))
        self.classes = check_outputs(classes)
        if classes:
            self.top = nnx.Linear(width, classes, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return logits ``[N, *spatial, classes]``, or the fields of each pixel, of images ``[N,
        *spatial, in_features]``; without classes, `features`."""
        return super().__call__(x)

    def features(self, x: jax.Array) -> jax.Array:
        """Return the features ``[N, *spatial, C]`` of each pixel, which turn with the image: the
        maximum of `feature_maps` over the group."""
        return super().features(x)

    def feature_maps(self, x: jax.Array) -> jax.Array:
        """Return the feature maps ``[N, *spatial, |G|, C]`` before the last layer."""
        divisor, rank = 2**self.depth, self.group.dimension
        if x.ndim != rank + 2 or any(n < 1 or n % divisor for n in x.shape[1:-1]):
            axes = ", ".join(spatial_axes(rank))
            raise ValueError(
                f"`x` must be [N, {axes}, C] with sides divisible by {divisor} "
                f"(2**depth), got shape {x.shape}"
            )
        scales = []
        for i in range(self.depth + 1):
            if i:
                x = avg_pool(x, group=self.group, window_shape=2, lifted=True)
            x = self._pair(f"down{i}", x)
            scales.append(x)
        for i in reversed(range(self.depth)):
            x = getattr(self, f"grow{i}")(x)
            x = self._pair(f"up{i}", jnp.concatenate([scales[i], x], -1))
        return x

    def _pool(self, maps: jax.Array) -> jax.Array:
        return group_pool(maps)

    def _outputs(self, maps: jax.Array) -> jax.Array:
        if self.out_fields is not None:
            return project_fields(self.top(maps), group=self.group, fields=self.out_fields)
        return self.top(self._pool(maps))

    def _pair(self, name: str, x: jax.Array) -> jax.Array:
        return getattr(self, f"{name}_1")(getattr(self, f"{name}_0")(x))
