"""Depthwise group convolutions, against a sum written out, with every group and size."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import gconv_jax.linen
from gconv_jax import (
    P4M,
    P6,
    cyclic,
    depthwise_group_conv,
    group_linear,
    octahedral,
    separable_group_conv,
)
from gconv_jax.nnx import DepthwiseGroupConv
from tests.helpers import (
    BY_NAME,
    assert_close,
    every_case,
    feature_map,
    law_error,
    lifting_filter,
    some_cases,
)


def in_order(case, x):
    """Return a feature map over the elements by hand as one over those of the library."""
    return x[..., [case.index(np.rint(m).astype(int)) for m in case.group.matrices], :]


@pytest.mark.one_in(13)
@every_case
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
def test_law(case, kernel, rng, x64):
    w = lifting_filter(rng, case, kernel, 1, 3)
    for size in (5, 6):
        x = feature_map(rng, case, size, 3)
        odd = ((1, "SAME"), (1, "CIRCULAR"), (2, "VALID")) if kernel % 2 and size % 2 else ()
        for strides, padding in ((1, "VALID"), (1, kernel - 1), *odd):

            def fn(x, strides=strides, padding=padding):
                return depthwise_group_conv(
                    x, w, group=case.group, strides=strides, padding=padding
                )

            assert law_error(fn, case, x, lifted=(True, True)) < 1e-12


@some_cases("p4", "p4m", "diagonals")
def test_values(case, rng, x64):
    """``y(p, h)[c] = sum_t x(p + h t, h)[c] w(t)[c]``, by hand."""
    x, w = feature_map(rng, case, 6, 2), lifting_filter(rng, case, 3, 1, 2)
    b = rng.normal(size=2)
    y = np.asarray(depthwise_group_conv(in_order(case, x), w, bias=b, group=case.group))
    expected = np.zeros_like(x) + b
    for h, row, column in np.ndindex(case.order, 6, 6):
        for t in np.ndindex(3, 3):
            offset = case.matrices[h] @ (np.array(t) - 1)
            i, j = row + offset[0], column + offset[1]
            if 0 <= i < 6 and 0 <= j < 6:
                expected[0, row, column, h] += x[0, i, j, h] * w[t][0]
    assert_close(y, in_order(case, expected), atol=1e-12)


def test_a_separable_convolution_is_this_after_a_linear_map(rng, x64):
    x, w = rng.normal(size=(2, 6, 6, 8, 3)), rng.normal(size=(3, 3, 1, 4))
    pointwise = rng.normal(size=(8, 3, 4))
    y = depthwise_group_conv(group_linear(x, pointwise, group=P4M), w, group=P4M)
    expected = separable_group_conv(x, w, pointwise, group=P4M)
    assert_close(y, expected, atol=1e-12)


def test_negative_control_filters_that_do_not_turn(rng, x64):
    case = BY_NAME["p4"]
    w = lifting_filter(rng, case, 3, 1, 2)

    def fn(x):
        each = [depthwise_group_conv(x[..., :1, :], w, group=gconv_jax.Z2)] * 4
        return jnp.concatenate(each, -2)

    assert law_error(fn, case, feature_map(rng, case, 5, 2), lifted=(True, True)) > 1e-2


@pytest.mark.parametrize("group", [cyclic(8), octahedral()], ids=str)
def test_nnx_is_linen_is_the_pure_function(group, rng):
    options = {"filters": "harmonic"} if group.dimension == 2 else {}
    layer = DepthwiseGroupConv(4, 3, group=group, rngs=nnx.Rngs(0), **options)
    module = gconv_jax.linen.DepthwiseGroupConv(4, 3, group=group, **options)
    x = jnp.asarray(rng.normal(size=(1, *[5] * group.dimension, group.order, 4)), jnp.float32)
    kernel = layer.kernel[...]
    y = (
        depthwise_group_conv(x, kernel, group=group, kernel_size=3, **options)
        if options
        else (depthwise_group_conv(x, kernel, group=group))
    )
    assert kernel.shape[-2:] == (1, 4)
    assert_close(layer(x), y, atol=1e-6)
    params = {"kernel": kernel, "bias": jnp.zeros(4)}
    assert_close(module.apply({"params": params}, x), y, atol=1e-6)


def test_bad_input():
    x, w = jnp.ones((1, 5, 5, 8, 3)), jnp.ones((3, 3, 1, 3))
    with pytest.raises(ValueError, match=r"`w` \[\*kernel, 1, C\] for P4M, got shapes"):
        depthwise_group_conv(x, jnp.ones((3, 3, 1, 4)), group=P4M)
    with pytest.raises(ValueError, match=r"`w` \[\*kernel, 1, C\] for P4M, got shapes"):
        depthwise_group_conv(x, jnp.ones((3, 3, 3, 3)), group=P4M)
    with pytest.raises(ValueError, match="must act on square pixels or voxels for depthwise"):
        depthwise_group_conv(x[..., :6, :], w, group=P6)
