"""Pooling over the group, over cosets and over space; restriction; upsampling."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gconv_jax import (
    P4,
    P4M,
    Z2,
    InexactEquivarianceWarning,
    avg_pool,
    blur_pool,
    coset_pool,
    cyclic,
    dihedral,
    group_pool,
    induce,
    max_pool,
    mirror,
    restrict,
    transform,
    upsample,
)
from tests import oracles
from tests.helpers import (
    BY_NAME,
    act,
    assert_close,
    every_case,
    feature_map,
    image,
    law_error,
    some_cases,
)

P4M_CASE = BY_NAME["p4m"]
SUBGROUPS = [Z2, mirror(), P4M.subgroup(5), cyclic(2), P4, dihedral(2), P4M.subgroup(2, 5), P4M]
every_subgroup = pytest.mark.parametrize("sub", SUBGROUPS, ids=repr)
every_reduce = pytest.mark.parametrize("reduce", ["max", "mean"])


@every_case
@every_reduce
def test_group_pool(case, reduce, rng, x64):
    x = feature_map(rng, case, 4)
    pool = functools.partial(group_pool, reduce=reduce, group=case.group)
    assert_close(pool(x), getattr(np, reduce)(x, axis=-2), atol=1e-15)
    assert law_error(pool, case, x, lifted=(True, False)) < 1e-14


@every_subgroup
@every_reduce
def test_coset_pool_is_the_definition(sub, reduce, rng, x64):
    """``y(gH) = max_h x(gh)``, by products of the matrices written by hand."""
    x = feature_map(rng, P4M_CASE, 3)
    y = coset_pool(x, group=P4M, subgroup=sub, reduce=reduce)
    seen = {}
    for g in range(8):
        coset = [P4M_CASE.index(P4M_CASE.matrices[g] @ h) for h in np.rint(sub.matrices)]
        seen.setdefault(frozenset(coset), getattr(np, reduce)(x[..., coset, :], axis=-2))
    # Cosets stand in the order of their smallest elements, which is that of first sight.
    assert_close(y, np.stack(list(seen.values()), -2), atol=1e-15)


@every_subgroup
def test_coset_pool_keeps_the_law(sub, rng, x64):
    x = feature_map(rng, P4M_CASE, 4)
    turned = [act(P4M_CASE, x, g, lifted=True) for g in range(8)]

    @jax.jit
    def both_sides(turned):
        pooled = [coset_pool(x, group=P4M, subgroup=sub) for x in turned]
        acted = [
            transform(pooled[0], group=P4M, element=g, lifted=True, subgroup=sub) for g in range(8)
        ]
        return pooled, acted

    pooled, acted = both_sides(turned)
    for of_turned, expected in zip(pooled, acted, strict=True):
        assert_close(of_turned, expected, atol=0)
    if sub == Z2:
        assert_close(pooled[0], x, atol=0)
    if sub == P4M:
        assert_close(np.asarray(pooled[0])[..., 0, :], group_pool(x), atol=0)


def right_coset_pool(x, sub):
    return x[..., P4M.cosets(sub, side="right"), :].max(axis=-2)


@pytest.mark.parametrize(("sub", "normal"), [(mirror(), False), (P4, True)], ids=str)
def test_negative_control_right_cosets(sub, normal, rng, x64):
    """Pooled over right cosets of a subgroup that is not normal, no permutation of the results
    is the action of the group."""
    x = feature_map(rng, P4M_CASE, 4)
    y = right_coset_pool(x, sub)
    distances = []
    for g in range(8):
        of_turned = right_coset_pool(act(P4M_CASE, x, g, lifted=True), sub)
        # The nearest of the turned cosets is compared with every coset of the turned map.
        turned = [act(P4M_CASE, y[..., i, :], g, lifted=False) for i in range(y.shape[-2])]
        for i in range(y.shape[-2]):
            distances.append(min(np.abs(of_turned[..., i, :] - t).max() for t in turned))
    assert (max(distances) < 1e-15) == normal
    assert normal or max(distances) > 1e-3


def restriction_error(sub, restricted) -> float:
    """Return the equivariance error of ``restricted`` under the elements of ``sub``."""
    case = next(case for case in BY_NAME.values() if case.group == sub)
    x = feature_map(np.random.default_rng(0), P4M_CASE, 4)
    y = np.asarray(restricted(x))
    assert y.shape == (*x.shape[:-2], sub.order, 8 // sub.order * x.shape[-1])
    errors = []
    for h in range(case.order):
        of_turned = restricted(act(P4M_CASE, x, P4M_CASE.index(case.matrices[h]), lifted=True))
        errors.append(np.abs(np.asarray(of_turned) - act(case, y, h, lifted=True)).max())
    return max(errors)


@every_subgroup
def test_restrict_keeps_the_law_of_the_subgroup(sub, x64):
    assert restriction_error(sub, lambda x: restrict(x, group=P4M, subgroup=sub)) == 0


@pytest.mark.parametrize("sub", [mirror(), P4M.subgroup(5)], ids=repr)
def test_negative_control_restrict_by_left_cosets(sub, x64):
    def by_left_cosets(x):
        return x[..., P4M.cosets(sub).T, :].reshape(*x.shape[:-2], sub.order, -1)

    assert restriction_error(sub, by_left_cosets) > 1e-3


@every_subgroup
def test_restrict_loses_nothing(sub):
    x = np.arange(8 * 3.0, dtype=np.float32).reshape(8, 3)
    y = np.asarray(restrict(x, group=P4M, subgroup=sub))
    assert sorted(y.ravel()) == list(x.ravel())
    assert_close(y[0, :3], x[0], atol=0)  # identity and first coset: the raw features
    # Channels stay together: every run of C is one orientation of the input.
    assert {tuple(run) for run in y.reshape(-1, 3)} == {tuple(row) for row in x}


@pytest.mark.parametrize("lifted", [True, False])
@some_cases("pmm", "line-mirror")
def test_spatial_pools_are_the_definition(case, lifted, rng, x64):
    draw = feature_map if lifted else image
    x = draw(rng, case, (7, 6)[: case.dimension], batch=2)
    for window, strides, padding, low, output in [
        ((3, 2), (2, 2), "VALID", (0, 0), (3, 3)),
        ((3, 4), (2, 2), 1, (1, 1), (4, 3)),
        ((3, 3), (1, 1), "SAME", (1, 1), (7, 6)),
    ]:
        d = case.dimension
        options = {"window_shape": window[:d], "strides": strides[:d], "padding": padding}
        oracle = functools.partial(
            oracles.pool,
            x,
            first=1,
            window=window[:d],
            strides=strides[:d],
            low=low,
            output=output[:d],
        )
        y = max_pool(x, group=case.group, lifted=lifted, **options)
        assert_close(y, oracle(reduce=lambda pixels: pixels.max(axis=0)), atol=0)
        y = avg_pool(x, group=case.group, lifted=lifted, **options)
        total = oracle(reduce=lambda pixels: pixels.sum(axis=0))
        assert_close(y, total / np.prod(window[:d]), atol=1e-14)


def test_windows_tile_by_default(rng):
    x = rng.normal(size=(2, 6, 6, 4, 3)).astype(np.float32)
    for pool in (max_pool, avg_pool):
        tiled = pool(x, group=P4, window_shape=2, lifted=True)
        assert tiled.shape == (2, 3, 3, 4, 3)
        assert_close(pool(x, group=P4, window_shape=2, strides=2, lifted=True), tiled, atol=0)


def test_padding_never_wins_a_maximum():
    for dtype in (jnp.float32, jnp.bfloat16, jnp.int32, jnp.uint8):
        low = 0 if dtype == jnp.uint8 else -5
        y = max_pool(
            jnp.full((1, 3, 3, 1), low, dtype),
            group=P4,
            window_shape=3,
            strides=1,
            padding=1,
            lifted=False,
        )
        assert_close(y, jnp.full((1, 3, 3, 1), low, dtype), atol=0)


@pytest.mark.one_in(16)
@every_case
def test_upsample_keeps_the_law(case, rng, x64):
    for method, scale, lifted in [
        ("nearest", 2, True),
        ("nearest", 3, False),
        ("bilinear", 2, False),
        ("bilinear", 3, True),
    ]:
        options = {"group": case.group, "scale": scale, "method": method, "lifted": lifted}
        x = (feature_map if lifted else image)(rng, case, (3, 4)[: case.dimension])
        fn = jax.jit(functools.partial(upsample, **options))
        assert law_error(fn, case, x, lifted=(lifted, lifted)) < 1e-12


def test_upsample_is_the_definition(x64):
    x = np.array([1.0, 3.0, 2.0]).reshape(1, 3, 1)
    line = mirror(1)
    y = upsample(x, group=line, scale=2, lifted=False)
    assert_close(y.ravel(), np.array([1.0, 1, 3, 3, 2, 2]), atol=0)
    # Centers of the new pixels lie a quarter of an old pixel from those of the old.
    y = upsample(x, group=line, scale=2, method="bilinear", lifted=False)
    assert_close(y.ravel(), np.array([1, 1.5, 2.5, 2.75, 2.25, 2]), atol=1e-12)
    assert_close(upsample(x, group=line, scale=1, lifted=False), x, atol=0)


def test_upsample_undoes_pooling_of_constants(rng):
    x = np.repeat(np.repeat(rng.normal(size=(1, 3, 3, 4, 2)), 2, 1), 2, 2).astype(np.float32)
    pooled = avg_pool(x, group=P4, window_shape=2, lifted=True)
    assert_close(upsample(pooled, group=P4, scale=2, lifted=True), x, atol=1e-6)


def test_means_are_summed_without_overflow():
    """A sum in the input's own dtype would overflow: 255 + 255 is 254 in uint8."""
    for dtype, value in ((jnp.uint8, 255), (jnp.int8, -100), (jnp.float16, 60_000)):
        y = avg_pool(jnp.full((1, 4, 4, 1), value, dtype), group=P4, window_shape=2, lifted=False)
        assert y.dtype == (dtype if dtype == jnp.float16 else jnp.float32)
        np.testing.assert_array_equal(np.asarray(y, np.float32), np.float32(dtype(value)))
    ones = jnp.ones((1, 64, 64, 1), jnp.bfloat16)
    y = avg_pool(ones, group=P4, window_shape=64, lifted=False)
    assert_close(y, jnp.ones((1, 1, 1, 1), jnp.bfloat16), atol=0)


