"""Attention between features on the group, against loops over tokens, elements and heads."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from gconv_jax import P4, P4M, P6M, from_irreps, group_attention, octahedral, to_irreps
from tests.helpers import assert_close


def by_hand(q, k, v, heads, bias=None, mask=None):
    """Return the attention of ``[N, T, |G|, C]``, one head and one query at a time."""
    n, tokens, order, channels = q.shape
    c, d, y = channels // heads, v.shape[-1] // heads, np.zeros((n, tokens, order, v.shape[-1]))
    for b, t, h in np.ndindex(n, tokens, heads):
        query = q[b, t, :, h * c : (h + 1) * c]
        scores = np.array([(query * key).sum() for key in k[b, :, :, h * c : (h + 1) * c]])
        scores = scores / np.sqrt(order * c)
        scores = scores if bias is None else scores + bias[h, t]
        scores = scores if mask is None else np.where(mask[b, t], scores, -np.inf)
        shares = np.exp(scores - scores.max())
        shares = shares / shares.sum()
        values = v[b, :, :, h * d : (h + 1) * d]
        y[b, t, :, h * d : (h + 1) * d] = np.einsum("s,sgc->gc", shares, values)
    return y


def features(rng, group, tokens=5, channels=6, batch=2):
    return rng.normal(size=(batch, tokens, group.order, channels))


@pytest.mark.one_in(13)
@pytest.mark.parametrize("group", [P4, P4M, P6M, octahedral()], ids=str)
@pytest.mark.parametrize("heads", [1, 2, 3])
def test_values_in_both_bases(group, heads, rng, x64):
    q, k = features(rng, group, 4), features(rng, group)
    v = features(rng, group, channels=3 * heads)
    bias = rng.normal(size=(heads, 4, 5))
    mask = rng.random(size=(2, 4, 5)) < 0.7
    mask[..., 0] = True
    expected = by_hand(q, k, v, heads, bias, mask)
    options = {"group": group, "heads": heads, "bias": bias, "mask": mask[:, None]}
    assert_close(group_attention(q, k, v, **options), expected, atol=1e-12)
    in_irreps = [to_irreps(a, group=group) for a in (q, k, v)]
    assert_close(from_irreps(group_attention(*in_irreps, **options)), expected, atol=1e-12)
    assert_close(group_attention(*in_irreps[:2], v, **options), expected, atol=1e-12)


@pytest.mark.parametrize("axes", [(), (3,), (3, 2)])
def test_batch_axes_and_another_implementation(axes, rng, x64):
    q, k, v = (rng.normal(size=(*axes, 5, 8, 4)) for _ in range(3))
    options = {"group": P4M, "heads": 2, "bias": rng.normal(size=(2, 5, 5))}
    mask = np.tril(np.ones((5, 5), bool))
    y = group_attention(q, k, v, mask=mask, **options)
    flax = functools.partial(jax.nn.dot_product_attention, implementation="xla")
    assert_close(group_attention(q, k, v, mask=mask, attention_fn=flax, **options), y, atol=1e-6)
    flat = [a.reshape(-1, 5, 8, 4) for a in (q, k, v)]
    masks = np.broadcast_to(mask, (len(flat[0]), 5, 5))
    expected = by_hand(*flat, 2, options["bias"], masks).reshape(y.shape)
    assert_close(y, expected, atol=1e-12)


@pytest.mark.parametrize("group", [P4, P4M, octahedral()], ids=str)
def test_the_law_for_every_permutation_of_tokens(group, rng, x64):
    q, k, v = (features(rng, group) for _ in range(3))
    y = np.asarray(group_attention(q, k, v, group=group, heads=2))
    for g in group.elements:
        places, elements = rng.permutation(5), group.cayley[group.inverse[g]]
        moved = [a[:, places][:, :, elements] for a in (q, k, v)]
        of_moved = group_attention(*moved, group=group, heads=2)
        assert_close(of_moved, y[:, places][:, :, elements], atol=1e-12)


def test_negative_control_a_head_that_holds_some_of_the_elements(rng, x64):
    x = features(rng, P4)

    def split(x):  # [N, T, 4, C]: two elements in each head, as of an ordinary transformer
        heads = x.reshape(2, 5, 2, -1)
        return jax.nn.dot_product_attention(heads, heads, heads).reshape(x.shape)

    elements = P4.cayley[P4.inverse[1]]
    assert np.abs(split(x[:, :, elements]) - split(x)[:, :, elements]).max() > 0.1


def test_what_is_masked_is_not_seen(rng, x64):
    q, k, v = (features(rng, P4M) for _ in range(3))
    mask = np.arange(5) < 3
    y = group_attention(q, k, v, group=P4M, heads=2, mask=mask)
    assert_close(y, group_attention(q, k[:, :3], v[:, :3], group=P4M, heads=2), atol=1e-12)


def test_derivatives(rng, x64):
    q, k, v = (features(rng, P4, 3, 2, 1) for _ in range(3))

    def attend(q, k, v):
        return group_attention(q, k, v, group=P4, heads=2)

    check_grads(attend, (q, k, v), order=2, rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_short_types(dtype, rng):
    q, k, v = (features(rng, P4M, channels=8) for _ in range(3))
    y = group_attention(*(jnp.asarray(a, dtype) for a in (q, k, v)), group=P4M, heads=2)
    assert y.dtype == dtype
    error = np.abs(np.asarray(y, np.float32) - by_hand(q, k, v, 2)).max()
    assert error < 16 * float(jnp.finfo(dtype).eps)


def test_bad_input():
    x = jnp.ones((2, 5, 8, 6))
    attend = functools.partial(group_attention, group=P4M)
    with pytest.raises(ValueError, match=r"`heads` must divide the 6 channels of `q` .* got 4"):
        attend(x, x, x, heads=4)
    with pytest.raises(ValueError, match="`heads` must be at least 1"):
        attend(x, x, x, heads=0)
    with pytest.raises(ValueError, match=r"`k` must be \[\.\.\., \|G\|=8, C\] for P4M"):
        attend(x, x[:, :, :4], x, heads=2)
    with pytest.raises(ValueError, match=r"same channels, .* got 6 and 4 channels"):
        attend(x, x[..., :4], x, heads=2)
    with pytest.raises(ValueError, match=r"same tokens, .* tokens \(2, 5\) and \(2, 4\)"):
        attend(x, x, x[:, :4], heads=2)
    with pytest.raises(ValueError, match="`q` and `k` must be in the same basis"):
        attend(to_irreps(x, group=P4M), x, x, heads=2)
    with pytest.raises(ValueError, match="`q` must have an axis of tokens"):
        attend(x[0, 0], x[0], x[0], heads=2)
    for name, shape in (("bias", (3, 5, 5)), ("mask", (7, 5)), ("bias", (1, 2, 2, 5, 5))):
        with pytest.raises(ValueError, match=rf"`{name}` must broadcast to .* got shape"):
            attend(x, x, x, heads=2, **{name: jnp.ones(shape, bool)})
    with pytest.raises(ValueError, match="`mask` must be boolean, got float32: numbers to add"):
        attend(x, x, x, heads=2, mask=jnp.zeros((5, 5)))
    with pytest.raises(ValueError, match="same batch axes, and `k` a token"):
        attend(x, x[None], x[None], heads=2)
    with pytest.raises(ValueError, match="same batch axes, and `k` a token"):
        attend(x, x[:, :0], x[:, :0], heads=2)
    with pytest.raises(ValueError, match="`q` must be real, got complex64"):
        attend(x + 1j, x, x, heads=2)


def test_integers_become_floating(rng):
    x = rng.integers(-5, 5, size=(2, 5, 8, 6))
    y = group_attention(x, x, x, group=P4M, heads=2)
    assert y.dtype == jnp.float32
    assert_close(y, by_hand(x, x, x, 2).astype(np.float32), atol=1e-4)


def test_no_queries_and_no_examples():
    x = jnp.ones((2, 5, 8, 6))
    for q, k in ((x[:, :0], x), (x[:0], x[:0])):
        for basis in (lambda a: a, functools.partial(to_irreps, group=P4M)):
            y = group_attention(*map(basis, (q, k, k)), group=P4M, heads=2)
            assert (y if isinstance(y, jax.Array) else from_irreps(y)).shape == q.shape
