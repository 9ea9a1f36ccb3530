"""Transposed group convolutions: the adjoint, the definition, the law, and the layers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import gconv_jax.linen as glinen
import gconv_jax.nnx as gnnx
from gconv_jax import (
    P4,
    P4M,
    InexactEquivarianceWarning,
    cyclic,
    group_conv,
    group_conv_transpose,
    octahedral,
)
from tests import oracles
from tests.helpers import (
    BY_NAME,
    Case,
    assert_close,
    feature_map,
    group_filter,
    law_error,
    some_cases,
)

covering = some_cases("diagonals", "p4", "line-mirror")

# size, kernel, strides, padding, low, output, dilation
EXACT = [
    (3, 2, 2, "SAME", 0, 6, 1),
    (3, 4, 2, "SAME", 1, 6, 1),
    (4, 3, 1, "SAME", 1, 4, 1),
    (3, 3, 2, "VALID", 0, 7, 1),
    (4, 3, 2, 1, 1, 7, 1),
    (2, 3, 3, "SAME", 0, 6, 1),
    (2, 1, 3, "SAME", -1, 6, 1),
    (3, 2, 1, "VALID", 0, 5, 2),
    (3, 5, 2, 2, 2, 5, 1),
]


def scatter(case, x, w, *, stride, low, output, dilation):
    """The sum of turned filters at ``strides q``, in loops."""
    d = case.dimension
    bank = oracles.bank(case, w.swapaxes(-1, -2), lifting=False)  # [*k, r, C_out, s, C_in]
    y = np.zeros((len(x), *(output,) * d, case.order, w.shape[-1]))
    for q in np.ndindex(*x.shape[1 : 1 + d]):
        for t in np.ndindex(*w.shape[:d]):
            p = tuple(stride * a + dilation * b - low for a, b in zip(q, t, strict=True))
            if all(0 <= i < output for i in p):
                y[(slice(None), *p)] += np.einsum("nsi,rosi->nro", x[(slice(None), *q)], bank[t])
    return y


@pytest.mark.one_in(16)
@covering
@pytest.mark.parametrize("geometry", EXACT, ids=str)
def test_definition_and_law(case, geometry, rng, x64):
    size, kernel, stride, padding, low, output, dilation = geometry
    x, w = feature_map(rng, case, size), group_filter(rng, case, kernel, 2, 3)
    up = jax.jit(
        lambda x: group_conv_transpose(
            x, w, group=case.group, strides=stride, padding=padding, dilation=dilation
        )
    )
    expected = scatter(case, x, w, stride=stride, low=low, output=output, dilation=dilation)
    assert_close(up(x), expected, atol=1e-12)
    assert law_error(up, case, x, lifted=(True, True)) < 1e-12


@pytest.mark.one_in(16)
@covering
@pytest.mark.parametrize("geometry", [g for g in EXACT if g[4] >= 0], ids=str)
def test_it_is_the_adjoint(case, geometry, rng, x64):
    """``<transpose(x), z> == <x, conv(z)>`` for the convolution with as much padding."""
    size, kernel, stride, _, low, output, dilation = geometry
    x, w = feature_map(rng, case, size), group_filter(rng, case, kernel, 2, 3)
    z = rng.normal(size=(1, *(output,) * case.dimension, case.order, 3))
    options = {"group": case.group, "strides": stride, "padding": low, "dilation": dilation}
    y = group_conv_transpose(jnp.asarray(x), w, **options)
    back = group_conv(jnp.asarray(z), w.swapaxes(-1, -2), algorithm="dense", **options)
    assert y.shape == z.shape and back.shape == x.shape
    np.testing.assert_allclose((y * z).sum(), (x * back).sum(), rtol=1e-12)


def test_gradients_are_those_of_the_definition(rng, x64):
    """By finite differences of the loop over the definition, along random directions."""
    case = BY_NAME["p4"]
    x, w = feature_map(rng, case, 3), group_filter(rng, case, 4, 2, 1)
    cotangent = rng.normal(size=(1, 6, 6, 4, 1))

    def by_loops(x, w):
        options = {"stride": 2, "low": 1, "output": 6, "dilation": 1}
        return (scatter(case, x, w, **options) * cotangent).sum()

    def loss(x, w):
        return (group_conv_transpose(x, w, group=P4, strides=2) * cotangent).sum()

    gx, gw = jax.jit(jax.grad(loss, (0, 1)))(jnp.asarray(x), jnp.asarray(w))
    dx, dw = rng.normal(size=x.shape), rng.normal(size=w.shape)
    # Bilinear, so a difference of any length is exact.
    np.testing.assert_allclose((gx * dx).sum(), by_loops(x + dx, w) - by_loops(x, w), rtol=1e-9)
    np.testing.assert_allclose((gw * dw).sum(), by_loops(x, w + dw) - by_loops(x, w), rtol=1e-9)


def test_finer_rotations_and_three_dimensions(rng, x64):
    options = {"group": cyclic(8), "filters": "harmonic", "kernel_size": 5, "strides": 2}
    layer = gnnx.GroupConvTranspose(
        2, 3, 5, 2, group=cyclic(8), filters="harmonic", padding=2, rngs=nnx.Rngs(0)
    )
    x = jnp.asarray(rng.normal(size=(1, 4, 4, 8, 2)))
    y = layer(x)
    z = rng.normal(size=y.shape)
    back = group_conv(jnp.asarray(z), layer.kernel[...].swapaxes(-1, -2), padding=2, **options)
    np.testing.assert_allclose((y * z).sum(), (x * back).sum(), rtol=1e-6)
    case = Case("octahedral", octahedral(), octahedral().matrices)
    x, w = feature_map(rng, case, 2, 1), group_filter(rng, case, 2, 1, 1)
    up = jax.jit(lambda x: group_conv_transpose(x, w, group=octahedral(), strides=2))
    assert law_error(up, case, x, lifted=(True, True)) < 1e-12


@pytest.mark.parametrize(("size", "kernel"), [(3, 3), (4, 3), (4, 5)])
def test_negative_control_same_with_odd_kernels_and_even_strides(size, kernel, rng, x64):
    """Other frameworks call it output padding 1."""
    case = BY_NAME["p4m"]
    x, w = feature_map(rng, case, size), group_filter(rng, case, kernel, 2, 3)
    up = functools.partial(group_conv_transpose, w=w, group=P4M, strides=2)
    with pytest.warns(InexactEquivarianceWarning, match="the padding is not symmetric"):
        assert law_error(up, case, x, lifted=(True, True)) > 1e-2


OPTIONS = [
    {},
    {"kernel_size": 4, "strides": 2, "use_bias": False},
    {"padding": 1, "kernel_dilation": 2},
    {"strides": (2, 2), "padding": ((1, 1), (1, 1))},
    {"dtype": jnp.bfloat16},
    {"param_dtype": jnp.bfloat16, "padding": "VALID"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(o) or "defaults")
def test_nnx_is_linen_is_the_pure_function(options, rng):
    options = {"kernel_size": 3, "group": P4, **options}
    layer = gnnx.GroupConvTranspose(2, 3, rngs=nnx.Rngs(0), **options)
    linen_layer = glinen.GroupConvTranspose(3, **options)
    x = jnp.asarray(rng.normal(size=(2, 5, 5, 4, 2)), jnp.float32)
    weights = nnx.to_pure_dict(nnx.state(layer))
    variables = jax.eval_shape(linen_layer.init, jax.random.key(1), x)["params"]
    assert {k: (v.shape, v.dtype) for k, v in variables.items()} == {
        k: (v.shape, v.dtype) for k, v in weights.items()
    }
    y = layer(x)
    assert_close(linen_layer.apply({"params": weights}, x), y, atol=1e-6)
    names = {"strides": "strides", "padding": "padding", "kernel_dilation": "dilation"}
    passed = {names[k]: v for k, v in options.items() if k in names} | {"dtype": layer.dtype}
    expected = group_conv_transpose(
        x, weights["kernel"], group=P4, bias=weights.get("bias"), **passed
    )
    assert_close(y, expected, atol=1e-6)


def test_bad_input():
    x, w = jnp.ones((1, 3, 3, 4, 2)), jnp.ones((3, 3, 4, 2, 3))
    with pytest.raises(ValueError, match=r"`x` must be \[\*batch, H, W, \|G\|=4, C_in=2\]"):
        group_conv_transpose(x[..., :1], w, group=P4)
    with pytest.raises(ValueError, match="`padding` must be 'SAME', 'VALID' or integers"):
        group_conv_transpose(x, w, group=P4, padding="CIRCULAR")
    with pytest.raises(ValueError, match="`padding` 4 leaves nothing of"):
        group_conv_transpose(x, w, group=P4, padding=4)
    with pytest.raises(ValueError, match="`dtype` must be floating, got int32"):
        group_conv_transpose(x.astype(int), w.astype(int), group=P4)
    with pytest.raises(ValueError, match=r"`w` must be .* with a group axis of size 4"):
        group_conv_transpose(x, w[:, :, :3], group=P4)
    with pytest.raises(TypeError, match="`group` must be a FiniteGroup"):
        group_conv_transpose(x, w, group=4)
