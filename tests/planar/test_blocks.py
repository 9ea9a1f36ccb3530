"""Strided convolutions as convolutions of blocks of pixels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from gconv_jax import P4M, group_conv_transpose, octahedral, planar_conv
from gconv_jax.planar import blocks
from gconv_jax.planar.implementation import (
    choose_implementation,
    make_static,
    planar_form,
    planar_implementation,
)
from gconv_jax.planar.primitive import Form

pytestmark = pytest.mark.optimized

# spatial, kernel, strides, padding: pixels that no window reaches, at the end or since the padding
# is cut; padding on one side; one axis without strides; several taps; patches of an image.
CASES = {
    "patches": ((8, 8), (4, 4), (4, 4), ((0, 0), (0, 0))),
    "left-out": ((9, 7), (4, 2), (2, 2), ((1, 0), (0, 0))),
    "one-axis": ((6, 5), (2, 3), (2, 1), ((0, 2), (1, 1))),
    "three-taps": ((11, 10), (6, 3), (2, 3), ((2, 2), (0, 1))),
    "cropped": ((9, 8), (2, 4), (2, 2), ((-1, 0), (1, -3))),
    "line": ((9,), (4,), (2,), ((3, 1),)),
    "space": ((4, 6, 5), (4, 2, 2), (2, 2, 2), ((1, 1), (0, 0), (1, 0))),
}


def operands(form: Form, name: str, rng):
    spatial, kernel, strides, padding = CASES[name]
    static = make_static(
        spatial, kernel, strides=strides, padding=padding, dilation=(1,) * len(kernel),
        precision=None,
    )  # fmt: skip
    x, w, g = (
        jnp.asarray(rng.normal(size=shape))
        for shape in (
            (3, *spatial, 2), (*kernel, 2, 3), (3, *static.geometry.output, 3)
        )
    )  # fmt: skip
    lhs, rhs = {
        Form.OUTPUT: (x, w), Form.INPUT_GRADIENT: (g, w), Form.FILTER_GRADIENT: (x, g)
    }[form]  # fmt: skip
    return lhs, rhs, static


@pytest.mark.parametrize("form", Form, ids=lambda form: form.name)
@pytest.mark.parametrize("name", CASES)
def test_values_are_those_of_xla(form, name, rng, x64):
    found = []
    for way in ("xla", "blocks"):
        lhs, rhs, static = operands(form, name, np.random.default_rng(0))
        static = static._replace(implementation=way)
        chosen = choose_implementation(
            form, lhs.shape, rhs.shape, static, lhs.dtype, best="patches"
        )
        assert chosen == way
        found.append(np.asarray(planar_form(form, lhs, rhs, static)))
    np.testing.assert_allclose(*found, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", CASES)
def test_blocks_are_the_pixels(name, rng):
    _, _, static = operands(Form.OUTPUT, name, rng)
    geometry = static.geometry
    assert blocks.is_possible(geometry)
    inner = blocks.of_blocks(geometry)
    assert inner.output == geometry.output and not blocks.is_possible(inner)
    x = jnp.asarray(rng.normal(size=(2, *geometry.spatial, 3)))
    found = blocks.to_blocks(x, geometry)
    size = int(np.prod(geometry.strides))
    assert found.shape == (2, *inner.spatial, 3 * size)
    # Pixels that no window reaches are lost, and nothing else.
    reached = blocks.from_blocks(blocks.to_blocks(jnp.ones_like(x), geometry), geometry)
    np.testing.assert_array_equal(blocks.from_blocks(found, geometry), x * reached)
    w = jnp.asarray(rng.normal(size=(*geometry.kernel, 2, 3)))
    back = blocks.filter_from_blocks(blocks.filter_to_blocks(w, geometry), geometry)
    np.testing.assert_array_equal(back, w)


@pytest.mark.parametrize(
    ("kernel", "strides", "dilation"), [((3, 3), (2, 2), (1, 1)), ((2, 2), (1, 1), (1, 1)),
                                        ((4, 4), (2, 2), (2, 1)), ((4, 3), (2, 2), (1, 1))]
)  # fmt: skip
def test_not_every_convolution_is_one_of_blocks(kernel, strides, dilation):
    static = make_static(
        (9, 9), kernel, strides=strides, padding=((0, 0), (0, 0)), dilation=dilation,
        precision=None,
    )  # fmt: skip
    assert not blocks.is_possible(static.geometry)


@pytest.mark.parametrize(("group", "side"), [(P4M, 4), (octahedral(), 3)], ids=["p4m", "cube"])
def test_a_transposed_group_convolution(group, side, rng, x64):
    """As XLA has it, with gradients; of blocks there is no zero between pixels to multiply."""
    x = jnp.asarray(rng.normal(size=(1, *[side] * group.dimension, group.order, 1)))
    w = jnp.asarray(rng.normal(size=(*[4] * group.dimension, group.order, 1, 1)))

    def both(x, w):
        def conv(x, w):
            return group_conv_transpose(x, w, group=group, strides=2, padding=1)

        y, pull = jax.vjp(conv, x, w)
        return y, *pull(jnp.cos(y))

    found = {}
    for way in ("xla", "blocks"):
        with planar_implementation(way):
            found[way] = jax.jit(both)(x, w)
    for actual, expected in zip(found["blocks"], found["xla"], strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)
    with planar_implementation("blocks"):
        text = jax.jit(both).lower(x, w).as_text()
    assert "convolution" not in text


@pytest.mark.parametrize("shape", ["n, 8, 6, 2", "n, 2*a, 2*a, 2"])
def test_programs_for_any_number_of_images_or_pixels(shape, rng):
    w = jnp.asarray(rng.normal(size=(2, 2, 2, 3)), jnp.float32)

    def conv(x):
        return planar_conv(x, w, strides=(2, 2), padding=((0, 0), (0, 0)), dilation=(1, 1))

    symbolic = jax.ShapeDtypeStruct(export.symbolic_shape(shape), jnp.float32)
    with planar_implementation("blocks"):
        exported = export.export(jax.jit(conv))(symbolic)
    x = jnp.asarray(rng.normal(size=(5, 8, 6 if "6" in shape else 8, 2)), jnp.float32)
    np.testing.assert_allclose(exported.call(x), conv(x), rtol=1e-4, atol=1e-5)
