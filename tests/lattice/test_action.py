"""The left action on images, feature maps and cosets; rotation by any angle."""

import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gconv_jax import P4, P4M, cyclic, mirror, rotate, transform
from tests import oracles
from tests.helpers import act, assert_close, every_case, feature_map, image

QUARTER = np.pi / 2


@functools.cache
def transforms(group, *, lifted: bool, subgroup=None):
    """x to the list of L_g x for every g; compiled together, which is many times quicker."""

    def every(x):
        return [
            transform(x, group=group, element=g, lifted=lifted, subgroup=subgroup)
            for g in group.elements
        ]

    return jax.jit(every)


@pytest.mark.one_in(23)
@every_case
@pytest.mark.parametrize("size", [(4, 4), (5, 5), (4, 7), (1, 3)], ids=str)
def test_transform_is_the_definition(case, size, rng, x64):
    for lifted, draw in ((False, image), (True, feature_map)):
        x = draw(rng, case, size[: case.dimension], batch=2)
        for g, y in enumerate(transforms(case.group, lifted=lifted)(x)):
            assert_close(y, act(case, x, g, lifted=lifted), atol=0)


def assert_left_action(group, x, **options) -> None:
    """``L_g L_h x == L_gh x``; an action from the right would give hg."""
    every = transforms(group, **options)
    once = every(x)
    assert_close(once[group.identity], x, atol=0)
    for h in group.elements:
        twice = every(once[h])
        for g in group.elements:
            assert_close(twice[g], once[group.cayley[g, h]], atol=0)
        assert_close(twice[group.inverse[h]], x, atol=0)


@every_case
@pytest.mark.parametrize("lifted", [False, True])
def test_transform_is_a_left_action(case, lifted, rng, x64):
    draw = feature_map if lifted else image
    assert_left_action(case.group, draw(rng, case, (3, 4)[: case.dimension]), lifted=lifted)


@pytest.mark.parametrize("sub", [mirror(), P4, P4M.subgroup(5), P4M], ids=repr)
def test_transform_on_cosets_is_a_left_action(sub, rng, x64):
    x = rng.normal(size=(3, 4, 8 // sub.order, 2))
    assert_left_action(P4M, x, lifted=True, subgroup=sub)


def test_handedness_is_that_of_rot90(rng):
    x = rng.normal(size=(2, 4, 5, 3)).astype(np.float32)
    for g in range(4):
        turned = transform(jnp.asarray(x), group=P4, element=g, lifted=False)
        assert_close(turned, np.rot90(x, g, axes=(1, 2)), atol=0)
        turned = transform(jnp.asarray(x), group=P4M, element=4 + g, lifted=False)
        assert_close(turned, np.rot90(x[:, :, ::-1], g, axes=(1, 2)), atol=0)
    maps = rng.normal(size=(4, 5, 4, 2)).astype(np.float32)
    turned = transform(jnp.asarray(maps), group=P4, element=1, lifted=True)
    # What was orientation 0 becomes orientation 1.
    assert_close(turned, np.rot90(np.roll(maps, 1, axis=2)), atol=0)
    assert np.abs(turned - np.rot90(np.roll(maps, -1, axis=2))).max() > 0.1


@pytest.mark.parametrize("batch", [(), (2,), (2, 3), (0,)], ids=str)
def test_any_number_of_batch_axes(batch, rng):
    x = rng.normal(size=(*batch, 3, 4, 8, 2)).astype(np.float32)
    y = transform(jnp.asarray(x), group=P4M, element=5, lifted=True)
    assert y.shape == (*batch, 4, 3, 8, 2)
    for index in np.ndindex(*batch):
        expected = transform(jnp.asarray(x[index]), group=P4M, element=5, lifted=True)
        assert_close(y[index], expected, atol=0)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.uint8, jnp.bool_, jnp.complex64])
def test_transform_keeps_the_dtype(dtype):
    x = jnp.asarray(np.arange(2 * 3 * 4).reshape(2, 3, 4, 1) % 2, dtype)
    y = transform(x, group=P4, element=1, lifted=False)
    np.testing.assert_array_equal(np.asarray(y), np.rot90(np.asarray(x), axes=(1, 2)))
    assert y.dtype == dtype