def test_a_window_that_would_lie_in_the_padding_alone_is_refused():
    for pool in (max_pool, avg_pool):
        with pytest.raises(ValueError, match=r"`padding` of \w+ must be smaller than the window"):
            pool(jnp.ones((1, 9, 9, 2)), group=P4, window_shape=3, padding=3, lifted=False)


@pytest.mark.parametrize("padding", ["VALID", 1])
@pytest.mark.parametrize("window", [2, 3, 5])
def test_gradient_of_max_pool_goes_to_the_largest(window, padding, rng):
    """Each window gives 1 to its maximum."""
    x = rng.permutation(2 * 9 * 9).reshape(2, 9, 9, 1).astype(np.float32)

    def pool(x):
        return max_pool(x, group=Z2, window_shape=window, strides=1, padding=padding, lifted=False)

    gradient = np.asarray(jax.jit(jax.grad(lambda x: pool(x).sum()))(x))
    counts = np.array([(np.asarray(pool(x)) == value).sum() for value in x.ravel()])
    np.testing.assert_array_equal(gradient.ravel(), counts)


BLURS = [(5, 3, 1), (6, 4, 1), (6, 2, 0), (7, 5, 2), (5, 3, 0)]  # size, window, padding


@some_cases("p4m", "diagonal", "line-mirror")
@pytest.mark.parametrize(("size", "window", "padding"), BLURS)
def test_blur_pool_is_the_definition_and_keeps_the_law(case, size, window, padding, rng, x64):
    """A convolution with binomials on each axis, of which every other pixel is kept."""
    x = feature_map(rng, case, size)
    options = {"window_shape": window, "strides": 2, "padding": padding, "lifted": True}
    pool = jax.jit(functools.partial(blur_pool, group=case.group, **options))
    row = functools.reduce(np.convolve, [[0.5, 0.5]] * (window - 1))
    expected = x
    for axis in range(1, 1 + case.dimension):
        pads = [(0, 0)] * x.ndim
        pads[axis] = (padding, padding)
        padded = np.pad(expected, pads)
        blurred = np.apply_along_axis(np.convolve, axis, padded, row, "valid")
        expected = np.take(blurred, range(0, blurred.shape[axis], 2), axis)
    assert_close(pool(x), expected, atol=1e-14)
    assert law_error(pool, case, x, lifted=(True, True)) < 1e-14


