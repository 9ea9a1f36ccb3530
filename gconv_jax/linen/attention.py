"""Attention between features on the group, as a Flax Linen module."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.nn.initializers import Initializer, zeros
from jax.typing import ArrayLike

from gconv_jax.attention.dot_product import AttentionFn
from gconv_jax.attention.positions import rotary_frequencies
from gconv_jax.attention.tokens import (
    as_list,
    attend_tokens,
    check_heads,
    token_axes,
    with_tokens,
)
from gconv_jax.conv.algorithm import Algorithm
from gconv_jax.filters.initializers import base_filter_init
from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.groups.irrep_features import SameFeatures, channel_count, check_features
from gconv_jax.linen.linear import GroupLinear
from gconv_jax.ops.arguments import check_integer


class GroupAttention(nn.Module):
    """The layer that replaces ``nn.MultiHeadDotProductAttention`` where tokens have features on the
    group. Arguments, and names and shapes of the parameters, are those of
    `gconv_jax.nnx.GroupAttention`; the channels of the tokens are read off the input.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4M
    >>> from gconv_jax.linen import GroupAttention
    >>> layer = GroupAttention(3, rotary=True, group=P4M)
    >>> layer.init_with_output(jax.random.key(0), jnp.ones((2, 7, 7, 8, 24)))[0].shape
    (2, 7, 7, 8, 24)
    """

    num_heads: int
    qkv_features: int | None = None
    out_features: int | None = None
    rotary: bool = False
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: lax.PrecisionLike = None
    kernel_init: Initializer = base_filter_init
    bias_init: Initializer = zeros
    group: FiniteGroup = dataclasses.field(kw_only=True)
    algorithm: Algorithm = dataclasses.field(default="auto", kw_only=True)
    attention_fn: AttentionFn | None = dataclasses.field(default=None, kw_only=True)

    @nn.compact
    def __call__(
        self,
        inputs_q: SameFeatures,
        inputs_kv: SameFeatures | None = None,
        *,
        positions: ArrayLike | None = None,
        kv_positions: ArrayLike | None = None,
        bias: jax.Array | None = None,
        mask: jax.Array | None = None,
    ) -> SameFeatures:
        """``[N, *tokens, |G|, C]`` to ``[N, *tokens, |G|, out_features]``, as
        `gconv_jax.nnx.GroupAttention`."""
        group, heads = check_group(self.group), check_integer("num_heads", self.num_heads, least=1)
        source = inputs_q if inputs_kv is None else inputs_kv
        for x, name in ((inputs_q, "inputs_q"), (source, "inputs_kv")):
            check_features(x, group, name=name)
        channels = channel_count(inputs_q)
        inner = channels if self.qkv_features is None else self.qkv_features
        check_heads(heads, check_integer("qkv_features", inner, least=1), rotary=self.rotary)
        linear = functools.partial(
            GroupLinear,
            use_bias=self.use_bias,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            precision=self.precision,
            kernel_init=self.kernel_init,
            bias_init=self.bias_init,
            group=group,
            algorithm=self.algorithm,
        )
        x, kv = as_list(inputs_q, "inputs_q"), as_list(source, "inputs_kv")
        q = linear(inner, name="query")(x)
        k, v = linear(inner, name="key")(kv), linear(inner, name="value")(kv)
        frequencies = None
        if self.rotary:
            make = functools.partial(
                rotary_frequencies,
                heads=heads,
                pairs=inner // heads // 2,
                dimension=group.dimension,
                dtype=self.param_dtype,
            )
            frequencies = self.param("frequencies", make)
        y = attend_tokens(
            (q, k, v),
            (inputs_q, source),
            (positions, positions if inputs_kv is None else kv_positions),
            frequencies=frequencies,
            group=group,
            heads=heads,
            bias=bias,
            mask=mask,
            precision=self.precision,
            attention_fn=self.attention_fn,
        )
        out = channels if self.out_features is None else self.out_features
        return with_tokens(linear(out, name="out")(y), token_axes(inputs_q, "inputs_q"))
