"""Attention between the positions of feature maps: what the layers of NNX and Linen share."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gconv_jax.attention.dot_product import group_attention
from gconv_jax.attention.positions import rotary_embedding, token_positions
from gconv_jax.groups.finite import FiniteGroup
from gconv_jax.groups.irrep_features import (
    Features,
    IrrepFeatures,
    SameFeatures,
    as_regular,
    batch_axes,
)
from gconv_jax.lattice.hexagons import refuse_hexagons


def attend_tokens(
    qkv: tuple[SameFeatures, SameFeatures, SameFeatures],
    inputs: tuple[Features, Features],
    positions: tuple[ArrayLike | None, ArrayLike | None],
    *,
    frequencies: jax.Array | None,
    group: FiniteGroup,
    **options: Any,
) -> SameFeatures:
    """Return the attention of lists of tokens, after rotary embeddings if there are frequencies.

    Args:
        qkv: queries, keys and values ``[N, T, |G|, C]``.
        inputs: the feature maps of queries and of keys, whose shapes say where tokens are.
        positions: those that the user gave, of queries and of keys.
        frequencies: as in `rotary_embedding`.
        group: G.
        **options: those of `group_attention`.

    Raises:
        ValueError: positions are missing, or given where they have no use.
    """
    q, k, v = qkv
    names = ("inputs_q", "positions"), ("inputs_kv", "kv_positions")
    if frequencies is None:
        for given, (_, name) in zip(positions, names, strict=True):
            if given is not None:
                raise ValueError(f"`{name}` must be None for a layer without `rotary`")
        return group_attention(q, k, v, group=group, **options)
    turned = []
    for x, tokens, given, (argument, name) in zip((q, k), inputs, positions, names, strict=True):
        axes = token_axes(tokens, argument)
        if given is None and len(axes) != group.dimension:
            raise ValueError(f"`{name}` must be given for a list of tokens in a `rotary` layer")
        if given is None:
            refuse_hexagons(group, "rotary embeddings of a feature map")
        given = token_positions(axes) if given is None else jnp.asarray(given)
        turned.append(rotary_embedding(as_regular(x), given, frequencies, group=group))
    q_turned, k_turned = turned
    return group_attention(q_turned, k_turned, v, group=group, **options)


def token_axes(x: Features, name: str) -> tuple[int, ...]:
    """Return the axes of the tokens of ``[N, *tokens, |G|, C]``; ValueError if there are none."""
    batch = batch_axes(x)
    if len(batch) < 2:
        raise ValueError(
            f"`{name}` must be [N, *tokens, |G|, C], got {batch} in front of the group axis"
        )
    return batch[1:]


def as_list(x: SameFeatures, name: str) -> SameFeatures:
    """Return ``[N, *tokens, |G|, C]`` as ``[N, T, |G|, C]``."""
    return with_tokens(x, (math.prod(token_axes(x, name)),))


def with_tokens(x: SameFeatures, axes: tuple[int, ...]) -> SameFeatures:
    """Return features with other axes of tokens."""
    if isinstance(x, IrrepFeatures):
        return x.map(lambda part: part.reshape(part.shape[0], *axes, *part.shape[-3:]))
    return x.reshape(x.shape[0], *axes, *x.shape[-2:])


def check_heads(heads: int, channels: int, *, rotary: bool, name: str = "num_heads") -> None:
    """Raise ValueError unless so many channels for each element can be divided into heads."""
    if channels % heads:
        raise ValueError(
            f"`{name}` must divide the {channels} channels of queries and keys for each group "
            f"element, since a head holds all elements, got {heads}"
        )
    if rotary and channels // heads % 2:
        raise ValueError(
            f"`rotary` must be False for {channels // heads} channels in each head, an odd number, "
            f"since pairs of channels are turned: got {channels} channels and {heads} heads"
        )
