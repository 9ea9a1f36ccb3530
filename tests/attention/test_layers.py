"""`GroupAttention` and `DropPath` as modules of NNX and Linen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import gconv_jax.linen
from gconv_jax import (
    P4,
    P4M,
    P6,
    cyclic,
    from_irreps,
    group_attention,
    group_linear,
    octahedral,
    rotary_embedding,
    to_irreps,
    token_positions,
)
from gconv_jax.nnx import DropPath, FieldDropout, GroupAttention
from gconv_jax.testing import assert_equivariant
from tests.helpers import assert_close, random_float64


@pytest.mark.one_in(10)
@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("group", [P4, P4M, octahedral()], ids=str)
def test_the_law(group, rotary, rng, x64):
    layer = random_float64(
        lambda: GroupAttention(2, 4, 8, 3, rotary=rotary, group=group, rngs=nnx.Rngs(0)), rng
    )
    x = rng.normal(size=(1, *[3] * group.dimension, group.order, 4))
    assert_equivariant(layer, x, group=group, rtol=1e-12)


def params_of(layer) -> dict:
    state = nnx.to_pure_dict(nnx.state(layer, nnx.Param))
    return jax.tree.map(jnp.asarray, state)


OPTIONS = [
    {},
    {"rotary": True},
    {"use_bias": False, "qkv_features": 4, "out_features": 5},
    {"dtype": jnp.bfloat16},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(o) or "defaults")
def test_nnx_is_linen_is_the_pure_functions(options, rng):
    layer = GroupAttention(2, 4, group=P4M, rngs=nnx.Rngs(0), **options)
    module = gconv_jax.linen.GroupAttention(2, group=P4M, **options)
    x = jnp.asarray(rng.normal(size=(2, 3, 3, 8, 4)), jnp.float32)
    params = params_of(layer)
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)["params"]
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(lambda s: s.shape, dict(shapes))

    dtype, tokens = options.get("dtype"), x.reshape(2, 9, 8, 4)

    def linear(name, x):
        return group_linear(x, params[name]["kernel"], group=P4M, dtype=dtype)

    q, k, v = (linear(name, tokens) for name in ("query", "key", "value"))
    if "rotary" in options:
        places, w = token_positions((3, 3)), params["frequencies"]
        q, k = (rotary_embedding(a, places, w, group=P4M) for a in (q, k))
    y = linear("out", group_attention(q, k, v, group=P4M, heads=2)).reshape(2, 3, 3, 8, -1)
    atol = 1e-5 if dtype is None else 0.05
    for result in (layer(x), module.apply({"params": params}, x)):
        assert result.dtype == y.dtype == (dtype or jnp.float32)
        assert_close(result.astype(jnp.float32), y.astype(jnp.float32), atol=atol)
    irreps = (
        layer(to_irreps(x, group=P4M)),
        module.apply({"params": params}, to_irreps(x, group=P4M)),
    )
    for result in irreps:
        assert_close(from_irreps(result).astype(jnp.float32), y.astype(jnp.float32), atol=atol)


def test_attention_to_other_tokens(rng, x64):
    """Cross attention, masks and lists of tokens with positions, in NNX and Linen."""
    layer = random_float64(
        lambda: GroupAttention(2, 4, rotary=True, group=cyclic(8), rngs=nnx.Rngs(0)), rng
    )
    module = gconv_jax.linen.GroupAttention(2, rotary=True, group=cyclic(8))
    x, other = rng.normal(size=(2, 5, 8, 4)), rng.normal(size=(2, 7, 8, 4))
    positions, others = rng.normal(size=(5, 2)), rng.normal(size=(7, 2))
    mask = np.arange(7) < 4
    options = {"positions": positions, "kv_positions": others, "mask": mask}
    y = layer(x, other, **options)
    few = layer(x, other[:, :4], positions=positions, kv_positions=others[:4])
    assert_close(y, few, atol=1e-12)
    linen = module.apply({"params": params_of(layer)}, x, other, **options)
    assert_close(linen, y, atol=1e-12)
    for g in cyclic(8).elements:  # the law at any angle of the group, since tokens are points
        elements, matrix = cyclic(8).cayley[cyclic(8).inverse[g]], cyclic(8).matrices[g]
        moved = layer(
            x[:, :, elements],
            other[:, :, elements],
            positions=positions @ matrix.T,
            kv_positions=others @ matrix.T,
            mask=mask,
        )
        assert_close(moved, np.asarray(y)[:, :, elements], atol=1e-12)


@pytest.mark.parametrize("irreps", [False, True])
def test_drop_path_drops_whole_examples(irreps, rng):
    x = jnp.ones((64, 3, 8, 2))
    x = to_irreps(x, group=P4M) if irreps else x
    layer = DropPath(0.25, rngs=nnx.Rngs(0))
    module = gconv_jax.linen.DropPath(0.25)
    linen = module.apply({}, x, deterministic=False, rngs={"dropout": jax.random.key(0)})
    for y in (layer(x), linen):
        y = np.asarray(from_irreps(y) if irreps else y).reshape(64, -1)
        assert np.ptp(y, axis=1).max() < 1e-5
        assert set(np.unique(y[:, 0].round(3))) == {0, np.float32(1.333)}
        assert 32 < np.count_nonzero(y[:, 0]) < 60
    layer.eval()
    for y in (layer(x), module.apply({}, x, deterministic=True)):
        assert jax.tree.all(jax.tree.map(jnp.array_equal, y, x))


def test_bad_input():
    layer = GroupAttention(2, 4, rotary=True, group=P4M, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="`positions` must be given for a list of tokens"):
        layer(jnp.ones((2, 5, 8, 4)))
    with pytest.raises(ValueError, match=r"`inputs_q` must be \[N, \*tokens, \|G\|, C\], got"):
        layer(jnp.ones((5, 8, 4)))
    with pytest.raises(ValueError, match=r"`inputs_q` must be \[\.\.\., \|G\|=8, C_in=4\]"):
        layer(jnp.ones((2, 3, 3, 8, 5)))
    with pytest.raises(ValueError, match=r"`inputs_kv` must be \[\.\.\., \|G\|=8, C_in=4\]"):
        layer(jnp.ones((2, 3, 3, 8, 4)), jnp.ones((2, 3, 3, 4, 4)))
    without = GroupAttention(2, 4, group=P4M, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="`positions` must be None for a layer without `rotary`"):
        without(jnp.ones((2, 3, 3, 8, 4)), positions=token_positions((3, 3)))
    with pytest.raises(ValueError, match="`num_heads` must divide the 4 channels of queries"):
        GroupAttention(3, 4, group=P4M, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="`rotary` must be False for 3 channels in each head"):
        GroupAttention(2, 6, rotary=True, group=P4M, rngs=nnx.Rngs(0))
    on_hexagons = GroupAttention(2, 4, rotary=True, group=P6, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="square pixels or voxels for rotary embeddings"):
        on_hexagons(jnp.ones((1, 3, 3, 6, 4)))
    for rate in (-0.5, 1.5, "a"):
        with pytest.raises(ValueError, match="`rate` must be a number from 0 to 1"):
            DropPath(rate)


def test_what_is_dropped_is_zero_even_if_infinite():
    for layer in (DropPath(0.5, rngs=nnx.Rngs(0)), FieldDropout(0.5, rngs=nnx.Rngs(0))):
        y = layer(jnp.full((16, 2, 8, 16), jnp.inf))
        assert set(np.unique(y)) == {0, np.inf}