def test_blur_pool_of_other_types_and_sizes():
    y = blur_pool(jnp.full((1, 4, 4, 1), 255, jnp.uint8), group=P4, window_shape=2, strides=2,
                  lifted=False)  # fmt: skip
    assert_close(y, jnp.full((1, 2, 2, 1), 255, jnp.float32), atol=0)
    with pytest.warns(InexactEquivarianceWarning, match="blur_pool"):
        blur_pool(jnp.ones((1, 6, 6, 1)), group=P4, window_shape=3, strides=2, padding=1,
                  lifted=False)  # fmt: skip


@every_subgroup
def test_induce(sub, rng, x64):
    case = next(case for case in BY_NAME.values() if case.group == sub)
    x = feature_map(rng, case, 4)
    up = functools.partial(induce, group=P4M, subgroup=sub)
    y = np.asarray(up(x))
    for h in range(case.order):
        g = P4M_CASE.index(case.matrices[h])
        assert_close(up(act(case, x, h, lifted=True)), act(P4M_CASE, y, g, lifted=True), atol=0)
    # Restricted again, it is itself beside zeros; and the two are adjoint.
    back = np.asarray(restrict(y, group=P4M, subgroup=sub))
    assert_close(back[..., : x.shape[-1]], x, atol=0)
    assert not back[..., x.shape[-1] :].any()
    z = feature_map(rng, P4M_CASE, 4)
    down = np.asarray(restrict(z, group=P4M, subgroup=sub))[..., : x.shape[-1]]
    np.testing.assert_allclose((y * z).sum(), (x * down).sum(), rtol=1e-12)


