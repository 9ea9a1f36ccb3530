"""Nonlinearities of the Fourier basis: norms and gates, against loops over copies of irreps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.test_util import check_grads

import gconv_jax.linen
from gconv_jax import (
    P4,
    P4M,
    P6,
    P6M,
    Z2,
    cyclic,
    from_irreps,
    gate_irreps,
    norm_activation,
    octahedral,
    tetrahedral,
    to_irreps,
)
from gconv_jax.groups.irrep_features import named_irreps
from gconv_jax.nnx import GatedActivation, NormActivation
from gconv_jax.normalization.irrep_activations import copy_count
from gconv_jax.testing import assert_equivariant
from tests.helpers import assert_close, quick_jit, random_float64

# Irreps of real and of complex type, of dimensions 1, 2 and 3.
GROUPS = [P4, P4M, P6, P6M, cyclic(5), octahedral(), tetrahedral()]
EXACT = [P4, P4M, octahedral(), tetrahedral()]


def full(part, irrep):
    """Return the coefficients ``[d, d, C]`` in all rows, from those ``[d / e, d, C]`` that are
    kept: sum over s of f(s) rho(s), for the function f on the group that has them."""
    basis = irrep.matrices[:, list(irrep.rows)]  # [|G|, d / e, d]
    scale = np.sqrt(irrep.dimension / len(irrep.matrices))
    f = scale * np.einsum("sik,ikc->sc", basis, part)
    return scale * np.einsum("sc,sik->ikc", f, irrep.matrices)


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_norms_are_those_of_whole_columns(group, rng, x64):
    """The group acts on the rows, so that the norm of a column of all rows does not change."""
    x = to_irreps(rng.normal(size=(group.order, 3)), group=group)
    bias = rng.normal(size=(1 + copy_count(group), 3))
    y, start = norm_activation(x, bias), 1
    names = list(x.parts)
    assert_close(y.parts["1a"], np.maximum(x.parts["1a"] + bias[0], 0), atol=1e-12)
    by_name = dict(named_irreps(group))
    assert set(names) == set(by_name)
    for name, irrep in by_name.items():
        if name == "1a":
            continue
        part, e = np.asarray(x.parts[name]), irrep.endomorphisms
        norms = np.sqrt((full(part, irrep) ** 2).sum(0))  # [d, C]
        for k in range(irrep.dimension):
            b = bias[start + k // e]
            expected = part[:, k] * (np.maximum(norms[k] + b, 0) / norms[k])
            assert_close(y.parts[name][:, k], expected, atol=1e-11)
        start += irrep.dimension // e
    assert start == 1 + copy_count(group)


def through_irreps(layer, group):
    return lambda x: from_irreps(layer(to_irreps(x, group=group)))


@pytest.mark.parametrize("group", EXACT, ids=str)
@pytest.mark.parametrize("layer", [NormActivation, GatedActivation])
def test_the_law(layer, group, rng, x64):
    act = random_float64(lambda: layer(3, group=group, rngs=nnx.Rngs(0)), rng)
    x = rng.normal(size=(2, *[3] * group.dimension, group.order, 3))
    fn = through_irreps(act, group)
    assert np.abs(np.asarray(fn(x)) - x).max() > 0.1
    assert_equivariant(fn, x, group=group, rtol=1e-12)


@pytest.mark.parametrize("group", [P4, P4M], ids=str)
def test_negative_controls(group, rng, x64):
    x = rng.normal(size=(2, 3, 3, group.order, 3))

    def elementwise(x):
        return x.map(jax.nn.relu)

    def component_gates(x):  # gates of single components, which the group mixes
        gates = 1 + jnp.arange(2.0)[:, None]
        return type(x)(x.parts | {"2a": x.parts["2a"] * gates}, x.group)

    def variant_gates(x):
        gates = jnp.broadcast_to(
            x.parts["2a"][..., 0, :1, :], (*x.batch, copy_count(group), x.channels)
        )
        return gate_irreps(x, gates)

    broken = [elementwise, variant_gates] + [component_gates] * (group is P4)
    for fn in broken:
        with pytest.raises(AssertionError, match="not equivariant"):
            assert_equivariant(through_irreps(fn, group), x, group=group)


@pytest.mark.parametrize("group", [P4, P6M, octahedral()], ids=str)
def test_gates_by_hand(group, rng, x64):
    x = to_irreps(rng.normal(size=(2, group.order, 3)), group=group)
    gates, start = rng.normal(size=(2, copy_count(group), 3)), 0
    y = gate_irreps(x, gates, gate_fn=jnp.tanh, fn=jnp.square)
    for name, irrep in named_irreps(group):
        if name == "1a":
            assert_close(y.parts[name], np.square(x.parts[name]), atol=1e-12)
            continue
        for k in range(irrep.dimension):
            factor = np.tanh(gates[:, start + k // irrep.endomorphisms])[:, None]
            expected = np.asarray(x.parts[name])[..., k, :] * factor
            assert_close(y.parts[name][..., k, :], expected, atol=1e-12)
        start += len(irrep.rows)


def test_derivatives_and_zeros(rng, x64):
    x = rng.normal(size=(2, 8, 3))
    bias = rng.normal(size=(1 + copy_count(P4M), 3)) + 3

    def fn(x, bias):
        return from_irreps(norm_activation(to_irreps(x, group=P4M), bias, fn=jnp.tanh))

    check_grads(jax.jit(fn), (x, bias), order=2, rtol=1e-5)
    zeros = jnp.zeros((1, 8, 3))
    assert_close(fn(zeros, 0 * bias), zeros, atol=0)
    gradient = quick_jit(jax.jacobian(fn))(zeros, bias)
    assert bool(jnp.isfinite(gradient).all())


@pytest.mark.parametrize("layer", ["NormActivation", "GatedActivation"])
@pytest.mark.parametrize("group", [P4M, Z2], ids=str)
def test_nnx_is_linen(group, layer, rng):
    act = getattr(gconv_jax.nnx, layer)(5, group=group, rngs=nnx.Rngs(0))
    module = getattr(gconv_jax.linen, layer)()
    state = nnx.state(act, nnx.Param)
    state = jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), p.dtype), state)
    nnx.update(act, state)
    params = jax.tree.map(jnp.asarray, nnx.to_pure_dict(state))
    x = to_irreps(jnp.asarray(rng.normal(size=(2, group.order, 5)), jnp.float32), group=group)
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)["params"]
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(lambda s: s.shape, dict(shapes))
    y, expected = act(x), module.apply({"params": params}, x)
    for name in x.parts:
        assert_close(y.parts[name], expected.parts[name], atol=1e-6)


def test_bad_input():
    x = to_irreps(jnp.ones((2, 8, 3)), group=P4M)
    with pytest.raises(TypeError, match="`x` must be IrrepFeatures for norm_activation, got"):
        norm_activation(jnp.ones((2, 8, 3)))
    with pytest.raises(TypeError, match="`x` must be IrrepFeatures for GatedActivation"):
        GatedActivation(3, group=P4M, rngs=nnx.Rngs(0))(jnp.ones((2, 8, 3)))
    with pytest.raises(ValueError, match=r"`bias` must be \[1 \+ copies, C\] = \[6, 3\], got"):
        norm_activation(x, jnp.ones(3))
    with pytest.raises(ValueError, match=r"`gates` must be \[\.\.\., copies, C\] = \[2, 5, 3\]"):
        gate_irreps(x, jnp.ones((2, 3)))
    with pytest.raises(ValueError, match="`x` must be features on P4 with 3 channels"):
        NormActivation(3, group=P4)(x)
