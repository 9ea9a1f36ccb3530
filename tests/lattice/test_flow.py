"""Tangents of moves, compared with images that have a closed form at moved points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

from gconv_jax import P4, P4M, P6, Fields, cyclic, dihedral, octahedral, rotate
from gconv_jax.lattice.flow import (
    GENERATORS,
    affine_generator,
    move_tangent,
    orientation_generator,
    rotation_rate,
    turn_orientations,
)
from gconv_jax.testing import smooth_images

SPIRAL = np.array([[0.3, -1.2, 0.7], [1.2, 0.3, -0.4]])  # a rotation, a scaling and a shift


def points(height, width):
    """Return rows and columns from the center, ``[H, W, 2]``."""
    rows, columns = np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), -1)


def blobs(p, size):
    """Return two Gaussians and a wave at points ``[..., 2]``, for images of this size."""
    q = p / size
    bump = np.exp(-60 * (q**2).sum(-1))  # vanishes at the border
    left = np.exp(-70 * ((q - [0.06, -0.08]) ** 2).sum(-1))
    oblong = bump * np.exp(-40 * (q[..., 0] - q[..., 1]) ** 2)
    wave = bump * np.cos(9 * q[..., 0] + 4 * q[..., 1])
    return np.stack([left, oblong, wave], -1)


def moved_points(matrix, t, p):
    """Return ``exp(-tX) p``, by the exponential of a matrix on (row, column, 1)."""
    flow = expm(-t * np.concatenate([matrix, np.zeros((1, 3))]))
    return p @ flow[:2, :2].T + flow[:2, 2]


def closed_form(generator, height, width, t=1e-4):
    """Return the derivative of the moved image by t, without any pixel of a neighbor."""
    matrix, p, size = affine_generator(generator), points(height, width), min(height, width)
    after, before = (blobs(moved_points(matrix, s, p), size) for s in (t, -t))
    return (after - before) / (2 * t)


@pytest.mark.parametrize("generator", [*GENERATORS, SPIRAL.tolist()], ids=str)
def test_closed_forms_at_moved_points(x64, generator):
    """The error falls with the fourth power of the size, on odd, even and oblong images."""
    errors = []
    for shape in ((32, 32), (33, 33), (65, 65), (80, 64)):
        x = blobs(points(*shape), min(shape))
        expected = closed_form(generator, *shape)
        actual = move_tangent(jnp.asarray(x)[None], generator)[0]
        assert actual.shape == x.shape and actual.dtype == jnp.float64
        errors.append(np.abs(actual - expected).max() / np.abs(expected).max())
    assert max(errors[:2]) < 2e-2 and max(errors[2:]) < 1e-3
    assert errors[1] / errors[2] > 10


def test_names_mean_what_they_say(x64):
    """The signs, by hand: on a ramp that is brighter downwards, and one to the right."""
    down, right = np.moveaxis(points(9, 9), -1, 0)
    x = jnp.asarray(np.stack([down, right], -1))
    tangents = {name: move_tangent(x, name)[2:-2, 2:-2] for name in GENERATORS}
    rows, columns = down[2:-2, 2:-2], right[2:-2, 2:-2]
    zero, one = np.zeros_like(rows), np.ones_like(rows)
    expected = {
        "rotation": (columns, -rows),
        "translation_rows": (-one, zero),
        "translation_columns": (zero, -one),
        "scaling": (-rows, -columns),
        "shear_rows": (-columns, zero),
        "shear_columns": (zero, -rows),
    }
    for name, channels in expected.items():
        np.testing.assert_allclose(tangents[name], np.stack(channels, -1), atol=1e-12)


@pytest.mark.parametrize("size", [40, 41])
def test_rotation_is_the_derivative_of_rotate(x64, size):
    """Bilinear interpolation has an error of second order in the size of a pixel."""
    errors = []
    for scale in (1, 2):
        shape = (2, scale * size, scale * size, 2)
        x = jnp.asarray(blobs(points(*shape[1:3]), scale * size)[None, ..., :2])
        t = 1e-5
        expected = (rotate(x, t) - rotate(x, -t)) / (2 * t)
        error = jnp.abs(move_tangent(x, "rotation") - expected).max() / jnp.abs(expected).max()
        errors.append(float(error))
    assert errors[0] < 0.05 and errors[1] < 0.35 * errors[0]


def test_linear_in_the_image_and_in_the_generator(x64, rng):
    x, y = jnp.asarray(rng.normal(size=(2, 3, 7, 6, 2)))
    whole = move_tangent(2 * x - 3 * y, SPIRAL)
    np.testing.assert_allclose(
        whole, 2 * move_tangent(x, SPIRAL) - 3 * move_tangent(y, SPIRAL), atol=1e-12
    )
    parts = [(1.2, "rotation"), (0.3, "scaling"), (0.7, "translation_rows")]
    summed = sum(a * move_tangent(x, name) for a, name in parts)
    summed -= 0.4 * move_tangent(x, "translation_columns")
    np.testing.assert_allclose(move_tangent(x, SPIRAL), summed, atol=1e-12)
    # It is its own derivative.
    tangent = jax.jvp(lambda x: move_tangent(x, SPIRAL), (x,), (y,))[1]
    np.testing.assert_allclose(tangent, move_tangent(y, SPIRAL), atol=1e-12)
    pulled = jax.grad(lambda x: (move_tangent(x, SPIRAL) * y).sum())(x)
    np.testing.assert_allclose((pulled * x).sum(), (move_tangent(x, SPIRAL) * y).sum(), rtol=1e-9)


def test_commutes_with_quarter_turns_and_shifts(x64, rng):
    x = jnp.asarray(rng.normal(size=(1, 8, 8, 1)))
    turned = move_tangent(jnp.rot90(x, axes=(1, 2)), "rotation")
    np.testing.assert_allclose(
        turned, jnp.rot90(move_tangent(x, "rotation"), axes=(1, 2)), atol=1e-12
    )
    wide = jnp.pad(x, ((0, 0), (4, 4), (4, 4), (0, 0)))
    shifted = move_tangent(jnp.roll(wide, 2, 1), "translation_columns")
    np.testing.assert_allclose(
        shifted, jnp.roll(move_tangent(wide, "translation_columns"), 2, 1), atol=1e-12
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int32", "complex64"])
def test_dtypes_batches_and_tiny_images(dtype):
    x = jnp.arange(2 * 3 * 7 * 5 * 2).reshape(2, 3, 7, 5, 2).astype(dtype)
    y = jax.jit(lambda x: move_tangent(x, "scaling"))(x)
    assert y.shape == x.shape and y.dtype == ("float32" if dtype == "int32" else dtype)
    np.testing.assert_array_equal(y[1, 2], move_tangent(x[1, 2], "scaling"))
    assert not move_tangent(jnp.ones((1, 1, 1), dtype)).any()
    assert not move_tangent(jnp.ones((2, 3, 1), dtype), SPIRAL).any(), "a constant image stays"


def test_the_gradient_of_an_image_moves_as_a_vector(x64):
    """The gradient field of the tangent is the tangent of the gradient field."""
    shape, t = (65, 64), 1e-3
    p = points(*shape)

    def gradient(matrix, s):
        """Return the gradient of the first blob, moved by s, by differences of its formula."""
        steps = [np.array([t, 0]), np.array([0, t])]
        at = [
            [blobs(moved_points(matrix, s, p + sign * step), 65)[..., 0] for sign in (1, -1)]
            for step in steps
        ]
        return np.stack([(after - before) / (2 * t) for after, before in at], -1)

    for generator in ("rotation", "translation_rows", 2 * affine_generator("rotation")):
        matrix = affine_generator(generator)
        expected = (gradient(matrix, t) - gradient(matrix, -t)) / (2 * t)
        flow = jnp.asarray(gradient(matrix, 0.0))
        actual = move_tangent(flow, generator, fields=Fields(vectors=1))
        unturned = move_tangent(flow, generator)
        scale = np.abs(expected).max()
        assert np.abs(actual - expected).max() < 3e-3 * scale
        turns = matrix[:, :2].any()
        assert (np.abs(unturned - expected).max() > 0.1 * scale) == turns
    # Numbers come first, and are no vectors.
    both = jnp.concatenate([flow, flow], -1)
    mixed = move_tangent(both, generator, fields=Fields(scalars=1, pseudoscalars=1, vectors=1))
    np.testing.assert_allclose(mixed, np.concatenate([unturned, actual], -1), atol=1e-12)


@pytest.mark.parametrize("group", [cyclic(5), cyclic(8), dihedral(3), P4M, cyclic(2)], ids=repr)
def test_orientations_turn_by_whole_elements_as_the_group_permutes_them(group):
    """The exponential of the generator is the permutation, but for the highest frequency."""
    generator = orientation_generator(group)
    np.testing.assert_allclose(generator, -generator.T, atol=1e-12)
    n = sum(np.linalg.det(m) > 0 for m in group.matrices)
    (step,) = [
        g for g in group.elements if np.allclose(group.matrices[g], _rotation(2 * np.pi / n))
    ]
    permutation = np.eye(group.order)[group.cayley[group.inverse[step]]]
    features = np.random.default_rng(0).normal(size=(group.order, 2))
    if n % 2 == 0:  # the mean of alternating signs over each orbit of rotations
        orbit, alternating = np.eye(group.order), np.zeros(2 * (group.order,))
        for k in range(n):
            alternating += (-1) ** k * orbit / n
            orbit = permutation @ orbit
        features = features - alternating @ features
    np.testing.assert_allclose(
        expm(2 * np.pi / n * generator) @ features, permutation @ features, atol=1e-12
    )


def test_orientations_that_are_samples_of_a_wave(x64):
    """The features ``cos(2 h - 1)``, of a function of the angle, turn by its derivative."""
    angles = 2 * np.pi * np.arange(16) / 16
    y = jnp.asarray(np.cos(2 * angles - 1))[:, None]
    turned = turn_orientations(y, 3 * affine_generator("rotation"), cyclic(16))
    np.testing.assert_allclose(turned[:, 0], 6 * np.sin(2 * angles - 1), atol=1e-12)
    assert not turn_orientations(y, affine_generator("scaling"), None).any()


def _rotation(angle):
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def test_rates():
    assert rotation_rate(SPIRAL) == pytest.approx(1.2)
    with pytest.raises(ValueError, match="must turn all directions alike"):
        rotation_rate(affine_generator("shear_rows"))


def test_bad_arguments():
    x = jnp.asarray(smooth_images((1, 8, 8, 2)))
    with pytest.raises(ValueError, match=r"one of rotation, .*, or a matrix \[2, 3\], got 'turn'"):
        move_tangent(x, "turn")
    with pytest.raises(ValueError, match=r"or a matrix \[2, 3\], got shape \(2, 2\) of int64"):
        move_tangent(x, [[0, -1], [1, 0]])
    with pytest.raises(ValueError, match="of finite numbers, got"):
        move_tangent(x, [[0, -1, np.nan], [1, 0, 0]])
    with pytest.raises(ValueError, match=r"`x` must be .*, got shape \(8, 8\)"):
        move_tangent(x[0, ..., 0])
    with pytest.raises(ValueError, match=r"`C` must be 3, the channels of Fields"):
        move_tangent(x, fields=Fields(scalars=1, vectors=1))
    with pytest.raises(TypeError, match="`fields` must be a Fields"):
        move_tangent(x, fields="vectors")
    with pytest.raises(ValueError, match="must be of rotations and translations for Fields"):
        move_tangent(x, "scaling", fields=Fields(vectors=1))
    rotation = affine_generator("rotation")
    with pytest.raises(ValueError, match=r"the group whose 5 elements the orientations .* got P4"):
        turn_orientations(jnp.ones((5, 1)), rotation, P4)
    for group in (P6, octahedral()):
        with pytest.raises(ValueError, match="must be a group of the plane with square pixels"):
            orientation_generator(group)
