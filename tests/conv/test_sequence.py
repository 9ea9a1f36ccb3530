"""Convolution over time, and the lift of vectors without space, against loops."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from jax.test_util import check_grads

import gconv_jax.linen
from gconv_jax import (
    P4,
    P4M,
    P6,
    Fields,
    cyclic,
    dihedral,
    from_irreps,
    full_octahedral,
    group_linear,
    lift_conv,
    lift_linear,
    octahedral,
    project_fields,
    sequence_conv,
    to_irreps,
)
from gconv_jax.nnx import GroupLinear, LiftLinear, SequenceConv
from tests.helpers import assert_close, random_float64

OPTIONS = [
    {},
    {"padding": "CAUSAL"},
    {"padding": "VALID"},
    {"stride": 2},
    {"stride": 3, "padding": "CAUSAL"},
    {"dilation": 2, "stride": 2},
    {"dilation": 3, "padding": "CAUSAL"},
    {"dilation": 2, "stride": 3, "padding": "VALID"},
]


def by_hand(x, w, group, stride=1, dilation=1, padding="SAME"):
    """Return one step of output and one element at a time, with zeros as `lax` pads for SAME."""
    (steps, taps), order = (x.shape[-3], len(w)), group.order
    reach = (taps - 1) * dilation
    if padding == "SAME":
        before, after = lax.padtype_to_pads((steps,), (reach + 1,), (stride,), "SAME")[0]
    else:
        before, after = (reach, 0) if padding == "CAUSAL" else (0, 0)
    length = steps + before + after - reach
    y = np.zeros((*x.shape[:-3], -(-length // stride), order, w.shape[-1]))
    for t, i, g, h in np.ndindex(y.shape[-3], taps, order, order):
        seen = t * stride + i * dilation - before
        if 0 <= seen < steps:
            relative = group.cayley[group.inverse[g], h]
            y[..., t, g, :] += x[..., seen, h, :] @ w[i, relative]
    return y


@pytest.mark.one_in(10)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("steps", "taps"), [(9, 3), (10, 4), (8, 1)])
def test_values_in_both_bases(steps, taps, options, rng, x64):
    for group in (P4, P6):
        x = rng.normal(size=(2, steps, group.order, 2))
        w, bias = rng.normal(size=(taps, group.order, 2, 3)), rng.normal(size=3)
        expected = by_hand(x, w, group, **options) + bias
        conv = functools.partial(sequence_conv, w=w, group=group, bias=bias, **options)
        assert_close(conv(x), expected, atol=1e-11)
        assert_close(from_irreps(conv(to_irreps(x, group=group))), expected, atol=1e-11)


@pytest.mark.parametrize("group", [P4, P4M, P6, octahedral()], ids=str)
def test_the_law(group, rng, x64):
    x = rng.normal(size=(7, group.order, 2))
    w = rng.normal(size=(3, group.order, 2, 2))
    y = np.asarray(sequence_conv(x, w, group=group, stride=2))
    for g in group.elements:
        source = group.cayley[group.inverse[g]]
        assert_close(sequence_conv(x[:, source], w, group=group, stride=2), y[:, source], 1e-12)
    wrong = np.einsum("tgc,igcd->tgd", x, w)  # each orientation by itself, with its own filter
    source = group.cayley[group.inverse[1]]
    assert np.abs(np.einsum("tgc,igcd->tgd", x[:, source], w) - wrong[:, source]).max() > 0.1


def test_one_tap_is_a_linear_map(rng, x64):
    x, w = rng.normal(size=(2, 5, 8, 3)), rng.normal(size=(1, 8, 3, 4))
    assert_close(sequence_conv(x, w, group=P4M), group_linear(x, w[0], group=P4M), atol=1e-12)


def test_the_future_is_not_seen(rng, x64):
    x, w = rng.normal(size=(9, 4, 2)), rng.normal(size=(3, 4, 2, 2))
    conv = functools.partial(sequence_conv, w=w, group=P4, dilation=2)
    changed = x.copy()
    changed[5:] += 1
    same = {
        padding: np.abs(np.asarray(conv(x, padding=padding) - conv(changed, padding=padding)))
        .max((1, 2))
        .round(9)
        == 0
        for padding in ("CAUSAL", "SAME")
    }
    assert same["CAUSAL"].tolist() == [True] * 5 + [False] * 4
    assert same["SAME"].tolist() == [True] * 3 + [False] * 6


FIELDS = [Fields(vectors=1), Fields(2, 1, 2), Fields(scalars=1, vectors=1, pseudovectors=1)]
LIFTING = [P4, P4M, cyclic(8), dihedral(6), octahedral(), full_octahedral()]


@pytest.mark.one_in(10)
@pytest.mark.parametrize("fields", FIELDS, ids=str)
@pytest.mark.parametrize("group", LIFTING, ids=str)
def test_lifting(group, fields, rng, x64):
    c = fields.channels(group)
    x, w, bias = rng.normal(size=(2, 5, c)), rng.normal(size=(c, 3)), rng.normal(size=3)
    lift = functools.partial(lift_linear, w=w, group=group, fields=fields, bias=bias)
    y, rho = np.asarray(lift(x)), fields.matrices(group)
    for h in group.elements:
        expected = np.einsum("ntj,ji,io->nto", x, rho[h], w) + bias
        assert_close(y[..., h, :], expected, atol=1e-12)
    for g in group.elements:  # the law, and that of the way back
        source = group.cayley[group.inverse[g]]
        assert_close(lift(x @ rho[g].T), y[..., source, :], atol=1e-12)
    projected = functools.partial(project_fields, group=group, fields=fields)
    maps = rng.normal(size=(3, c))
    back = np.asarray(projected(y @ maps))
    for g in group.elements:
        assert_close(projected(lift(x @ rho[g].T) @ maps), back @ rho[g].T, atol=1e-12)


def test_lifting_is_a_convolution_of_one_tap(rng, x64):
    fields = Fields(scalars=1, vectors=1)
    x, w = rng.normal(size=(2, 5, 5, 3)), rng.normal(size=(3, 4))
    expected = lift_conv(x, w[None, None], group=P4M, fields=fields)
    assert_close(lift_linear(x, w, group=P4M, fields=fields), expected, atol=1e-12)


@pytest.mark.parametrize("group", [P4M, cyclic(8), octahedral()], ids=str)
def test_a_network_of_trajectories(group, rng, x64):
    """Vectors at each step in, a vector at each step out: they turn together."""
    fields = Fields(vectors=2)

    class Network(nnx.Module):
        def __init__(self, rngs):
            options = {"group": group, "rngs": rngs}
            self.lift = LiftLinear(3, fields=fields, **options)
            self.conv = SequenceConv(3, 4, 3, padding="CAUSAL", dilation=2, **options)
            self.top = GroupLinear(4, Fields(vectors=1).channels(group), **options)

        def __call__(self, x):
            y = self.top(nnx.gelu(self.conv(nnx.gelu(self.lift(x)))))
            return project_fields(y, group=group, fields=Fields(vectors=1))

    network = random_float64(lambda: Network(nnx.Rngs(0)), rng)
    x = rng.normal(size=(2, 9, fields.channels(group)))
    rho, out = fields.matrices(group), Fields(vectors=1).matrices(group)
    y = np.asarray(network(x))
    assert np.abs(y).max() > 1e-3
    for g in group.elements:
        assert_close(network(x @ rho[g].T), y @ out[g].T, atol=1e-12)
    assert np.abs(np.asarray(network(x @ rho[1].T)) - y).max() > 1e-3


def test_derivatives(rng, x64):
    x, w, bias = rng.normal(size=(5, 4, 2)), rng.normal(size=(3, 4, 2, 2)), rng.normal(size=2)

    def conv(x, w, bias):
        return sequence_conv(x, w, group=P4, bias=bias, stride=2, padding="CAUSAL")

    check_grads(jax.jit(conv), (x, w, bias), order=2, rtol=1e-6)
    vectors, kernel = rng.normal(size=(5, 2)), rng.normal(size=(2, 3))

    def lift(x, w):
        return lift_linear(x, w, group=cyclic(8), fields=Fields(vectors=1))

    check_grads(jax.jit(lift), (vectors, kernel), order=2, rtol=1e-6)


@pytest.mark.parametrize("options", [{}, {"use_bias": False}, {"dtype": jnp.bfloat16}], ids=str)
def test_nnx_is_linen(options, rng):
    fields, options = Fields(vectors=1), {"group": P4M, **options}
    cases = [
        (
            LiftLinear(3, fields=fields, rngs=nnx.Rngs(0), **options),
            gconv_jax.linen.LiftLinear(3, fields=fields, **options),
            (2, 5, 2),
        ),
        (
            SequenceConv(3, 4, 3, stride=2, rngs=nnx.Rngs(0), **options),
            gconv_jax.linen.SequenceConv(4, 3, stride=2, **options),
            (2, 5, 8, 3),
        ),
    ]
    for layer, module, shape in cases:
        state = nnx.state(layer, nnx.Param)
        state = jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), p.dtype), state)
        nnx.update(layer, state)
        params = jax.tree.map(jnp.asarray, nnx.to_pure_dict(state))
        x = jnp.asarray(rng.normal(size=shape), jnp.float32)
        shapes = jax.eval_shape(module.init, jax.random.key(0), x)["params"]
        assert jax.tree.map(jnp.shape, params) == jax.tree.map(lambda s: s.shape, dict(shapes))
        y = layer(x)
        assert y.dtype == options.get("dtype", jnp.float32)
        expected = module.apply({"params": params}, x)
        assert_close(y.astype(jnp.float32), expected.astype(jnp.float32), atol=1e-6)


def test_the_scale_at_first(rng):
    """Features of a fresh network are about as large as its input."""
    x = jnp.asarray(rng.normal(size=(64, 50, 8, 32)), jnp.float32)
    y = SequenceConv(32, 32, 5, padding="VALID", group=P4M, rngs=nnx.Rngs(0))(x)
    assert 0.8 < float(y.std()) < 1.8


def test_bad_input():
    x, w = jnp.ones((2, 5, 4, 3)), jnp.ones((3, 4, 3, 2))
    conv = functools.partial(sequence_conv, group=P4)
    with pytest.raises(ValueError, match=r"`w` must be \[k, \|G\|=4, C_in, C_out\], got shape"):
        conv(x, w[0])
    with pytest.raises(ValueError, match=r"`x` must be \[\.\.\., \|G\|=4, C_in=3\] for P4"):
        conv(x[..., :2], w)
    with pytest.raises(ValueError, match="`padding` must be 'SAME', 'CAUSAL' or 'VALID', got 'F'"):
        conv(x, w, padding="F")
    with pytest.raises(ValueError, match="`x` must have more than 6 steps for a kernel of 3"):
        conv(x, w, padding="VALID", dilation=3)
    with pytest.raises(ValueError, match="`x` must have an axis of time"):
        conv(x[0, 0], w)
    with pytest.raises(ValueError, match="`stride` must be at least 1"):
        conv(x, w, stride=0)
    with pytest.raises(ValueError, match="`padding` must be"):
        SequenceConv(3, 2, 3, padding="valid", group=P4, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="`bias` must have shape"):
        conv(x, w, bias=jnp.ones(3))
    lift = functools.partial(lift_linear, group=P4, fields=Fields(vectors=1))
    with pytest.raises(ValueError, match="`C_in` must be 2, the channels of"):
        lift(jnp.ones((2, 3)), jnp.ones((3, 2)))
    with pytest.raises(ValueError, match=r"`w` must be \[C_in=2, C_out\], got shape"):
        lift(jnp.ones((2, 2)), jnp.ones((3, 2)))
    with pytest.raises(ValueError, match="hexagonal lattice"):
        LiftLinear(3, fields=Fields(vectors=1), group=P6, rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match="`fields` must be a Fields"):
        LiftLinear(3, fields=2, group=P4, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"`x` must be \[\.\.\., C_in\], got a number"):
        lift(jnp.ones(()), jnp.ones((2, 2)))


def test_integers_become_floating():
    x = np.arange(10).reshape(5, 2)
    y = lift_linear(x, np.ones((2, 1), np.float32), group=P4, fields=Fields(vectors=1))
    assert y.dtype == jnp.float32
