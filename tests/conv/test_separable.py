"""Separable group convolutions: the product of their filters, the law, and the layers."""

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
    octahedral,
    separable_group_conv,
)
from gconv_jax.planar.depthwise import depthwise_conv
from gconv_jax.testing import equivariance_errors, smooth_images
from tests import oracles
from tests.helpers import BY_NAME, Case, assert_close, feature_map, law_error, some_cases

KINDS = ["g", "gc"]
every_kind = pytest.mark.parametrize("kind", KINDS)


def filters(rng, case: Case, kernel: int, kind: str, c_in=2, c_out=3):
    spatial = rng.normal(size=(*(kernel,) * case.dimension, c_in if kind == "g" else 1, c_out))
    return spatial, rng.normal(size=(case.order, c_in, c_out))


def product(spatial, pointwise):
    """The filter on space and group, by its definition."""
    return spatial[..., None, :, :] * pointwise


GEOMETRIES = [
    # size, kernel, strides, padding, dilation, low, output
    (5, 3, 1, "SAME", 1, 1, 5),
    (4, 3, 1, "SAME", 1, 1, 4),
    (7, 3, 2, "SAME", 1, 1, 4),
    (6, 2, 2, "VALID", 1, 0, 3),
    (7, 3, 1, "VALID", 2, 0, 3),
    (4, 1, 1, "SAME", 1, 0, 4),
    (6, 4, 1, "VALID", 1, 0, 3),
]


@pytest.mark.one_in(23)
@every_kind
@some_cases("mirror", "diagonals", "p4", "p4m", "line-mirror")
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_it_is_the_convolution_with_the_product_and_keeps_the_law(case, kind, geometry, rng, x64):
    size, kernel, stride, padding, dilation, low, output = geometry
    x, w = feature_map(rng, case, size), filters(rng, case, kernel, kind)
    conv = jax.jit(
        lambda x: separable_group_conv(
            x, *w, group=case.group, strides=stride, padding=padding, dilation=dilation
        )
    )
    settings = {"strides": stride, "low": low, "output": output, "dilation": dilation}
    expected = oracles.conv(
        case,
        x,
        product(*w),
        lifting=False,
        **{k: (v,) * case.dimension for k, v in settings.items()},
    )
    assert_close(conv(x), expected, atol=1e-12)
    assert law_error(conv, case, x, lifted=(True, True)) < 1e-12


@pytest.mark.one_in(10)
@every_kind
@pytest.mark.parametrize("padding", ["CIRCULAR", "REFLECT", 2, ((1, 1), (1, 1))], ids=str)
def test_options_are_those_of_group_conv(kind, padding, rng, x64):
    case = BY_NAME["p4m"]
    x, w = feature_map(rng, case, 6), filters(rng, case, 3, kind)
    options = {"group": P4M, "padding": padding, "bias": rng.normal(size=3)}
    actual = separable_group_conv(x[None], *w, **options)
    assert_close(actual, group_conv(x[None], product(*w), **options), atol=1e-12)
    short = separable_group_conv(x, *w, dtype=jnp.bfloat16, **options)
    assert short.dtype == jnp.bfloat16
    np.testing.assert_allclose(short.astype(float), actual[0], rtol=0.1, atol=0.5)


@every_kind
def test_gradients_are_those_of_the_product(kind, rng, x64):
    case = BY_NAME["p4"]
    x, w = feature_map(rng, case, 7), filters(rng, case, 3, kind)
    cotangent = rng.normal(size=(1, 4, 4, 4, 3))

    def loss(conv, x, spatial, pointwise):
        return (jnp.sin(conv(x, spatial, pointwise)) * cotangent).sum()

    options = {"group": P4, "strides": 2}
    separable = functools.partial(separable_group_conv, **options)
    dense = lambda x, s, p: group_conv(x, product(s, p), **options)  # noqa: E731
    gradients = [
        jax.jit(jax.grad(functools.partial(loss, conv), (0, 1, 2)))(jnp.asarray(x), *w)
        for conv in (separable, dense)
    ]
    for actual, expected in zip(*gradients, strict=True):
        assert_close(actual, expected, atol=1e-11)


@pytest.mark.parametrize("filters_", ["harmonic", "bilinear"])
@every_kind
def test_finer_rotations(kind, filters_, rng, x64):
    group = cyclic(8)
    layer = gnnx.SeparableGroupConv(
        2, 3, 5, group=group, separable=kind, filters=filters_, rngs=nnx.Rngs(0),
        param_dtype=jnp.float64,
    )  # fmt: skip
    x = rng.normal(size=(1, 9, 9, 8, 2))
    w = product(layer.spatial_kernel[...], layer.pointwise_kernel[...])
    options = {"group": group, "filters": filters_, "kernel_size": 5}
    assert_close(layer(x), group_conv(x, w, **options), atol=1e-12)


def test_three_dimensions(rng, x64):
    case = Case("octahedral", octahedral(), octahedral().matrices)
    x, w = feature_map(rng, case, 3), filters(rng, case, 3, "gc")
    actual = separable_group_conv(x, *w, group=octahedral())
    expected = group_conv(x, product(*w), group=octahedral(), algorithm="dense")
    assert_close(actual, expected, atol=1e-11)


