"""Groups of the cube on voxels: every layer and pooling against the definition, and the law."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gconv_jax import (
    InexactEquivarianceWarning,
    avg_pool,
    coset_pool,
    filter_bank,
    full_octahedral,
    group_conv,
    group_pool,
    klein_four,
    lift_conv,
    max_pool,
    mirror,
    octahedral,
    restrict,
    rotations_about,
    tetrahedral,
    transform,
    upsample,
)
from gconv_jax.groups.irreps import real_irreps
from tests import oracles
from tests.helpers import (
    Case,
    act,
    assert_close,
    feature_map,
    group_filter,
    image,
    law_error,
    lifting_filter,
)

# The matrices are the library's own: test_groups holds them to the definition.
CASES = [
    Case(name, group, group.matrices)
    for name, group in {
        "mirror": mirror(dimension=3),
        "about-depth": rotations_about(0),
        "about-width": rotations_about(2),
        "klein": klein_four(),
        "tetrahedral": tetrahedral(),
        "octahedral": octahedral(),
        "full": full_octahedral(),
    }.items()
]
every_case = pytest.mark.parametrize("case", CASES, ids=str)
OCTAHEDRAL = CASES[-2]


@pytest.mark.one_in(23)
@every_case
@pytest.mark.parametrize("shape", [(3, 3, 3), (2, 4, 3)], ids=str)
def test_transform_is_the_definition(case, shape, rng, x64):
    x = rng.normal(size=(2, *shape, case.order, 2))
    for g in range(case.order):
        options = {"group": case.group, "element": g}
        assert_close(transform(x, lifted=True, **options), act(case, x, g, lifted=True), atol=0)
        x0 = x[..., 0, :]
        assert_close(transform(x0, lifted=False, **options), act(case, x0, g, lifted=False), atol=0)


@every_case
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
@pytest.mark.parametrize("lifting", [True, False])
def test_bank_is_the_definition(case, kernel, lifting, rng, x64):
    w = (lifting_filter if lifting else group_filter)(rng, case, kernel, 1, 2)
    expected = oracles.bank(case, w, lifting=lifting)
    inputs = expected.shape[3:-2]
    expected = expected.reshape(*w.shape[:3], int(np.prod(inputs)), -1)
    assert_close(filter_bank(w, group=case.group, lifting=lifting), expected, atol=0)


CONVS = [
    # size, kernel, strides, padding, low, output
    (3, 3, 1, "SAME", 1, 3),
    (4, 3, 1, "SAME", 1, 4),
    (5, 3, 2, "SAME", 1, 3),
    (4, 2, 2, "VALID", 0, 2),
    (5, 2, 1, "VALID", 0, 4),
    (4, 1, 1, "VALID", 0, 4),
]


@pytest.mark.one_in(29)
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            c, marks=pytest.mark.slow if c.name in ("about-depth", "about-width", "klein") else ()
        )
        for c in CASES
    ],
    ids=str,
)
@pytest.mark.parametrize(("size", "kernel", "stride", "padding", "low", "out"), CONVS)
def test_convolutions_are_the_definition_and_keep_the_law(
    case, size, kernel, stride, padding, low, out, rng, x64
):
    options = {"group": case.group, "strides": stride, "padding": padding}
    of_oracle = {
        "strides": (stride,) * 3,
        "low": (low,) * 3,
        "output": (out,) * 3,
        "dilation": (1,) * 3,
    }
    x, w = image(rng, case, size), lifting_filter(rng, case, kernel, 2, 1)
    lift = jax.jit(lambda x: lift_conv(x, w, **options))
    assert_close(lift(x), oracles.conv(case, x, w, lifting=True, **of_oracle), atol=1e-12)
    assert law_error(lift, case, x, lifted=(False, True)) < 1e-12

    x, w = feature_map(rng, case, size, 1), group_filter(rng, case, kernel, 1, 1)
    expected = oracles.conv(case, x, w, lifting=False, **of_oracle)
    # The largest ones take seconds to compile by Fourier: once is enough for them.
    dense = case.order == 48 or (case.order > 4 and (size, kernel, stride) != (3, 3, 1))
    algorithms = ["dense"] if dense else ["dense", "fourier"]
    for algorithm in algorithms:
        conv = jax.jit(lambda x: group_conv(x, w, algorithm=algorithm, **options))  # noqa: B023
        assert_close(conv(x), expected, atol=1e-10)
        assert law_error(conv, case, x, lifted=(True, True)) < 1e-12


def test_all_48_by_fourier(rng, x64):
    """The same values and gradients as the dense form, whose bank has 48 x 48 filters."""
    case = CASES[-1]
    x, w = feature_map(rng, case, 3, 2), group_filter(rng, case, 3, 2, 1)
    cotangent = rng.normal(size=(1, 3, 3, 3, 48, 1))

    def both(algorithm):
        @jax.jit
        def of(x, w):
            y, pullback = jax.vjp(
                lambda x, w: group_conv(x, w, group=case.group, algorithm=algorithm), x, w
            )
            return y, *pullback(jnp.asarray(cotangent))

        return of(x, w)

    for dense, fourier in zip(both("dense"), both("fourier"), strict=True):
        assert_close(fourier, dense, atol=1e-10)


@pytest.mark.parametrize(("group", "fewer"), [(octahedral(), 9.0), (full_octahedral(), 18.0)])
def test_multiplications_that_fourier_saves(group, fewer):
    """|G|^2 / sum d^3: 576 / 64 for the rotations, 2304 / 128 with the mirrorings."""
    assert group.order**2 / sum(rho.cost for rho in real_irreps(group)) == fewer


@pytest.mark.one_in(16)
@every_case
def test_pools_keep_the_law(case, rng, x64):
    x = feature_map(rng, case, 4, 2)
    spatial = {"group": case.group, "lifted": True}
    for pool in (max_pool, avg_pool):
        of = functools.partial(pool, window_shape=2, **spatial)
        assert law_error(of, case, x, lifted=(True, True)) < 1e-14
        np.testing.assert_allclose(
            of(x),
            oracles.pool(
                x,
                first=1,
                window=(2,) * 3,
                strides=(2,) * 3,
                low=(0,) * 3,
                output=(2,) * 3,
                reduce=lambda v: v.max(0) if pool is max_pool else v.mean(0),  # noqa: B023
            ),
            atol=1e-14,
        )
    for method in ("nearest", "bilinear"):
        of = functools.partial(upsample, scale=2, method=method, **spatial)
        assert law_error(of, case, x, lifted=(True, True)) < 1e-13
    assert law_error(group_pool, case, x, lifted=(True, False)) < 1e-14


def test_restriction_and_cosets(rng, x64):
    """The group is that of the cube, and the subgroup has the rotations about one axis."""
    sub, case = rotations_about(1), OCTAHEDRAL
    x = feature_map(rng, case, 3, 2)
    members = case.group.indices(sub)
    lower = Case("sub", sub, sub.matrices)
    y = np.asarray(restrict(x, group=case.group, subgroup=sub))
    assert y.shape == (1, 3, 3, 3, 4, 12)
    for h, g in enumerate(members):
        turned = restrict(act(case, x, int(g), lifted=True), group=case.group, subgroup=sub)
        assert_close(turned, act(lower, y, h, lifted=True), atol=0)
    pooled = coset_pool(x, group=case.group, subgroup=sub)
    for g in case.group.elements:
        of_turned = coset_pool(act(case, x, g, lifted=True), group=case.group, subgroup=sub)
        options = {"group": case.group, "element": g, "lifted": True, "subgroup": sub}
        assert_close(of_turned, transform(pooled, **options), atol=0)


def test_negative_controls(rng, x64):
    x = image(rng, OCTAHEDRAL, 4)
    w = lifting_filter(rng, OCTAHEDRAL, 3, 2, 1)
    lift = functools.partial(lift_conv, w=w, group=octahedral(), strides=2, padding=1)
    with pytest.warns(InexactEquivarianceWarning):
        assert law_error(lift, OCTAHEDRAL, x, lifted=(False, True)) > 1e-2
    # A filter that is not turned.
    plain = lambda x: jnp.repeat(lift_conv(x, w, group=klein_four().subgroup(0)), 24, -2)  # noqa: E731
    assert law_error(plain, OCTAHEDRAL, x, lifted=(False, True)) > 1e-2


def test_bad_input():
    x = jnp.ones((1, 4, 4, 4, 1))
    with pytest.raises(
        ValueError, match=r"`w` must be \[\*kernel, C_in, C_out\] with 3 kernel axes"
    ):
        lift_conv(x, jnp.ones((3, 3, 1, 2)), group=octahedral())
    with pytest.raises(ValueError, match=r"`x` must be \[\*batch, D, H, W, C_in=1\]"):
        lift_conv(x[0, 0], jnp.ones((3, 3, 3, 1, 2)), group=octahedral())
    oblong = jnp.ones((3, 3, 1, 1, 2))
    with pytest.raises(ValueError, match="`kernel_size` must be equal on axes that octahedral"):
        lift_conv(x, oblong, group=octahedral())
    with pytest.raises(ValueError, match="`axis` must be 0, 1 or 2"):
        rotations_about(3)
    with pytest.raises(TypeError, match="`axis` must be an integer"):
        rotations_about("up")
    with pytest.raises(ValueError, match="`filters` must be 'pixel' for a group that does not act"):
        lift_conv(x, jnp.ones((3, 1, 2)), group=octahedral(), filters="harmonic", kernel_size=3)