ANGLES = [0.0, 0.3, 1.0, QUARTER, 2.0, np.pi, -2.5, 3 * QUARTER, 7.0]


@pytest.mark.parametrize("size", [(6, 6), (7, 7), (5, 8)], ids=str)
def test_rotate_is_bilinear_interpolation(size, rng, x64):
    x = rng.normal(size=(2, *size, 3))
    turn = jax.jit(rotate, static_argnames="fill")
    for angle, fill in itertools.product(ANGLES, (0.0, 1.5)):
        y = np.asarray(turn(x, angle, fill=fill))
        for n, c in ((0, 0), (1, 2)):
            expected = oracles.rotate(x[n, ..., c], angle, fill)
            # At quarter turns the border pixels lie on the border but for rounding.
            assert_close(y[n, ..., c], expected, atol=1e-12)


@pytest.mark.parametrize("size", [6, 7])
def test_rotate_by_quarter_turns_is_rot90(size, rng, x64):
    x, turn = rng.normal(size=(2, size, size, 3)), jax.jit(rotate)
    for turns in range(-4, 5):
        assert_close(turn(x, turns * QUARTER), np.rot90(x, turns, axes=(1, 2)), atol=1e-12)


def test_rotate_in_single_precision(rng):
    x = rng.normal(size=(1, 28, 28, 1)).astype(np.float32)
    assert_close(rotate(x, QUARTER), np.rot90(x, axes=(1, 2)), atol=1e-4)


def test_rotate_turns_counter_clockwise(x64):
    x = np.zeros((9, 9, 1))
    x[4, 7] = 1  # to the right of the center
    y = np.asarray(rotate(x, np.pi / 4))[..., 0]
    row, column = np.unravel_index(y.argmax(), y.shape)
    assert (row, column) == (2, 6)  # up and right


def test_rotate_batches_over_angles(rng, x64):
    x, angles = rng.normal(size=(3, 5, 5, 2)), np.array([0.1, 1.0, 2.0])
    each, turn = jax.jit(jax.vmap(rotate))(x, angles), jax.jit(rotate)
    for y, plane, angle in zip(np.asarray(each), x, angles, strict=True):
        assert_close(y, turn(plane, angle), atol=1e-13)


def test_rotate_is_differentiable(rng, x64):
    x = jnp.asarray(rng.normal(size=(1, 5, 5, 2)))
    loss = jax.jit(lambda x, angle: (rotate(x, angle) ** 2).sum())
    chex.assert_numerical_grads(loss, (x, 0.4), order=1, atol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "result"),
    [
        (jnp.float32, jnp.float32),
        (jnp.bfloat16, jnp.bfloat16),
        (jnp.float16, jnp.float16),
        (jnp.uint8, jnp.float32),
        (jnp.bool_, jnp.float32),
    ],
)
def test_rotate_dtypes(dtype, result):
    x = jnp.asarray(np.arange(36).reshape(6, 6, 1) % 2, dtype)
    y = rotate(x, 0.5, fill=1)
    assert y.dtype == result
    expected = oracles.rotate(np.asarray(x[..., 0], np.float64), 0.5, 1)
    assert_close(np.asarray(y[..., 0], np.float64), expected, atol=0.02)


def test_rotate_takes_complex_images_and_a_traced_fill(rng):
    x = jnp.asarray(rng.normal(size=(1, 5, 4, 1)) + 1j * rng.normal(size=(1, 5, 4, 1)))
    y = jax.jit(lambda x, fill: rotate(x, 0.5, fill=fill))(x, 2.0)
    expected = oracles.rotate(np.asarray(x.real)[0, ..., 0], 0.5, 2.0) + 1j * oracles.rotate(
        np.asarray(x.imag)[0, ..., 0], 0.5, 0.0
    )
    assert_close(y[0, ..., 0], expected, atol=1e-5)


def test_groups_of_other_angles_have_no_exact_action():
    with pytest.raises(ValueError, match=r"cyclic\(8\) turns by angles other than"):
        transform(jnp.ones((1, 4, 4, 1)), group=cyclic(8), element=1, lifted=False)