def test_negative_controls(rng, x64):
    """A spatial filter that is not turned, and sizes that break the law."""
    case = BY_NAME["p4"]
    x, (spatial, pointwise) = feature_map(rng, case, 6), filters(rng, case, 3, "gc", 3, 3)

    def unturned(x):
        mixed = group_conv(x, pointwise[None, None], group=P4)
        bank = jnp.tile(spatial, (1, 1, 1, 4))
        y = depthwise_conv(
            mixed.reshape(len(x), 6, 6, 12),
            bank,
            strides=(1, 1),
            padding=((1, 1), (1, 1)),
            dilation=(1, 1),
        )
        return y.reshape(mixed.shape)

    x = feature_map(rng, case, 6, 3)
    assert law_error(unturned, case, x, lifted=(True, True)) > 1e-2
    strided = functools.partial(
        separable_group_conv,
        w_spatial=spatial,
        w_pointwise=pointwise,
        group=P4,
        strides=2,
        padding=1,
    )
    with pytest.warns(InexactEquivarianceWarning, match=r"\(6 \+ 2 - 3\) % 2 = 1"):
        assert law_error(strided, case, x, lifted=(True, True)) > 1e-2


OPTIONS = [
    {},
    {"separable": "g"},
    {"strides": 2, "use_bias": False},
    {"padding": 1, "kernel_dilation": 2},
    {"dtype": jnp.bfloat16},
    {"param_dtype": jnp.bfloat16, "kernel_size": [2, 2], "padding": "VALID"},
]


@pytest.mark.filterwarnings("ignore::gconv_jax.InexactEquivarianceWarning")
@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(o) or "defaults")
def test_nnx_is_linen_is_the_pure_function(options, rng):
    options = {"kernel_size": 3, "group": P4, **options}
    layer = gnnx.SeparableGroupConv(2, 3, rngs=nnx.Rngs(0), **options)
    linen_layer = glinen.SeparableGroupConv(3, **options)
    x = jnp.asarray(rng.normal(size=(2, 7, 7, 4, 2)), jnp.float32)
    weights = nnx.to_pure_dict(nnx.state(layer))
    variables = jax.eval_shape(linen_layer.init, jax.random.key(1), x)["params"]
    assert {k: (v.shape, v.dtype) for k, v in variables.items()} == {
        k: (v.shape, v.dtype) for k, v in weights.items()
    }
    y = layer(x)
    assert_close(linen_layer.apply({"params": weights}, x), y, atol=1e-6)
    if options.get("dtype") is None:
        kernel = product(weights["spatial_kernel"], weights["pointwise_kernel"])
        names = {"strides": "strides", "padding": "padding", "kernel_dilation": "dilation"}
        passed = {names[k]: v for k, v in options.items() if k in names}
        expected = group_conv(x, kernel, group=P4, bias=weights.get("bias"), **passed)
        tolerance = 0.1 if "param_dtype" in options else 1e-5
        np.testing.assert_allclose(y.astype(float), expected.astype(float), atol=tolerance)


@every_kind
def test_unit_variance(kind):
    layer = gnnx.SeparableGroupConv(
        32, 64, 5, group=P4, separable=kind, padding="VALID", rngs=nnx.Rngs(0)
    )
    x = jax.random.normal(jax.random.key(1), (8, 9, 9, 4, 32))
    assert 0.7 < float(layer(x).var()) < 1.4


def test_the_report_of_layers_knows_them(rng, x64):
    class Network(nnx.Module):
        def __init__(self):
            rngs = nnx.Rngs(0)
            self.lift = gnnx.LiftConv(1, 4, 3, group=P4, rngs=rngs)
            self.conv = gnnx.SeparableGroupConv(4, 4, 3, group=P4, rngs=rngs)

        def __call__(self, x):
            return self.conv(self.lift(x))

    x = smooth_images((1, 9, 9, 1))
    report = equivariance_errors(Network(), x, group=P4)
    assert list(report.errors) == ["lift", "conv", "output"]
    assert max(e.max() for e in report.errors.values()) < 1e-5


def test_bad_input():
    x, point = jnp.ones((1, 5, 5, 4, 2)), jnp.ones((4, 2, 3))
    with pytest.raises(ValueError, match=r"`w_spatial` must end in \[C_in=2, C_out=3\]"):
        separable_group_conv(x, jnp.ones((3, 3, 5, 3)), point, group=P4)
    with pytest.raises(ValueError, match=r"`w_spatial` must be \[\*kernel, C_in, C_out\]"):
        separable_group_conv(x, jnp.ones((3, 3, 3)), point, group=P4)
    with pytest.raises(ValueError, match=r"`w_pointwise` must be \[\|G\|=4, C_in, C_out\]"):
        separable_group_conv(x, jnp.ones((3, 3, 1, 3)), point[:3], group=P4)
    with pytest.raises(ValueError, match=r"`x` must be \[\*batch, H, W, \|G\|=4, C_in=2\]"):
        separable_group_conv(x[..., :1], jnp.ones((3, 3, 1, 3)), point, group=P4)
    with pytest.raises(ValueError, match="`bias` must have shape"):
        separable_group_conv(x, jnp.ones((3, 3, 1, 3)), point, group=P4, bias=jnp.ones(2))
    with pytest.raises(ValueError, match="`separable` must be 'g' or 'gc', got 'c'"):
        gnnx.SeparableGroupConv(2, 3, 3, group=P4, separable="c", rngs=nnx.Rngs(0))
