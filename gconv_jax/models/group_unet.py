"""A U-Net with residual blocks, attention, and conditions such as the time of a diffusion.

The network is that of Ho et al. 2020 (arXiv:2006.11239) over a group: its result turns with the
image, so that a model of a diffusion gives an image and its rotations the same likelihood.
"""

import math
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax.nn.initializers import zeros
from jax.typing import DTypeLike

from gconv_jax.groups.fields import Fields, require_fields
from gconv_jax.groups.finite import P4M, FiniteGroup, check_group
from gconv_jax.lattice.hexagons import refuse_hexagons
from gconv_jax.models._layers import default_filters, scaled_width
from gconv_jax.models._network import Network
from gconv_jax.models._transformer import check_divisible
from gconv_jax.nnx import (
    FieldDropout,
    FiLM,
    GroupAttention,
    GroupConv,
    GroupLinear,
    GroupNorm,
    LiftConv,
)
from gconv_jax.ops.arguments import check_integer
from gconv_jax.ops.dropout import check_rate
from gconv_jax.pooling.fields import project_fields
from gconv_jax.pooling.group_axis import group_pool
from gconv_jax.pooling.spatial import avg_pool, upsample


class GroupUNet(Network):
    """A U-Net with attention and conditions: ``unet(L_g x, t, c) == L_g unet(x, t, c)`` for every
    element g. Times t and conditions c do not turn.

    Every scale has residual blocks of group normalization, SiLU and 3x3 group convolutions, which
    a linear map of time and condition scales and shifts (`gconv_jax.nnx.FiLM`). Attention between
    all positions, with rotary embeddings, follows at the scales of ``attention``. Pixels are halved
    by means and doubled by repetition. Every side of the images must be divisible by
    ``2 ** (scales - 1)``.

    Args:
        group: any group of the plane but those of hexagons, or of the cube for voxels
            ``[N, D, H, W, C]``. Finer rotations have harmonic filters, and the law is exact for the
            elements that map pixels onto pixels.
        width: the channels for each group element at the first scale; by default
            ``64 / sqrt(|G|)``, rounded to a multiple of 8.
        multipliers: the channels at each scale, in multiples of ``width``.
        blocks: the residual blocks at each scale on the way down; there is one more on the way up.
        attention: the scales that have attention, counted from 0; by default the last one.
        heads: the heads of attention, which divide the channels into even numbers.
        in_features, out_features: the channels of the image, and of the result; by default as many
            as those of the image.
        in_fields, out_fields: what the channels of the image and of the result are, if they are not
            numbers alone, such as ``Fields(vectors=1)``. They take the place of ``in_features`` and
            ``out_features``.
        cond_features: the numbers in a condition, such as the embedding of a class; 0 for none.
        dropout: the rate of dropout of whole channels within the residual blocks.
        padding: of the 3x3 convolutions: ``SAME`` (zeros), or ``CIRCULAR`` for periodic images.
        dtype: the dtype of computation.
        rngs: the random key ``params``, and ``dropout`` for ``dropout``.

    >>> import jax
    >>> from flax import nnx
    >>> from gconv_jax.models import GroupUNet
    >>> model = nnx.eval_shape(lambda: GroupUNet(in_features=1, rngs=nnx.Rngs(0)))
    >>> sum(p.size for p in jax.tree.leaves(nnx.state(model, nnx.Param)))
    17084857
    """

    def __init__(
        self,
        *,
        group: FiniteGroup = P4M,
        width: int | None = None,
        multipliers: Sequence[int] = (1, 2, 4),
        blocks: int = 2,
        attention: Sequence[int] | None = None,
        heads: int = 4,
        in_features: int = 3,
        out_features: int | None = None,
        in_fields: Fields | None = None,
        out_fields: Fields | None = None,
        cond_features: int = 0,
        dropout: float = 0.0,
        padding: Literal["SAME", "CIRCULAR"] = "SAME",
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        self.group = refuse_hexagons(check_group(group), "GroupUNet")
        if width is None:
            width = max(8, 8 * round(scaled_width(64, group) / 8))
        check_integer("width", width, least=1)
        self.scales = len(multipliers)
        if not self.scales:
            raise ValueError("`multipliers` must have a number for each scale, got none")
        widths = [width * check_integer("multipliers", m, least=1) for m in multipliers]
        self.blocks = check_integer("blocks", blocks, least=1)
        attention = (self.scales - 1,) if attention is None else attention
        for i in attention:
            check_integer("attention", i, among=range(self.scales))
        check_rate("dropout", dropout)
        if padding not in ("SAME", "CIRCULAR"):
            raise ValueError(f"`padding` must be 'SAME' or 'CIRCULAR', got {padding!r}")
        if in_fields is not None:
            in_features = require_fields(in_fields).channels(group)
        self.in_features = check_integer("in_features", in_features, least=1)
        if out_fields is None:
            out_features = in_features if out_features is None else out_features
            out_fields = Fields(check_integer("out_features", out_features, least=1))
        self.out_fields = require_fields(out_fields)

        options = {"group": group, "dtype": dtype, "rngs": rngs}
        conv = {"padding": padding, **options}
        filters = {"filters": default_filters(group), **conv}
        self.hidden = 4 * width
        self.cond_features = check_integer("cond_features", cond_features, least=0)
        linear = {"dtype": dtype, "rngs": rngs}
        self.time0 = nnx.Linear(self.hidden, self.hidden, **linear)
        self.time1 = nnx.Linear(self.hidden, self.hidden, **linear)
        self.condition = nnx.data(None)
        if cond_features:
            self.condition = nnx.Linear(cond_features, self.hidden, **linear)

        def block(c_in: int, scale: int) -> Block:
            return Block(
                c_in,
                widths[scale],
                self.hidden,
                heads=heads if scale in attention else None,
                dropout=dropout,
                **conv,
            )

        c = widths[0]
        self.lift = LiftConv(in_features, c, 3, fields=in_fields, **filters)
        kept = [c]
        for i in range(self.scales):
            for j in range(blocks):
                setattr(self, f"down{i}_{j}", block(c, i))
                c = widths[i]
                kept.append(c)
            if i < self.scales - 1:
                kept.append(c)  # after the mean of pixels
        last = self.scales - 1
        self.middle0, self.middle1 = block(c, last), block(c, last)
        for i in reversed(range(self.scales)):
            for j in range(blocks + 1):
                setattr(self, f"up{i}_{j}", block(c + kept.pop(), i))
                c = widths[i]
            if i:
                setattr(self, f"grow{i}", GroupConv(c, c, 3, **filters))
        self.norm = GroupNorm(c, num_groups=runs(c), **linear)
        self.top = GroupConv(c, self.out_fields.channels(group), 3, kernel_init=zeros, **filters)

    def __call__(
        self, x: jax.Array, time: jax.Array | None = None, condition: jax.Array | None = None
    ) -> jax.Array:
        """Return fields ``[N, *spatial, out_features]`` of images ``[N, *spatial, in_features]``.

        Args:
            x: the images.
            time: ``[N]``, such as the step of a diffusion, of about 0 to 1,000; by default 0.
            condition: ``[N, cond_features]``.
        """
        maps = self.feature_maps(x, time, condition)
        return project_fields(self.top(maps), group=self.group, fields=self.out_fields)

    def features(
        self, x: jax.Array, time: jax.Array | None = None, condition: jax.Array | None = None
    ) -> jax.Array:
        """Return the features ``[N, *spatial, C]`` of each pixel, which turn with the image: the
        mean of `feature_maps` over the group."""
        return group_pool(self.feature_maps(x, time, condition), reduce="mean")

    def feature_maps(
        self, x: jax.Array, time: jax.Array | None = None, condition: jax.Array | None = None
    ) -> jax.Array:
        """Return the feature maps ``[N, *spatial, |G|, C]`` before the last layer."""
        x = jnp.asarray(x)
        check_divisible(x, self.group, 2 ** (self.scales - 1), self.in_features)
        cond = self._embed(x.shape[0], time, condition).astype(jnp.result_type(x.dtype, float))
        x = self.lift(x)
        kept = [x]
        for i in range(self.scales):
            for j in range(self.blocks):
                x = getattr(self, f"down{i}_{j}")(x, cond)
                kept.append(x)
            if i < self.scales - 1:
                x = avg_pool(x, group=self.group, window_shape=2, lifted=True)
                kept.append(x)
        x = self.middle1(self.middle0(x, cond), cond)
        for i in reversed(range(self.scales)):
            for j in range(self.blocks + 1):
                x = getattr(self, f"up{i}_{j}")(jnp.concatenate([x, kept.pop()], -1), cond)
            if i:
                x = getattr(self, f"grow{i}")(upsample(x, group=self.group, scale=2, lifted=True))
        return nnx.silu(self.norm(x))

    def _embed(self, n: int, time: jax.Array | None, condition: jax.Array | None) -> jax.Array:
        """Return what modulates the blocks, ``[N, hidden]``, of times and conditions."""
        time = jnp.zeros(n) if time is None else jnp.asarray(time)
        if time.shape != (n,):
            raise ValueError(f"`time` must be [N={n}], got shape {time.shape}")
        wanted = (n, self.cond_features) if self.cond_features else None
        given = None if condition is None else jnp.shape(condition)
        if given != wanted:
            raise ValueError(f"`condition` must have shape {wanted}, got {given}")
        y = self.time1(nnx.silu(self.time0(embed_times(time, self.hidden))))
        if self.condition is not None:
            y = y + self.condition(jnp.asarray(condition))
        return nnx.silu(y)


class Block(nnx.Module):
    """A residual block of two 3x3 group convolutions, with attention behind it if there are
    heads."""

    def __init__(
        self,
        c_in: int,
        c: int,
        hidden: int,
        *,
        heads: int | None,
        dropout: float,
        padding: Literal["SAME", "CIRCULAR"],
        group: FiniteGroup,
        dtype: DTypeLike | None,
        rngs: nnx.Rngs,
    ):
        plain = {"dtype": dtype, "rngs": rngs}
        conv = {"padding": padding, "filters": default_filters(group), "group": group, **plain}
        self.norm0 = GroupNorm(c_in, num_groups=runs(c_in), **plain)
        self.conv0 = GroupConv(c_in, c, 3, **conv)
        self.norm1 = GroupNorm(c, num_groups=runs(c), **plain)
        self.film = FiLM(hidden, c, **plain)
        self.drop = nnx.data(FieldDropout(dropout, rngs=rngs) if dropout else None)
        # The identity at first.
        self.conv1 = GroupConv(c, c, 3, kernel_init=zeros, **conv)
        same = c_in == c
        self.short = nnx.data(None if same else GroupLinear(c_in, c, group=group, **plain))
        self.norm2 = self.attention = nnx.data(None)
        if heads is not None:
            self.norm2 = GroupNorm(c, num_groups=runs(c), **plain)
            self.attention = GroupAttention(heads, c, rotary=True, group=group, **plain)

    def __call__(self, x: jax.Array, condition: jax.Array) -> jax.Array:
        """``[N, *spatial, |G|, c_in]`` and ``[N, hidden]`` to ``[N, *spatial, |G|, c]``."""
        y = self.conv0(nnx.silu(self.norm0(x)))
        y = nnx.silu(self.film(self.norm1(y), condition))
        y = y if self.drop is None else self.drop(y)
        y = self.conv1(y) + (x if self.short is None else self.short(x))
        if self.attention is None or self.norm2 is None:
            return y
        return y + self.attention(self.norm2(y))


def runs(channels: int) -> int:
    """Return the number of runs of channels that are normalized together."""
    return math.gcd(channels, 8)


def embed_times(time: jax.Array, features: int) -> jax.Array:
    """Return cosines and sines of times ``[N]`` at geometric frequencies from 1 to 1e-4, ``[N,
    features]`` (Vaswani et al. 2017, arXiv:1706.03762)."""
    half = features // 2
    frequencies = jnp.exp(-math.log(1e4) * jnp.arange(half) / half)
    angles = time[:, None].astype(jnp.result_type(time.dtype, float)) * frequencies
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], -1)
