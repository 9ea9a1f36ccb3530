"""Attention between features on the group, as a Flax NNX module."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.nn.initializers import Initializer, zeros
from jax.typing import ArrayLike, DTypeLike

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
from gconv_jax.conv.linear import group_linear
from gconv_jax.filters.initializers import base_filter_init
from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.groups.irrep_features import IrrepFeatures, SameFeatures, check_features
from gconv_jax.nnx.linear import GroupLinear
from gconv_jax.ops.arguments import check_integer


class GroupAttention(nnx.Module):
    """The layer that replaces ``nnx.MultiHeadAttention`` where tokens have features on the group.

    The tokens are the positions of a feature map ``[N, *spatial, |G|, C]``, or of a list
    ``[N, T, |G|, C]``: all axes between the first and that of the group. Queries, keys and values
    are `GroupLinear` maps of them, the scores are invariant, and the values move with the group:
    see `gconv_jax.group_attention` for the equation and the law. Where a token is, attention learns
    by rotary embeddings (``rotary``), a ``bias`` of the scores (`gconv_jax.relative_position_bias`)
    or features that are added to the tokens (`gconv_jax.position_features`).

    Args:
        num_heads: the number of heads, which divides the channels.
        in_features: the channels of the tokens for each group element.
        qkv_features: those of queries, keys and values; by default ``in_features``.
        out_features: those of the result; by default ``in_features``.
        rotary: whether queries and keys are turned by angles that depend on their positions, with
            learned frequencies (`gconv_jax.rotary_embedding`). A head must have an even number of
            channels.
        use_bias: whether the four linear maps add biases.
        dtype, param_dtype, precision, kernel_init, bias_init: as in `GroupLinear`.
        group: any finite group.
        algorithm: as in `gconv_jax.group_conv`.
        attention_fn: as in `gconv_jax.group_attention`.
        rngs: random key.

    Attributes:
        query, key, value, out: the linear maps.
        frequencies: ``[num_heads, qkv_features / num_heads / 2, d]`` or None.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gconv_jax import P4M
    >>> from gconv_jax.nnx import GroupAttention
    >>> layer = GroupAttention(3, 24, rotary=True, group=P4M, rngs=nnx.Rngs(0))
    >>> layer(jnp.ones((2, 7, 7, 8, 24))).shape
    (2, 7, 7, 8, 24)
    """

    def __init__(
        self,
        num_heads: int,
        in_features: int,
        qkv_features: int | None = None,
        out_features: int | None = None,
        *,
        rotary: bool = False,
        use_bias: bool = True,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        precision: lax.PrecisionLike = None,
        kernel_init: Initializer = base_filter_init,
        bias_init: Initializer = zeros,
        group: FiniteGroup,
        algorithm: Algorithm = "auto",
        attention_fn: AttentionFn | None = None,
        rngs: nnx.Rngs,
    ):
        self.group = check_group(group)
        self.num_heads = check_integer("num_heads", num_heads, least=1)
        in_features = check_integer("in_features", in_features, least=1)
        inner = in_features if qkv_features is None else qkv_features
        self.qkv_features = check_integer("qkv_features", inner, least=1)
        check_heads(self.num_heads, self.qkv_features, rotary=rotary)
        options = {
            "use_bias": use_bias,
            "dtype": dtype,
            "param_dtype": param_dtype,
            "precision": precision,
            "kernel_init": kernel_init,
            "bias_init": bias_init,
            "group": group,
            "algorithm": algorithm,
            "rngs": rngs,
        }
        self.query = GroupLinear(in_features, inner, **options)
        self.key = GroupLinear(in_features, inner, **options)
        self.value = GroupLinear(in_features, inner, **options)
        out_features = in_features if out_features is None else out_features
        self.out = GroupLinear(inner, out_features, **options)
        self.attention_fn = attention_fn
        self.frequencies = nnx.data(None)
        if rotary:
            pairs = inner // num_heads // 2
            self.frequencies = nnx.Param(
                rotary_frequencies(
                    rngs.params(),
                    heads=num_heads,
                    pairs=pairs,
                    dimension=group.dimension,
                    dtype=param_dtype,
                )
            )

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
        """Return the attention of tokens to themselves, or to those of ``inputs_kv``.

        Args:
            inputs_q: ``[N, *tokens, |G|, in_features]``, or `IrrepFeatures`.
            inputs_kv: the same with other tokens, in the same basis; by default ``inputs_q``.
            positions, kv_positions: ``[T, d]`` and ``[S, d]``, for rotary embeddings of T and S
                tokens. The tokens of a feature map are at `gconv_jax.token_positions` by default.
            bias, mask: of the scores, ``[N, heads, T, S]`` or what broadcasts to it, such as
                `gconv_jax.relative_position_bias`.

        Returns:
            ``[N, *tokens, |G|, out_features]``, or `IrrepFeatures`.
        """
        check_features(inputs_q, self.group, self.query.in_features, "inputs_q")
        x = as_list(inputs_q, "inputs_q")
        if inputs_kv is None:
            q, k, v = self._project_together(x)
        else:
            check_features(inputs_kv, self.group, self.query.in_features, "inputs_kv")
            kv = as_list(inputs_kv, "inputs_kv")
            q, k, v = self.query(x), self.key(kv), self.value(kv)
        y = attend_tokens(
            (q, k, v),
            (inputs_q, inputs_q if inputs_kv is None else inputs_kv),
            (positions, positions if inputs_kv is None else kv_positions),
            frequencies=None if self.frequencies is None else self.frequencies[...],
            group=self.group,
            heads=self.num_heads,
            bias=bias,
            mask=mask,
            precision=self.out.precision,
            attention_fn=self.attention_fn,
        )
        return with_tokens(self.out(y), token_axes(inputs_q, "inputs_q"))

    def _project_together(self, x: SameFeatures) -> tuple[SameFeatures, SameFeatures, SameFeatures]:
        """Return queries, keys and values of the same tokens by one product."""
        layers = self.query, self.key, self.value
        biases = [layer.bias[...] for layer in layers if layer.bias is not None]
        y = group_linear(
            x,
            jnp.concatenate([layer.kernel[...] for layer in layers], -1),
            group=self.group,
            bias=jnp.concatenate(biases) if biases else None,
            dtype=self.query.dtype,
            precision=self.query.precision,
            algorithm=self.query.algorithm,
        )
        if not isinstance(y, IrrepFeatures):
            q, k, v = jnp.split(y, 3, -1)
            return q, k, v
        n = self.qkv_features
        q, k, v = (y.map(lambda part, i=i: part[..., i * n : (i + 1) * n]) for i in range(3))
        return q, k, v
