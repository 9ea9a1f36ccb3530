"""Group and instance normalization, against loops over examples and runs of channels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.test_util import check_grads

import gconv_jax.linen
from gconv_jax import P4, P4M, P6M, from_irreps, group_norm, octahedral, to_irreps
from gconv_jax.nnx import GroupNorm, InstanceNorm
from gconv_jax.testing import assert_equivariant
from tests.helpers import assert_close, quick_jit, random_float64


def by_hand(x, scale, bias, runs, epsilon):
    y, width = np.zeros_like(x), x.shape[-1] // runs
    for n, r in np.ndindex(len(x), runs):
        channels = slice(r * width, (r + 1) * width)
        part = x[n, ..., channels] - x[n, ..., channels].mean()
        part = part / np.sqrt((part**2).sum() / part.size + epsilon)
        y[n, ..., channels] = part * scale[channels] + bias[channels]
    return y


@pytest.mark.one_in(10)
@pytest.mark.parametrize("runs", [1, 2, 6])
@pytest.mark.parametrize("group", [P4, P4M, P6M, octahedral()], ids=str)
@pytest.mark.parametrize("places", [(), (5,), (3, 4)], ids=str)
def test_values_in_both_bases(places, group, runs, rng, x64):
    x = rng.normal(size=(2, *places, group.order, 6)) + 1
    scale, bias = rng.normal(size=(2, 6))
    options = {"num_groups": runs, "epsilon": 1e-3}
    expected = by_hand(x, scale, bias, runs, 1e-3)
    assert_close(group_norm(x, scale, bias, **options), expected, atol=1e-12)
    y = group_norm(to_irreps(x, group=group), scale, bias, **options)
    assert_close(from_irreps(y), expected, atol=1e-12)
    expected = by_hand(x, np.ones(6), np.zeros(6), runs, 1e-3)
    assert_close(group_norm(x, **options), expected, atol=1e-12)
    assert_close(
        from_irreps(group_norm(to_irreps(x, group=group), **options)), expected, atol=1e-12
    )


@pytest.mark.parametrize("basis", ["regular", "irreps"])
@pytest.mark.parametrize(
    "build",
    [lambda r: GroupNorm(4, num_groups=2, rngs=r), lambda r: InstanceNorm(4, rngs=r)],
    ids=["group", "instance"],
)
@pytest.mark.parametrize("group", [P4, P4M, octahedral()], ids=str)
def test_the_law(group, build, basis, rng, x64):
    layer = random_float64(lambda: build(nnx.Rngs(0)), rng)

    def through_irreps(x):
        return from_irreps(layer(to_irreps(x, group=group)))

    x = rng.normal(size=(2, *[3] * group.dimension, group.order, 4))
    fn = layer if basis == "regular" else through_irreps
    assert_equivariant(fn, x, group=group, rtol=1e-12)


def test_negative_control_statistics_of_each_orientation(rng, x64):
    """Orientations of their own statistics keep the law; scales of their own do not."""
    scale = np.arange(1.0, 9.0)[:, None]

    def norm(x):
        return group_norm(x, num_groups=1) * scale

    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(norm, rng.normal(size=(2, 3, 3, 8, 4)), group=P4M)


def test_derivatives_are_those_of_both_bases(rng, x64):
    x, scale, bias = rng.normal(size=(2, 3, 4, 4)), rng.normal(size=4), rng.normal(size=4)

    def irreps(x, scale, bias):
        y = group_norm(to_irreps(x, group=P4), scale, bias, num_groups=2)
        return from_irreps(y)

    def regular(x, scale, bias):
        return group_norm(x, scale, bias, num_groups=2)

    for fn in (regular, irreps):
        check_grads(jax.jit(fn), (x, scale, bias), order=2, rtol=1e-5)
    weights = rng.normal(size=x.shape)
    grads = [
        quick_jit(jax.grad(lambda *a, fn=fn: (fn(*a) * weights).sum(), (0, 1, 2)))(x, scale, bias)
        for fn in (regular, irreps)
    ]
    for a, b in zip(*grads, strict=True):
        assert_close(a, b, atol=1e-11)


def test_a_mean_far_from_zero_keeps_the_variance(rng):
    x = jnp.asarray(1e4 + rng.normal(size=(2, 64, 4, 4)), jnp.float32)
    assert abs(float(group_norm(x, num_groups=2).std()) - 1) < 1e-2


@pytest.mark.parametrize("norm", ["GroupNorm", "InstanceNorm"])
@pytest.mark.parametrize("options", [{}, {"use_scale": False}, {"dtype": jnp.bfloat16}], ids=str)
def test_nnx_is_linen_is_flax(norm, options, rng):
    runs = {"num_groups": 2} if norm == "GroupNorm" else {}
    layer = getattr(gconv_jax.nnx, norm)(6, rngs=nnx.Rngs(0), **runs, **options)
    module = getattr(gconv_jax.linen, norm)(**runs, **options)
    flax = getattr(nnx, norm)(6, rngs=nnx.Rngs(0), **runs, **options)
    params = {}
    for key in ("scale", "bias"):
        if (parameter := getattr(layer, key)) is not None:
            parameter[...] = params[key] = jnp.asarray(rng.normal(size=6), jnp.float32)
            getattr(flax, key)[...] = params[key]
    x = jnp.asarray(rng.normal(size=(2, 3, 3, 8, 6)), jnp.float32)
    y = layer(x).astype(jnp.float32)
    assert layer(x).dtype == options.get("dtype", jnp.float32)
    atol = 0.05 if "dtype" in options else 1e-5
    assert_close(module.apply({"params": params}, x).astype(jnp.float32), y, atol=1e-6)
    assert_close(flax(x).astype(jnp.float32), y, atol=atol)
    features = module.apply({"params": params}, to_irreps(x, group=P4M))
    assert_close(from_irreps(features).astype(jnp.float32), y, atol=atol)
    shapes = jax.eval_shape(module.init, jax.random.key(0), x).get("params", {})
    assert {k: s.shape for k, s in shapes.items()} == {k: p.shape for k, p in params.items()}


def test_bad_input():
    x = jnp.ones((2, 8, 6))
    with pytest.raises(ValueError, match="`num_groups` must divide the 6 channels, got 4"):
        group_norm(x, num_groups=4)
    with pytest.raises(ValueError, match="`num_groups` must divide the 6 channels, got 4"):
        group_norm(to_irreps(x, group=P4M), num_groups=4)
    with pytest.raises(ValueError, match="`num_groups` must be at least 1"):
        group_norm(x, num_groups=0)
    with pytest.raises(ValueError, match=r"`x` must be \[N, \.\.\., \|G\|, C\], got shape"):
        group_norm(x[0], num_groups=2)
    with pytest.raises(ValueError, match="`x` must have an axis of examples"):
        group_norm(to_irreps(x[0], group=P4M), num_groups=2)
    with pytest.raises(ValueError, match="`num_groups` must divide the 6 channels, got 32"):
        GroupNorm(6, rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match="`num_groups` is an argument of GroupNorm"):
        InstanceNorm(6, num_groups=2, rngs=nnx.Rngs(0))
