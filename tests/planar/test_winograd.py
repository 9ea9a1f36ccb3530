"""Three taps on each axis in few products: equal to XLA's convolution, with all derivatives."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export, lax

from gconv_jax import planar_conv
from gconv_jax.ops.arguments import spatial_axes
from gconv_jax.planar import winograd
from gconv_jax.planar.implementation import (
    choose_implementation,
    make_static,
    planar_implementation,
)
from gconv_jax.planar.primitive import Form
from tests.helpers import assert_close

# Odd and even results, one result, padding beyond the filter on one side, an image cut off.
CASES = {
    "line": ((3, 7, 2), 4, ((1, 1),)),
    "line-of-one": ((2, 3, 2), 3, ((0, 0),)),
    "plane": ((2, 6, 5, 3), 2, ((1, 1), (0, 3))),
    "space": ((3, 4, 5, 6, 2), 3, ((1, 1), (0, 0), (2, 1))),
    "space-cut": ((1, 6, 5, 7, 2), 2, ((-1, 1), (1, -1), (0, 0))),
}


def xla(x, w, padding):
    axes = spatial_axes(x.ndim - 2)
    return lax.conv_general_dilated(
        x,
        w,
        (1,) * len(padding),
        padding,
        dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
    )


def ours(x, w, padding):
    ones = (1,) * len(padding)
    return planar_conv(x, w, strides=ones, padding=padding, dilation=ones)


@pytest.mark.parametrize("images", [None, 1], ids=["whole", "chunks"])
@pytest.mark.parametrize("name", CASES)
def test_values_and_derivatives_of_two_orders(name, images, rng, x64, monkeypatch):
    if images:
        monkeypatch.setattr(winograd, "CHUNK_BYTES", 1)
    shape, c_out, padding = CASES[name]
    x = jnp.asarray(rng.normal(size=shape))
    w = jnp.asarray(rng.normal(size=(3,) * len(padding) + (shape[-1], c_out)))

    def everything(conv):
        def first(x, w):
            return jnp.sum(jnp.sin(conv(x, w, padding)))

        def second(x, w):
            return sum(jnp.sum(g**2) for g in jax.grad(first, (0, 1))(x, w))

        return jax.jit(lambda x, w: (conv(x, w, padding), *jax.grad(second, (0, 1))(x, w)))

    expected = everything(xla)(x, w)
    with planar_implementation("winograd"):
        text = jax.jit(partial(ours, padding=padding)).lower(x, w).as_text()
        assert "stablehlo.convolution" not in text
        actual = everything(ours)(x, w)
    jax.tree.map(partial(assert_close, atol=1e-10), actual, expected)


def test_rounding_in_single_precision(rng):
    """Not far from that of sums of products: there are no numbers but 0, 1 and 1/2."""
    x, w = rng.normal(size=(1, 8, 8, 8, 64)), rng.normal(size=(3, 3, 3, 64, 64)) / 42
    padding = ((1, 1),) * 3
    with jax.enable_x64(True):
        exact = np.asarray(xla(jnp.asarray(x), jnp.asarray(w), padding))
    x, w = jnp.asarray(x, jnp.float32), jnp.asarray(w, jnp.float32)
    errors = {}
    for name in ("patches", "winograd"):
        with planar_implementation(name):
            errors[name] = np.abs(np.asarray(ours(x, w, padding), np.float64) - exact).max()
    assert 0 < errors["winograd"] < 8 * errors["patches"] < 1e-4


def test_where_it_is_taken():
    """Wide volumes without strides, and neither narrow nor huge ones."""

    def way(form=Form.OUTPUT, *, c_in=64, c_out=32, n=8, **changes):
        settings = {"strides": (1,) * 3, "padding": ((1, 1),) * 3, "dilation": (1,) * 3}
        settings |= {"precision": None} | changes
        static = make_static((n,) * 3, (3, 3, 3), **settings)
        image = (1, n, n, n)
        lhs, rhs = {
            Form.OUTPUT: ((*image, c_in), (3, 3, 3, c_in, c_out)),
            Form.INPUT_GRADIENT: ((*image, c_out), (3, 3, 3, c_in, c_out)),
            Form.FILTER_GRADIENT: ((*image, c_in), (*image, c_out)),
        }[form]
        return choose_implementation(form, lhs, rhs, static, jnp.float32, best="patches")

    assert [way(form) for form in Form] == ["winograd"] * 3
    assert way(c_out=8) == way(n=128) == way(dilation=(1, 1, 2)) == "patches"
    assert way(strides=(2, 2, 2)) == "patches"


def test_it_can_be_exported_for_any_number_of_images(rng):
    (batch,) = export.symbolic_shape("b")
    w = jnp.asarray(rng.normal(size=(3, 3, 3, 32, 32)), jnp.float32)
    conv = partial(ours, padding=((1, 1),) * 3)
    with planar_implementation("winograd"):
        shape = jax.ShapeDtypeStruct((batch, 4, 4, 4, 32), w.dtype)
        program = export.export(jax.jit(conv))(shape, w)
    x = jnp.asarray(rng.normal(size=(3, 4, 4, 4, 32)), jnp.float32)
    assert_close(program.call(x, w), xla(x, w, ((1, 1),) * 3), atol=1e-4)