def test_induce_checks_its_input():
    with pytest.raises(ValueError, match=r"`x` must be \[..., \|G\|=4, C\] for P4"):
        induce(jnp.ones((1, 3, 3, 8, 2)), group=P4M, subgroup=P4)
    with pytest.raises(ValueError, match="`subgroup` must be a subgroup"):
        induce(jnp.ones((1, 3, 3, 8, 2)), group=P4, subgroup=P4M)


@pytest.mark.parametrize("size", [(6, 6), (7, 6), (9, 5)], ids=str)
@pytest.mark.parametrize("channels", [3, 16])
@pytest.mark.filterwarnings("ignore::gconv_jax.InexactEquivarianceWarning")
def test_gradient_of_windows_that_tile(size, channels, rng, x64):
    """It goes to the largest of each window, and half to each of two that are equal, with either
    derivative (`max_of_pairs_pays`)."""
    x = rng.permutation(2 * np.prod(size) * channels).reshape(2, *size, channels).astype(float)
    x[:, 2:4, 2:4] = 0
    x[:, 2, 2:4] = 1
    rows, columns = (n // 2 for n in size)
    cotangent = rng.normal(size=(2, rows, columns, channels))
    y, pullback = jax.vjp(jax.jit(lambda x: max_pool(x, group=Z2, window_shape=2, lifted=False)), x)
    expected = np.zeros_like(x)
    for i, j in np.ndindex(rows, columns):
        window = x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        largest = window.max((1, 2), keepdims=True)
        np.testing.assert_array_equal(y[:, i, j], largest[:, 0, 0])
        wins = window == largest
        share = wins / wins.sum((1, 2), keepdims=True)
        expected[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2] = share * cotangent[:, None, i, None, j]
    assert_close(pullback(cotangent)[0], expected, atol=0)


@pytest.mark.parametrize("channels", [1, 5])
def test_the_gradient_of_max_pool_turns_with_its_input(channels, rng, x64):
    """8 channels in all, or 40."""
    x = feature_map(rng, P4M_CASE, 6, channels=channels)
    pool = functools.partial(max_pool, group=P4M, window_shape=2, lifted=True)
    gradient = jax.jit(jax.grad(lambda x: jnp.sin(pool(x)).sum()))
    assert law_error(gradient, P4M_CASE, x, lifted=(True, True)) < 1e-14
