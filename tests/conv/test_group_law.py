"""The law ``layer(L_g x) == L_g layer(x)``: every group, element, kernel size and parity.

Lifting and group convolution each by themselves, with the explicit action on the group axis: a
rotation and a shift of orientations that are both the wrong way round would cancel in a network.
"""

import itertools

import jax
import numpy as np
import pytest

from gconv_jax import group_conv, lift_conv
from tests.helpers import (
    KERNELS,
    act,
    every_case,
    feature_map,
    group_filter,
    image,
    law_error,
    lifting_filter,
    some_cases,
)

TOLERANCE = 1e-12
every_kernel = pytest.mark.parametrize("kernel", KERNELS)


def lift(case, w, **options):
    return jax.jit(lambda x: lift_conv(x, w, group=case.group, **options))


def convolve(case, w, **options):
    return jax.jit(lambda x: group_conv(x, w, group=case.group, **options))


def symmetric(kernel: int):
    """``SAME`` cannot be symmetric for an even kernel: one pixel more does."""
    return "SAME" if kernel % 2 else kernel // 2


@pytest.mark.one_in(10)
@every_case
@every_kernel
@pytest.mark.parametrize("size", [8, 9])
def test_lift_conv(case, kernel, size, rng, x64):
    layer = lift(case, lifting_filter(rng, case, kernel, 2, 2), padding=symmetric(kernel))
    assert law_error(layer, case, image(rng, case, size), lifted=(False, True)) < TOLERANCE


@pytest.mark.one_in(23)
@every_case
@every_kernel
@pytest.mark.parametrize("size", [8, 9])
def test_group_conv(case, kernel, size, rng, x64):
    layer = convolve(case, group_filter(rng, case, kernel, 2, 2), padding=symmetric(kernel))
    assert law_error(layer, case, feature_map(rng, case, size), lifted=(True, True)) < TOLERANCE


@some_cases("p4m", "diagonals", "pmm", "flip")
@pytest.mark.parametrize(("kernel", "size"), [(2, (7, 4)), (3, (4, 7)), (4, (5, 9)), (5, (8, 6))])
def test_images_that_are_not_square(case, kernel, size, rng, x64):
    """A quarter turn of an H x W image is W x H; the law holds all the same."""
    layer = lift(case, lifting_filter(rng, case, kernel, 1, 2), padding="VALID")
    assert law_error(layer, case, image(rng, case, size, 1), lifted=(False, True)) < TOLERANCE
    layer = convolve(case, group_filter(rng, case, kernel, 1, 2), padding=symmetric(kernel))
    assert law_error(layer, case, feature_map(rng, case, size, 1), lifted=(True, True)) < TOLERANCE


@some_cases("mirror", "pmm", "p2")
def test_oblong_filters(case, rng, x64):
    layer = convolve(case, group_filter(rng, case, (3, 2), 1, 2), padding=(1, 1))
    assert (
        law_error(layer, case, feature_map(rng, case, (5, 6), 1), lifted=(True, True)) < TOLERANCE
    )


@some_cases("mirror", "p4m", "line-mirror")
@pytest.mark.parametrize("padding", ["SAME", "VALID", "CIRCULAR", "REFLECT", 0, 2])
@pytest.mark.parametrize("dilation", [1, 2])
def test_every_padding_and_dilation(case, padding, dilation, rng, x64):
    options = {"padding": padding, "dilation": dilation}
    layer = convolve(case, group_filter(rng, case, 3, 2, 2), **options)
    assert law_error(layer, case, feature_map(rng, case, 6), lifted=(True, True)) < TOLERANCE


@every_case
def test_bias(case, rng, x64):
    layer = convolve(case, group_filter(rng, case, 3, 2, 2), bias=rng.normal(size=2))
    assert law_error(layer, case, feature_map(rng, case, 5), lifted=(True, True)) < TOLERANCE


@every_case
def test_two_layers(case, rng, x64):
    """The second layer expects of the group axis what the first one delivers."""
    first = lift(case, lifting_filter(rng, case, 3, 1, 2))
    second = convolve(case, group_filter(rng, case, 2, 2, 2), padding="VALID")
    x = image(rng, case, 6, 1)
    assert law_error(lambda x: second(first(x)), case, x, lifted=(False, True)) < TOLERANCE


@some_cases("mirror", "p4m")
def test_translations(case, rng, x64):
    """The rest of the group: a shift of the image shifts the result."""
    layer = lift(case, lifting_filter(rng, case, 3, 1, 2))
    x = np.zeros((1, 12, 12, 1))
    x[:, 4:8, 4:8] = rng.normal(size=(1, 4, 4, 1))
    y = np.asarray(layer(x))
    for shift in itertools.product((-3, 0, 2), repeat=2):
        shifted = np.asarray(layer(np.roll(x, shift, (1, 2))))
        np.testing.assert_allclose(shifted, np.roll(y, shift, (1, 2)), atol=1e-12, rtol=0)


def wrong_action(case, y, g, mistake: str) -> np.ndarray:
    """``L_g y`` with one mistake."""
    inverse = case.divide(g, 0)
    turned = inverse if mistake in ("space the other way", "both the other way") else g
    flat = y.reshape(*y.shape[:-2], -1)  # the orientations as channels: space alone moves
    moved = act(case, flat, turned, lifted=False).reshape(y.shape)
    matrices = case.matrices
    source = {
        "orientations stay": lambda h: h,
        "orientations the other way": lambda h: case.index(matrices[g] @ matrices[h]),
        "both the other way": lambda h: case.index(matrices[g] @ matrices[h]),
        "product on the right": lambda h: case.index(matrices[h] @ matrices[g].T),
    }.get(mistake, lambda h: case.divide(g, h))
    return moved[..., [source(h) for h in range(case.order)], :]


@some_cases("p4m")
@pytest.mark.parametrize(
    "mistake",
    [
        "orientations stay",
        "orientations the other way",
        "space the other way",
        "both the other way",
        "product on the right",
    ],
)
def test_negative_control(case, mistake, rng, x64):
    """The law holds for the right action only; that these tests pass is no accident."""
    g = 5 if mistake == "product on the right" else 1  # a mirror does not commute with turns
    layers = [
        (lift(case, lifting_filter(rng, case, 3, 2, 2)), image(rng, case, 6), False),
        (convolve(case, group_filter(rng, case, 3, 2, 2)), feature_map(rng, case, 6), True),
    ]
    for layer, x, lifted in layers:
        y, of_turned = np.asarray(layer(x)), np.asarray(layer(act(case, x, g, lifted=lifted)))
        scale = np.abs(y).max()
        assert np.abs(of_turned - act(case, y, g, lifted=True)).max() < TOLERANCE * scale
        assert np.abs(of_turned - wrong_action(case, y, g, mistake)).max() > 1e-3 * scale


@some_cases("p4")
def test_negative_control_filter_of_another_pose(case, rng, x64):
    """Mixing up two output orientations breaks the law: the filters really differ."""
    layer = convolve(case, group_filter(rng, case, 3, 2, 2))

    def shuffled(x):
        return layer(x)[..., [0, 2, 1, 3], :]

    assert law_error(shuffled, case, feature_map(rng, case, 6), lifted=(True, True)) > 1e-3
