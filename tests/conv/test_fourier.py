"""The Fourier transform over the group: the same numbers as the filter bank, and the law."""

import functools
import platform

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gconv_jax import P4, P4M, Z2, group_conv, lift_conv, linen as glinen, nnx as gnnx, octahedral
from gconv_jax._native import door, llvm
from gconv_jax.conv.algorithm import fourier_platforms
from gconv_jax.planar.implementation import planar_implementation
from tests import oracles
from tests.helpers import (
    BY_NAME,
    assert_close,
    every_case,
    feature_map,
    group_filter,
    law_error,
    quick_jit,
)


def fourier(case, **options):
    return quick_jit(
        lambda x, w: group_conv(x, w, group=case.group, algorithm="fourier", **options)
    )


def dense(case, **options):
    return quick_jit(lambda x, w: group_conv(x, w, group=case.group, algorithm="dense", **options))


@pytest.mark.one_in(23)
@every_case
@pytest.mark.parametrize(("size", "kernel"), [(7, 1), (6, 2), (6, 3), (7, 3), (7, 4)])
def test_by_the_definition(case, kernel, size, rng, x64):
    x, w = feature_map(rng, case, size), group_filter(rng, case, kernel, 2, 3)
    d = case.dimension
    y = fourier(case, padding=kernel // 2)(x, w)
    output = (size + 2 * (kernel // 2) - kernel + 1,) * d
    expected = oracles.conv(
        case,
        x,
        w,
        lifting=False,
        strides=(1,) * d,
        low=(kernel // 2,) * d,
        output=output,
        dilation=(1,) * d,
    )
    assert_close(np.asarray(y), expected, atol=1e-11)


@pytest.mark.one_in(16)
@every_case
@pytest.mark.parametrize(("size", "kernel"), [(7, 2), (6, 3), (7, 3)])
def test_the_law(case, kernel, size, rng, x64):
    w = group_filter(rng, case, kernel, 2, 3)
    layer = fourier(case, padding=kernel // 2)
    error = law_error(
        lambda x: layer(x, w), case, feature_map(rng, case, size), lifted=(True, True)
    )
    assert error < 1e-12


OPTIONS = {
    "valid": {"padding": "VALID"},
    "strides": {"strides": 2, "padding": 1},
    "dilation": {"dilation": 2, "padding": 2},
    "both": {"strides": 2, "dilation": 2, "padding": 2},
    "circular": {"padding": "CIRCULAR"},
    "reflect": {"padding": "REFLECT"},
}


@pytest.mark.one_in(23)
@pytest.mark.parametrize(
    ("case", "name"),
    [
        *((BY_NAME[case], name) for case in ("p4", "line-mirror") for name in OPTIONS),
        *((BY_NAME[case], name) for case in ("p4m", "diagonals") for name in ("both", "reflect")),
    ],
    ids=str,
)
def test_values_and_gradients_are_those_of_the_bank(case, name, rng, x64):
    x, w = feature_map(rng, case, 7), group_filter(rng, case, 3, 2, 3)
    results = []
    for algorithm in ("fourier", "dense"):
        options = {"group": case.group, "algorithm": algorithm, **OPTIONS[name]}

        @quick_jit
        def values_and_gradients(x, w, options=options):
            y, pull = jax.vjp(lambda x, w: group_conv(x, w, **options), x, w)
            return y, *pull(jnp.cos(y))

        results.append(values_and_gradients(x, w))
    for actual, expected in zip(*results, strict=True):
        assert_close(actual, expected, atol=1e-11)


def test_float32(rng):
    x = rng.normal(size=(2, 8, 8, 8, 16)).astype(np.float32)
    w = rng.normal(size=(3, 3, 8, 16, 16)).astype(np.float32) / 34
    y, expected = (
        jax.jit(lambda x, w, a=a: group_conv(x, w, group=P4M, algorithm=a))(x, w)
        for a in ("fourier", "dense")
    )
    assert_close(y, expected, atol=1e-5 * float(jnp.abs(expected).max()))


def test_pointwise_filters_of_a_large_group(rng, x64):
    """Its sums are not written out, and no patches are gathered."""
    x, w = rng.normal(size=(2, 3, 3, 3, 24, 2)), rng.normal(size=(1, 1, 1, 24, 2, 3))
    for options in ({}, {"padding": 1, "strides": 2}):
        results = []
        for algorithm in ("fourier", "dense"):
            f = functools.partial(group_conv, group=octahedral(), algorithm=algorithm, **options)
            y, pull = jax.vjp(jax.jit(f), x, w)
            results.append((y, *jax.jit(pull)(jnp.cos(y))))
        for actual, expected in zip(*results, strict=True):
            assert_close(actual, expected, atol=1e-11)


def test_chunks_of_images(rng, x64):
    """More images than are taken at a time, and not a multiple of that."""
    x, w = rng.normal(size=(7, 40, 40, 4, 12)), rng.normal(size=(3, 3, 4, 12, 2))
    results = []
    for algorithm in ("fourier", "dense"):
        f = jax.jit(lambda x, w, a=algorithm: group_conv(x, w, group=P4, algorithm=a))
        y, pull = jax.vjp(f, x, w)
        results.append((y, *jax.jit(pull)(y)))
    for actual, expected in zip(*results, strict=True):
        assert_close(actual, expected, atol=1e-9 * float(jnp.abs(expected).max()))


@pytest.mark.slow
@pytest.mark.parametrize("order", [1, 2])
def test_derivatives_of_any_order(order, rng, x64):
    x, w = rng.normal(size=(1, 3, 3, 4, 1)), rng.normal(size=(3, 3, 4, 1, 2))

    def loss(algorithm):
        return lambda x, w: jnp.sin(group_conv(x, w, group=P4, algorithm=algorithm)).sum()

    derivative = jax.grad if order == 1 else jax.hessian
    actual, expected = (
        jax.jit(derivative(loss(a), (0, 1)))(jnp.asarray(x), jnp.asarray(w))
        for a in ("fourier", "dense")
    )
    jax.tree.map(lambda a, e: assert_close(a, e, atol=1e-10), actual, expected)


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)], ids=str)
def test_vmap(axes, rng, x64):
    x, w = rng.normal(size=(3, 2, 4, 4, 4, 1)), rng.normal(size=(3, 3, 3, 4, 1, 2))
    x, w = x if axes[0] == 0 else x[0], w if axes[1] == 0 else w[0]
    actual, expected = (
        jax.jit(jax.vmap(lambda x, w, a=a: group_conv(x, w, group=P4, algorithm=a), axes))(x, w)
        for a in ("fourier", "dense")
    )
    assert_close(actual, expected, atol=1e-11)


def test_a_filter_in_the_wrong_frame_is_noticed(rng, x64):
    """Negative control: the comparison above would see orientations in another order."""
    x, w = rng.normal(size=(2, 5, 5, 8, 2)), rng.normal(size=(3, 3, 8, 2, 2))
    right = group_conv(x, w, group=P4M, algorithm="dense")
    wrong = group_conv(x, w[:, :, P4M.inverse], group=P4M, algorithm="fourier")
    assert float(jnp.abs(right - wrong).max()) > 0.1


def test_auto_prefers_the_bank_where_little_is_saved():
    few = {"group": P4, "kernel": (3, 3), "strides": (1, 1), "c_in": 5, "c_out": 5}
    many = {"group": P4M, "kernel": (3, 3), "strides": (1, 1), "c_in": 64, "c_out": 64}
    assert fourier_platforms("auto", **few) == ()
    assert fourier_platforms("auto", **many) == ("cpu",)
    assert fourier_platforms("auto", **{**many, "kernel": (1, 1)}) == ("cpu",)
    assert fourier_platforms("auto", **{**many, "strides": (2, 2)}) == ()
    assert fourier_platforms("auto", **{**many, "group": Z2}) == ()
    assert fourier_platforms("dense", **many) == ()
    assert fourier_platforms("fourier", **few) == ("cpu", "other")


@pytest.mark.parametrize(
    ("group", "channels", "arithmetic"),
    [(P4M, 19, "full"), (P4, 44, "full"), (P4M, 11, "short"), (P4, 25, "short")],
    ids=str,
)
def test_auto_without_the_extra(group, channels, arithmetic, monkeypatch):
    monkeypatch.setattr(door, "available", lambda part: False)
    monkeypatch.setattr(door, "arithmetic", lambda: arithmetic)
    layer = {"group": group, "kernel": (3, 3), "strides": (1, 1)}
    few, many = ({**layer, "c_in": c, "c_out": c} for c in (channels - 1, channels))
    assert fourier_platforms("auto", **few) == ()
    assert fourier_platforms("auto", **many) == ("cpu",)


@pytest.mark.parametrize(
    ("machine", "found", "arithmetic"),
    [
        *(("x86_64", [], "short"), ("AMD64", ["X86_V3"], "short"), ("arm64", [], "full")),
        *(("AMD64", ["X86_V3", "X86_V4"], "full"), ("x86_64", ["AVX2", "AVX512F"], "full")),
    ],
)
def test_arithmetic_without_llvm(machine, found, arithmetic, monkeypatch):
    monkeypatch.setattr(llvm, "_binding", lambda: None)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(np, "show_config", lambda mode: {"SIMD Extensions": {"found": found}})
    assert llvm.arithmetic() == arithmetic


def test_pointwise_products_are_block_diagonal():
    """The multiplications |G|^2 become sum d^3 / e."""
    x, w = jnp.ones((2, 4, 4, 8, 64)), jnp.ones((1, 1, 8, 64, 64))
    cost = {}
    with planar_implementation("xla"):  # of a foreign function XLA knows no cost
        for algorithm in ("fourier", "dense"):
            f = jax.jit(lambda x, w, a=algorithm: group_conv(x, w, group=P4M, algorithm=a))
            cost[algorithm] = f.lower(x, w).cost_analysis()["flops"]
    assert cost["fourier"] < cost["dense"] / 3


@pytest.mark.parametrize("make", ["nnx", "linen"])
def test_layers_take_the_algorithm(make, rng):
    x = jnp.asarray(rng.normal(size=(2, 6, 6, 4, 3)), jnp.float32)
    results = []
    for algorithm in ("fourier", "dense", "auto"):
        if make == "nnx":
            layer = gnnx.GroupConv(3, 5, 3, group=P4, algorithm=algorithm, rngs=nnx.Rngs(0))
            results.append(layer(x))
        else:
            layer = glinen.GroupConv(5, 3, group=P4, algorithm=algorithm)
            results.append(layer.init_with_output(jax.random.key(0), x)[0])
    for y in results[1:]:
        assert_close(y, results[0], atol=1e-5)


def test_bad_algorithm():
    remedy = "`algorithm` must be one of auto, dense, fourier, got 'fft'"
    with pytest.raises(ValueError, match=remedy):
        group_conv(jnp.ones((1, 3, 3, 4, 1)), jnp.ones((3, 3, 4, 1, 1)), group=P4, algorithm="fft")
    with pytest.raises(ValueError, match=remedy):
        gnnx.GroupConv(1, 1, 3, group=P4, algorithm="fft", rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=remedy):
        glinen.GroupConv(1, 3, group=P4, algorithm="fft").init(
            jax.random.key(0), jnp.ones((1, 3, 3, 4, 1))
        )
    with pytest.raises(TypeError):
        lift_conv(jnp.ones((1, 3, 3, 1)), jnp.ones((3, 3, 1, 1)), group=P4, algorithm="dense")


@pytest.mark.parametrize("algorithm", ["dense", "fourier"])
def test_symbolic_batch_and_empty_batch(algorithm):
    """Programs are exported for any batch size."""
    w, bias = jnp.ones((3, 3, 4, 3, 2)), jnp.ones(2)

    def layer(x):
        return group_conv(x, w, group=P4, bias=bias, algorithm=algorithm)

    (batch,) = jax.export.symbolic_shape("b")
    shape = jax.ShapeDtypeStruct((batch, 5, 5, 4, 3), jnp.float32)
    x = jnp.arange(3 * 5 * 5 * 4 * 3.0).reshape(3, 5, 5, 4, 3) / 900
    with planar_implementation("patches"):  # JAX exports no foreign functions
        exported = jax.export.export(jax.jit(layer))(shape)
    assert_close(exported.call(x), layer(x), atol=1e-4)
    assert layer(x[:0]).shape == (0, 5, 5, 4, 2)
    loss = jax.grad(lambda w: group_conv(x[:0], w, group=P4, algorithm=algorithm).sum())
    assert_close(loss(w), jnp.zeros_like(w), atol=0)


@pytest.mark.parametrize("algorithm", ["dense", "fourier", "auto"])
def test_integers_are_summed_exactly(algorithm):
    """Beyond the 24 bits of float32; there is no transform of integers."""
    x, w = jnp.full((1, 3, 3, 4, 1), 2**13 + 1), jnp.full((1, 1, 4, 1, 1), 2**13 + 1)
    y = group_conv(x, w, group=P4, algorithm=algorithm)
    assert y.dtype == x.dtype
    assert (y == 4 * (2**13 + 1) ** 2).all()
