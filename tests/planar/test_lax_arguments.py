"""`conv_general_dilated`, which takes the arguments of `jax.lax` and stands in for it in layers."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn, nnx
from jax import lax

from gconv_jax import conv_general_dilated
from tests.helpers import assert_close

pytestmark = pytest.mark.optimized

CHANNELS_LAST = {1: ("NWC", "WIO", "NWC"), 2: ("NHWC", "HWIO", "NHWC")}
# Shapes of images and filters, other arguments, and whether ours computes it or lax.
LIKE_LAX = {
    "same": ((2, 6, 7, 3), (3, 4, 3, 2), {"padding": "SAME"}, True),
    "strides": ((2, 6, 7, 3), (4, 3, 3, 2), {"padding": "SAME", "window_strides": (2, 3)}, True),
    "dilation": ((2, 9, 7, 3), (3, 2, 3, 2), {"padding": "SAME", "rhs_dilation": (2, 1)}, True),
    "pairs": ((2, 6, 7, 3), (3, 4, 3, 2), {"padding": [(1, 0), (2, 2)]}, True),
    "line": ((2, 6, 3), (3, 3, 2), {"padding": "VALID"}, True),
    "one-input": ((2, 6, 3), (3, 3, 2), {"padding": "VALID", "lhs_dilation": (1,)}, True),
    "groups": ((2, 6, 6, 4), (3, 3, 2, 4), {"feature_group_count": 2}, False),
    "dilated-input": ((2, 6, 3), (3, 3, 2), {"lhs_dilation": (2,), "padding": [(2, 1)]}, False),
    "batch-groups": ((2, 6, 3), (3, 3, 2), {"batch_group_count": 2}, False),
    "sums": ((2, 6, 3), (3, 3, 2), {"preferred_element_type": np.dtype("float64")}, False),
    "no-sums": ((2, 6, 3), (3, 3, 2), {"preferred_element_type": None}, True),
    "arrays": ((2, 9, 7, 3), (3, 2, 3, 2), {"rhs_dilation": np.array([2, 1])}, True),
    "first": ((2, 3, 6, 6), (2, 3, 3, 3), {"dimension_numbers": None}, False),
    "mixed": ((2, 3, 6, 6), (3, 3, 3, 2), {"dimension_numbers": ("NCHW", "HWIO", "NHWC")}, False),
}


@pytest.mark.parametrize("name", LIKE_LAX)
def test_with_the_arguments_of_lax(name, rng, x64):
    image, kernel, options, is_ours = LIKE_LAX[name]
    x, w = rng.standard_normal(image), rng.standard_normal(kernel)
    rank = len(image) - 2
    given = {
        "window_strides": (1,) * rank,
        "padding": "VALID",
        "dimension_numbers": CHANNELS_LAST[rank],
        **options,
    }
    result = conv_general_dilated(x, w, **given)
    assert_close(result, lax.conv_general_dilated(x, w, **given), atol=1e-12)
    program = str(jax.make_jaxpr(partial(conv_general_dilated, **given))(x, w))
    assert ("gconv_jax_planar_conv" in program) == is_ours


@pytest.mark.one_in(7)
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("padding", ["SAME", "VALID", "CIRCULAR", 1])
def test_ordinary_layers_of_flax(padding, strides, rng, x64):
    """`nnx.Conv` and `nn.Conv` with our convolution: their values, and the same gradients."""
    x = jnp.asarray(rng.standard_normal((2, 7, 8, 3)))
    settings = {"strides": strides, "padding": padding, "param_dtype": x.dtype}

    def of_nnx(x, **more):
        layer = nnx.Conv(3, 4, (3, 3), rngs=nnx.Rngs(0), **settings, **more)
        graph, state = nnx.split(layer)
        return jax.value_and_grad(lambda s, x: (nnx.merge(graph, s)(x) ** 3).sum(), (0, 1))(
            state, x
        )

    def of_linen(x, **more):
        layer = nn.Conv(4, (3, 3), **settings, **more)
        variables = layer.init(jax.random.key(0), x)
        return jax.value_and_grad(lambda v, x: (layer.apply(v, x) ** 3).sum(), (0, 1))(variables, x)

    for of in (of_nnx, of_linen):
        ours = of(x, conv_general_dilated=conv_general_dilated)
        jax.tree.map(partial(assert_close, atol=1e-11), ours, of(x))


def test_positions_of_the_arguments_of_lax(rng, x64):
    x, w = rng.standard_normal((2, 6, 6, 3)), rng.standard_normal((3, 3, 3, 2))
    arguments = ((1, 1), "SAME", None, None, CHANNELS_LAST[2], 1, 1, None, None)
    result = conv_general_dilated(x, w, *arguments)
    assert_close(result, lax.conv_general_dilated(x, w, *arguments), atol=1e-12)


@pytest.mark.parametrize(
    "bad",
    [
        {"padding": [(1, 1)]},
        {"padding": 1},
        {"padding": [(0.5, 0.5), (1, 1)]},
        {"rhs_dilation": (0, 1)},
        {"window_strides": (1,)},
        {"feature_group_count": 0},
        {"dimension_numbers": ("NHWC", "HWOI", "NHWC")},
        {"feature_groups": 1},
    ],
    ids=str,
)
def test_bad_arguments_of_lax(bad):
    """The error is the one that `jax.lax` raises."""
    x, w = jnp.ones((2, 6, 6, 3)), jnp.ones((3, 3, 3, 2))
    given = {"window_strides": (1, 1), "padding": "SAME", "dimension_numbers": CHANNELS_LAST[2]}
    with pytest.raises((TypeError, ValueError)) as theirs:
        lax.conv_general_dilated(x, w, **given | bad)
    with pytest.raises(theirs.type) as ours:
        conv_general_dilated(x, w, **given | bad)
    assert str(ours.value) == str(theirs.value)
