"""Moves by elements that are known when a program is traced, and by those that are not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gconv_jax import P4, P4M, P6M, Fields, cyclic, dihedral, octahedral, rotate, transform
from gconv_jax.lattice.element_move import ElementMove

from ..helpers import act, every_case

TRACED = jax.jit(
    lambda x, g, group, kind: getattr(ElementMove(group, g), kind)(x), static_argnums=(2, 3)
)


@every_case
@pytest.mark.parametrize("size", [5, 6])
def test_images_and_feature_maps_move_as_by_hand(x64, rng, case, size):
    spatial = case.dimension * (size,)
    image, features = (
        rng.normal(size=(2, *spatial, 3)),
        rng.normal(size=(2, *spatial, case.order, 3)),
    )
    for g in range(case.order):
        for x, lifted, kind in ((image, False, "image"), (features, True, "feature_map")):
            expected = act(case, x, g, lifted=lifted)
            np.testing.assert_array_equal(
                getattr(ElementMove(case.group, g), kind)(jnp.asarray(x)), expected
            )
            np.testing.assert_array_equal(TRACED(x, g, case.group, kind), expected)


@pytest.mark.parametrize("group", [P4M, octahedral(), P6M], ids=repr)
def test_the_inverse_undoes_a_move(x64, rng, group):
    x = rng.normal(size=(*group.dimension * (5,), group.order, 2))
    if group.is_hexagonal:
        x = np.asarray(transform(x, group=group, element=0, lifted=True))  # zeros outside
    for g in group.elements:
        move = ElementMove(group, g)
        np.testing.assert_array_equal(move.inverse.feature_map(move.feature_map(jnp.asarray(x))), x)

        def there_and_back(x, g):
            move = ElementMove(group, g)
            return move.inverse.feature_map(move.feature_map(x))

        np.testing.assert_array_equal(jax.jit(there_and_back)(x, g), x)


def test_vectors_turn_as_transform_turns_them(x64, rng):
    fields = Fields(scalars=1, vectors=1, pseudoscalars=1)
    x = rng.normal(size=(2, 5, 5, 4))
    for g in P4M.elements:
        expected = transform(x, group=P4M, element=g, lifted=False, fields=fields)
        move = ElementMove(P4M, g)
        np.testing.assert_allclose(
            move.turn(move.image(jnp.asarray(x)), fields), expected, atol=1e-15
        )
        turned = jax.jit(lambda x, g: ElementMove(P4M, g).turn(x, fields))(x, g)
        np.testing.assert_allclose(turned, move.turn(jnp.asarray(x), fields), atol=1e-15)


@pytest.mark.parametrize("group", [cyclic(8), dihedral(8)], ids=repr)
def test_other_angles_turn_by_interpolation(x64, rng, group):
    x = jnp.asarray(rng.normal(size=(2, 9, 9, 3)))
    for g in group.elements:
        isometry = group.isometries[g]
        flipped = jnp.flip(x, -2) if isometry.mirrored else x
        matrix = np.asarray(group.matrices[g]) @ (
            np.diag([1, -1]) if isometry.mirrored else np.eye(2)
        )
        expected = rotate(flipped, np.arctan2(matrix[1, 0], matrix[0, 0]))
        np.testing.assert_allclose(ElementMove(group, g).image(x), expected, atol=1e-12)
        np.testing.assert_allclose(TRACED(x, g, group, "image"), expected, atol=1e-12)
        if isometry.is_lattice:
            exact = transform(x, group=group, element=g, lifted=False)
            np.testing.assert_allclose(expected, exact, atol=1e-12)


def test_unequal_sides_are_exchanged_only_by_known_elements(rng):
    x = jnp.asarray(rng.normal(size=(2, 4, 6, 1)), jnp.float32)
    assert ElementMove(P4, 1).image(x).shape == (2, 6, 4, 1)
    with pytest.raises(
        ValueError, match=r"equal sides, since r90 .* got sides \(4, 6\): pad or crop"
    ):
        TRACED(x, 1, P4, "image")
    assert TRACED(x, 1, cyclic(2), "image").shape == x.shape  # half turns exchange nothing


def test_integers_are_rounded_and_sides_are_checked():
    """A ramp of integers keeps its mean when it is interpolated; it is not cut off."""
    x = jnp.arange(9 * 9, dtype=jnp.uint8).reshape(9, 9, 1)
    turned = ElementMove(cyclic(8), 1).image(x)
    exact = ElementMove(cyclic(8), 1).image(x.astype(jnp.float32))
    assert turned.dtype == jnp.uint8
    assert abs(turned - exact).max() <= 0.5
    with pytest.raises(ValueError, match="equal sides"):
        TRACED(jnp.ones((2, 4, 6, 1)), 1, cyclic(8), "image")
    for group in (P4, cyclic(8)):
        assert ElementMove(group, 1).image(jnp.ones((0, 5, 5, 2))).shape == (0, 5, 5, 2)
