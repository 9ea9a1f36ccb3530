"""Attention between features on the group."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.groups.irrep_features import (
    Features,
    IrrepFeatures,
    SameFeatures,
    batch_axes,
    channel_count,
    check_features,
    irrep_names,
    named_irreps,
)
from gconv_jax.ops.accumulation import accumulation_dtype, as_floating
from gconv_jax.ops.arguments import check_integer

AttentionFn = Callable[..., jax.Array]


def group_attention(
    q: Features,
    k: Features,
    v: SameFeatures,
    *,
    group: FiniteGroup,
    heads: int,
    bias: jax.Array | None = None,
    mask: jax.Array | None = None,
    precision: lax.PrecisionLike = None,
    attention_fn: AttentionFn | None = None,
) -> SameFeatures:
    """Return the attention of tokens whose features are on the group.

    Each head has ``C / heads`` channels for every element. Its scores are inner products over
    elements and channels::

        y(t, g) = sum_s softmax_s(sum_h q(t, h) . k(s, h) / sqrt(|G| C / heads) + bias) v(s, g)

    A motion permutes the elements of q and of k alike, so that the scores do not change, and the
    values move with the group: the law holds for every permutation of the tokens. A head that held
    some of the elements only would break it. The law asks of ``bias`` and ``mask`` that they do not
    change when the tokens move (`relative_position_bias`).

    Args:
        q, k: queries and keys ``[*batch, T, |G|, C]`` and ``[*batch, S, |G|, C]``, or
            `IrrepFeatures`, which give the same scores.
        v: values ``[*batch, S, |G|, C']``, or `IrrepFeatures`.
        group: any finite group.
        heads: a number that divides C and C'.
        bias: added to the scores, ``[*batch, heads, T, S]`` or what broadcasts to it.
        mask: True where a token is seen, of the shapes of ``bias``.
        precision: as in ``jax.lax``.
        attention_fn: what computes the heads, called as ``jax.nn.dot_product_attention(q, k, v,
            bias, mask=mask)`` with ``[N, T, heads, features]``. By default it is written out, which
            takes 0.7 of the time of that function on a CPU. On a GPU, for half precision, pass
            ``functools.partial(jax.nn.dot_product_attention, implementation="cudnn")``.

    Returns:
        ``[*batch, T, |G|, C']``, or `IrrepFeatures` if the values are.

    Raises:
        ValueError: shapes or heads that do not fit, or a mask of numbers.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4M, group_attention
    >>> x = jnp.ones((2, 196, 8, 24))
    >>> group_attention(x, x, x, group=P4M, heads=3).shape
    (2, 196, 8, 24)
    """
    check_group(group)
    heads = check_integer("heads", heads, least=1)
    batches = [_check(a, group, heads, name) for a, name in ((q, "q"), (k, "k"), (v, "v"))]
    if isinstance(q, IrrepFeatures) != isinstance(k, IrrepFeatures):
        raise ValueError(
            "`q` and `k` must be in the same basis, got one IrrepFeatures and an array"
        )
    (*batch, tokens), source, _ = batches
    if channel_count(q) != channel_count(k) or batches[1] != batches[2]:
        raise ValueError(
            "`q` and `k` must have the same channels, and `k` and `v` the same tokens, got "
            f"{channel_count(q)} and {channel_count(k)} channels, and tokens {source} and "
            f"{batches[2]}"
        )
    if tuple(batch) != source[:-1] or source[-1] == 0:
        raise ValueError(
            f"`q` and `k` must have the same batch axes, and `k` a token, got tokens "
            f"{batches[0]} and {source}"
        )
    scores = *batch, heads, tokens, source[-1]
    bias, mask = _of_scores(bias, "bias", scores), _of_scores(mask, "mask", scores)
    if mask is not None and mask.dtype != bool:
        raise ValueError(f"`mask` must be boolean, got {mask.dtype}: numbers to add are a `bias`")
    queries, keys, values = (
        as_floating(_split(a, heads), name) for a, name in ((q, "q"), (k, "k"), (v, "v"))
    )
    if attention_fn is None:
        y = _attend(queries, keys, values, bias, mask, precision)
    else:
        y = _call(attention_fn, queries, keys, values, bias, mask)
    if isinstance(v, IrrepFeatures):
        return _merge_irreps(y, v)
    return _merge(y, group.order)


def _check(x: Any, group: FiniteGroup, heads: int, name: str) -> tuple[int, ...]:
    """Return the axes of batch and tokens; ValueError unless these are features in heads."""
    x = check_features(x, group, name=name)
    batch = batch_axes(x)
    if not batch:
        raise ValueError(f"`{name}` must have an axis of tokens, [*batch, T, |G|, C]")
    if channel_count(x) % heads or not channel_count(x):
        raise ValueError(
            f"`heads` must divide the {channel_count(x)} channels of `{name}` for each element of "
            f"{group!r}, since a head holds all elements, got {heads}"
        )
    return batch


def _of_scores(a: Any, name: str, scores: tuple[int, ...]) -> jax.Array | None:
    """Return a bias or mask; ValueError unless it broadcasts to ``[*batch, heads, T, S]``."""
    if a is None:
        return None
    a = jnp.asarray(a)
    last = scores[len(scores) - a.ndim :] if a.ndim <= len(scores) else None
    if last is None or any(n not in (1, m) for n, m in zip(a.shape, last, strict=True)):
        raise ValueError(
            f"`{name}` must broadcast to [*batch, heads, T, S] = {scores}, got shape {a.shape}"
        )
    return a


def _attend(q, k, v, bias, mask, precision) -> jax.Array:
    """Return the attention of ``[*batch, heads, T, features]``."""
    long, dtype = accumulation_dtype(q.dtype), v.dtype
    q = q * (1 / math.sqrt(q.shape[-1]))
    options: dict[str, Any] = {"precision": precision, "preferred_element_type": long}
    scores = jnp.einsum("...htf,...hsf->...hts", q, k, **options)
    if bias is not None:
        scores = scores + bias.astype(long)
    if mask is not None:
        scores = jnp.where(mask, scores, jnp.finfo(long).min)
    # The sums divide the result, not the scores: a pass less over [T, S], also in the derivative.
    shares = jnp.exp(scores - lax.stop_gradient(scores.max(-1, keepdims=True)))
    y = jnp.einsum("...hts,...hsf->...htf", shares.astype(dtype), v, **options)
    return (y / shares.sum(-1, keepdims=True)).astype(dtype)


def _call(attention_fn: AttentionFn, q, k, v, bias, mask) -> jax.Array:
    """Return what ``attention_fn`` makes of the heads, with one batch axis."""
    batch = q.shape[:-3]
    n = math.prod(batch)

    def one_batch_axis(a):
        if a is None:
            return None
        a = a.reshape((1,) * (len(batch) + 3 - a.ndim) + a.shape)
        a = jnp.broadcast_to(a, (*batch, *a.shape[len(batch) :]))
        return a.reshape(n, *a.shape[len(batch) :])

    q, k, v = (a.reshape(n, *a.shape[-3:]).swapaxes(1, 2) for a in (q, k, v))
    y = attention_fn(q, k, v, one_batch_axis(bias), mask=one_batch_axis(mask))
    y = y.swapaxes(1, 2)
    return y.reshape(*batch, *y.shape[1:])


def _split(x: Features, heads: int) -> jax.Array:
    """Return the heads ``[*batch, heads, T, features]`` of ``[*batch, T, ..., C]``."""
    if isinstance(x, IrrepFeatures):
        parts = [x.parts[name] for name in irrep_names(x.group)]
        return jnp.concatenate([_split(_rows(part), heads) for part in parts], -1)
    x = jnp.asarray(x)
    *batch, tokens, order, channels = x.shape
    x = x.reshape(*batch, tokens, order, heads, channels // heads)
    return jnp.moveaxis(x, -2, -4).reshape(*batch, heads, tokens, order * channels // heads)


def _merge(y: jax.Array, order: int) -> jax.Array:
    """Return ``[*batch, T, order, C]`` of heads: the inverse of `_split`."""
    *batch, heads, tokens, features = y.shape
    y = jnp.moveaxis(y.reshape(*batch, heads, tokens, order, features // order), -4, -2)
    return y.reshape(*batch, tokens, order, heads * features // order)


def _merge_irreps(y: jax.Array, like: IrrepFeatures) -> IrrepFeatures:
    channels, parts, start = y.shape[-1] // like.group.order, {}, 0
    for name, irrep in named_irreps(like.group):
        rows, d = len(irrep.rows), irrep.dimension
        end = start + rows * d * channels
        part = _merge(y[..., start:end], rows * d)
        parts[name] = part.reshape(*part.shape[:-2], rows, d, part.shape[-1])
        start = end
    return IrrepFeatures(parts, like.group)


def _rows(part: jax.Array) -> jax.Array:
    """Return a part with its two axes of the irrep as one."""
    return part.reshape(*part.shape[:-3], part.shape[-3] * part.shape[-2], part.shape[-1])
