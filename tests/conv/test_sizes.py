"""Strides, paddings and sizes: the law holds where the rule allows; elsewhere the library warns,
the law is broken indeed, and the sizes that the warning names keep it."""

import re
import warnings

import jax
import numpy as np
import pytest

from gconv_jax import InexactEquivarianceWarning, avg_pool, group_conv, lift_conv, max_pool
from tests.helpers import (
    CASES,
    feature_map,
    group_filter,
    image,
    law_error,
    lifting_filter,
    some_cases,
)

TOLERANCE = 1e-12
BROKEN = 1e-3


def rule(n: int, k: int, s: int, padding) -> bool:
    """``(n + 2p - k) % s == 0``; for SAME, whether a p gives ceil(n / s) windows so."""
    if padding == "VALID":
        padding = 0
    if padding == "SAME":
        excess = (-(-n // s) - 1) * s + k - n  # 2p
        return excess >= 0 and excess % 2 == 0
    return n + 2 * padding >= k and (n + 2 * padding - k) % s == 0


def conv(case, rng, k, s, padding, d=1):
    w = group_filter(rng, case, k, 1, 2)
    options = {"strides": s, "padding": padding, "dilation": d}
    return jax.jit(lambda x: group_conv(x, w, group=case.group, **options))


def error_and_warning(layer, case, x, lifted) -> tuple[float, str | None]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        error = law_error(layer, case, x, lifted=lifted)
    assert all(w.category is InexactEquivarianceWarning for w in caught)
    return error, str(caught[0].message) if caught else None


def named_sizes(message: str) -> list[int]:
    return [int(m) for m in re.search(r"keep it: (\d+(?: and \d+)?)", message)[1].split(" and ")]


def check(layer, case, draw, lifted, n: int, good: bool) -> None:
    error, message = error_and_warning(layer, case, draw(n), lifted)
    if good:
        assert message is None
        assert error < TOLERANCE
        return
    assert f"size {n}, " in message
    assert error > BROKEN
    if "nearest" in message:
        for m in named_sizes(message):
            assert law_error(layer, case, draw(m), lifted=lifted) < TOLERANCE


@pytest.mark.one_in(36)
@some_cases("p4m", "line-mirror")
@pytest.mark.parametrize("strides", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, pytest.param(5, marks=pytest.mark.slow)])
@pytest.mark.parametrize("padding", ["SAME", "VALID", 1])
def test_group_conv(case, kernel, strides, padding, rng, x64):
    layer = conv(case, rng, kernel, strides, padding)

    def draw(n):
        return feature_map(rng, case, n, 1)

    for good in (True, False):
        of_this_kind = [n for n in (7, 8, 9) if rule(n, kernel, strides, padding) == good]
        for n in of_this_kind[:1]:
            check(layer, case, draw, (True, True), n, good)


@some_cases("p4", "flip")
@pytest.mark.parametrize(("strides", "dilation", "padding"), [(2, 2, 2), (3, 2, "SAME"), (2, 3, 0)])
@pytest.mark.parametrize("kernel", [2, 3])
def test_dilated_lift_conv(case, strides, dilation, padding, kernel, rng, x64):
    """The window is the dilated filter."""
    w = lifting_filter(rng, case, kernel, 1, 2)
    options = {"strides": strides, "padding": padding, "dilation": dilation}
    layer = jax.jit(lambda x: lift_conv(x, w, group=case.group, **options))
    window = (kernel - 1) * dilation + 1

    def draw(n):
        return image(rng, case, n, 1)

    for good in (True, False):
        of_this_kind = [n for n in range(9, 13) if rule(n, window, strides, padding) == good]
        for n in of_this_kind[:1]:
            check(layer, case, draw, (False, True), n, good)


@pytest.mark.one_in(23)
@some_cases("p4", "line-mirror")
@pytest.mark.parametrize("pool", [max_pool, avg_pool])
@pytest.mark.parametrize(("window", "strides"), [(2, 2), (3, 2), (3, 3), (2, 1), (3, 1)])
@pytest.mark.parametrize("padding", ["VALID", "SAME", 1])
def test_pools(case, pool, window, strides, padding, rng, x64):
    options = {"window_shape": window, "strides": strides, "padding": padding}
    layer = jax.jit(lambda x: pool(x, group=case.group, lifted=True, **options))

    def draw(n):
        return feature_map(rng, case, n, 1)

    for good in (True, False):
        of_this_kind = [n for n in (7, 8, 9) if rule(n, window, strides, padding) == good]
        for n in of_this_kind[:1]:
            check(layer, case, draw, (True, True), n, good)


@pytest.mark.parametrize("seed", range(4))
def test_warns_iff_the_law_is_broken(seed, x64):
    """Random sizes and options, different on each axis where the group lets them be."""
    rng = np.random.default_rng(seed)
    for case in CASES:
        turns = (np.abs(case.matrices)[:, 0, 1:] != 0).any()
        free = case.dimension if not turns else 1

        def per_axis(least, most, free=free, case=case, rng=rng):
            values = rng.integers(least, most + 1, size=free).tolist()
            return tuple(values * case.dimension)[: case.dimension]

        kernel, strides, size = per_axis(1, 4), per_axis(1, 3), rng.integers(7, 12, case.dimension)
        pads = tuple(zip(per_axis(0, 2), per_axis(0, 2), strict=True))
        padding = ["SAME", "VALID", "CIRCULAR", pads][rng.integers(4)]
        layer = conv(case, rng, kernel, strides, padding)
        x = feature_map(rng, case, tuple(size.tolist()), 1)
        error, message = error_and_warning(layer, case, x, (True, True))
        assert (error > BROKEN) == (message is not None), (kernel, strides, padding, size, message)
        assert message or error < TOLERANCE


@some_cases("p4m")
def test_kernels_larger_than_the_image(case, rng, x64):
    layer = conv(case, rng, 7, 1, "SAME")
    assert law_error(layer, case, feature_map(rng, case, 4, 1), lifted=(True, True)) < TOLERANCE


@some_cases("mirror", "flip")
def test_the_other_axis_is_free(case, rng, x64):
    """A mirror group warns of the axis that it reverses, and of no other."""
    reversed_axis = 1 if case.name == "mirror" else 0
    sizes, layer = [6, 6], conv(case, rng, 2, 2, "VALID")
    sizes[1 - reversed_axis] = 7
    assert (
        law_error(layer, case, feature_map(rng, case, tuple(sizes), 1), lifted=(True, True))
        < TOLERANCE
    )
    error, message = error_and_warning(
        layer, case, feature_map(rng, case, tuple(reversed(sizes)), 1), (True, True)
    )
    assert f"spatial axis {reversed_axis}: size 7" in message
    assert error > BROKEN


@some_cases("diagonal", "p4")
def test_options_that_differ_between_exchanged_axes(case, rng, x64):
    x = feature_map(rng, case, 7, 1)
    for s, padding in [((1, 2), 1), (1, ((1, 1), (0, 0))), ((1, 3), 0)]:
        layer = conv(case, rng, 3, s, padding)
        with pytest.warns(InexactEquivarianceWarning, match="exchanges axes 1 and 0"):
            y = layer(x)
        assert y.shape[1] != y.shape[2], "a turned image gives another shape"


@some_cases("p4", "line-mirror")
def test_even_kernel_with_same(case, rng, x64):
    """As many pixels as before cannot be had symmetrically: the remedy in the message works."""
    layer = conv(case, rng, 4, 1, "SAME")
    error, message = error_and_warning(layer, case, feature_map(rng, case, 8, 1), (True, True))
    assert "the padding is not symmetric" in message
    assert error > BROKEN
    assert message.endswith("padding=2 does")
    for padding in ("VALID", 2):
        layer = conv(case, rng, 4, 1, padding)
        x = feature_map(rng, case, 8, 1)
        assert law_error(layer, case, x, lifted=(True, True)) < TOLERANCE
