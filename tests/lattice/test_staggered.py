"""Staggered grids: components of vectors on the faces of cells."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gconv_jax import (
    P4M,
    Fields,
    faces_to_image,
    full_octahedral,
    image_to_faces,
    mirror,
    octahedral,
    project_fields,
    transform,
)
from gconv_jax.nnx import GroupConv, GroupConvTranspose, LiftConv
from tests.helpers import assert_close, random_float64

GROUPS = [P4M, octahedral(), full_octahedral(), mirror()]


def grid(rng, cells, channels=2, batch=2):
    return [
        rng.normal(size=(batch, *(n + (i == j) for j, n in enumerate(cells)), channels))
        for i in range(len(cells))
    ]


def move_by_hand(faces, matrix, signs=True):
    """Move every face by its position, with the sign of its new direction."""
    d = len(faces)
    cells = [faces[i].shape[1 + i] - 1 for i in range(d)]
    center = np.array(cells)  # of the image that is twice as fine
    new_center = np.abs(matrix) @ center
    new_cells = new_center.astype(int)
    moved = [
        np.zeros(
            (len(faces[0]), *(n + (i == j) for j, n in enumerate(new_cells)), faces[0].shape[-1])
        )
        for i in range(d)
    ]
    for i, a in enumerate(faces):
        for place in itertools.product(*map(range, a.shape[1:-1])):
            fine = np.array([2 * p + (i != j) for j, p in enumerate(place)])
            target = np.rint(matrix @ (fine - center) + new_center).astype(int)
            k = int(np.argmax(np.abs(matrix[:, i])))
            at = tuple((t - (j != k)) // 2 for j, t in enumerate(target))
            moved[k][(slice(None), *at)] = (matrix[k, i] if signs else 1) * a[(slice(None), *place)]
    return moved


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_faces_move_as_vectors_on_an_image(group, rng, x64):
    cells = [3, 4, 2][: group.dimension]
    faces, fields = grid(rng, cells), Fields(vectors=2)
    image = faces_to_image(faces)
    assert image.shape == (2, *(2 * n + 1 for n in cells), 2 * group.dimension)
    for back, a in zip(image_to_faces(image), faces, strict=True):
        assert_close(back, a, atol=0)
    for g in group.elements:
        moved = transform(image, group=group, element=g, lifted=False, fields=fields)
        expected = move_by_hand(faces, group.matrices[g])
        assert_close(moved, faces_to_image(expected), atol=1e-12)
        for a, b in zip(image_to_faces(moved), expected, strict=True):
            assert_close(a, b, atol=1e-12)


def test_one_cell_by_hand():
    v, u = jnp.array([[[[1.0]], [[2.0]]]]), jnp.array([[[[3.0], [4.0]]]])
    image = np.asarray(faces_to_image([v, u]))[0]
    assert image[:, :, 0].tolist() == [[0, 1, 0], [0, 0, 0], [0, 2, 0]]
    assert image[:, :, 1].tolist() == [[0, 0, 0], [3, 0, 4], [0, 0, 0]]


@pytest.mark.parametrize("group", [P4M, octahedral()], ids=str)
def test_a_network_from_grid_to_grid(group, rng, x64):
    """Features of cells inside; what comes out lives on faces again, and moves with them."""
    velocity = Fields(vectors=1)

    class Network(nnx.Module):
        def __init__(self, rngs):
            options = {"group": group, "rngs": rngs}
            d = group.dimension
            self.lift = LiftConv(d, 3, 3, 2, padding="VALID", fields=velocity, **options)
            self.conv = GroupConv(3, 3, 3, **options)
            self.out = GroupConvTranspose(3, d, 3, 2, padding="VALID", **options)

        def __call__(self, faces):
            x = nnx.gelu(self.lift(faces_to_image(faces)))
            self.seen = x.shape
            x = self.out(nnx.gelu(self.conv(x)))
            return image_to_faces(project_fields(x, group=group, fields=velocity))

    network = random_float64(lambda: Network(nnx.Rngs(0)), rng)
    cells = [4, 3, 2][: group.dimension]
    faces = grid(rng, cells, channels=1)
    out = [np.asarray(a) for a in network(faces)]
    assert network.seen[1:-2] == tuple(cells)
    assert [a.shape for a in out] == [a.shape for a in faces]
    for g in group.elements:
        turned = network(move_by_hand(faces, group.matrices[g]))
        for a, b in zip(turned, move_by_hand(out, group.matrices[g]), strict=True):
            assert_close(a, b, atol=1e-11)
    # A negative control: numbers on faces, which do not change their signs.
    wrong = network(move_by_hand(faces, group.matrices[1], signs=False))
    right = move_by_hand(out, group.matrices[1], signs=False)
    assert max(np.abs(a - b).max() for a, b in zip(wrong, right, strict=True)) > 1e-3


def test_gradients_and_dtypes(rng):
    faces = [jnp.asarray(a, jnp.bfloat16) for a in grid(rng, [2, 3])]
    assert faces_to_image(faces).dtype == jnp.bfloat16
    gradient = jax.grad(lambda f: (faces_to_image(f) * 2).sum().astype(jnp.float32))(faces)
    assert all((a == 2).all() for a in gradient)
    whole = [np.arange(6).reshape(1, 3, 2, 1), np.arange(6).reshape(1, 2, 3, 1)]
    assert jnp.issubdtype(faces_to_image(whole).dtype, jnp.integer)


def test_bad_input():
    v, u = jnp.ones((1, 3, 2, 1)), jnp.ones((1, 2, 3, 1))
    with pytest.raises(ValueError, match=r"`faces\[1\]` must be \[N, n_0, n_1 \+ 1, C\] for the"):
        faces_to_image([v, v])
    with pytest.raises(ValueError, match=r"`faces\[0\]` must be"):
        faces_to_image([v[0], u[0]])
    with pytest.raises(ValueError, match="`faces` must be 1, 2 or 3 arrays"):
        faces_to_image([])
    with pytest.raises(ValueError, match=r"odd sides of at least 3, got shape \(1, 4, 5, 2\)"):
        image_to_faces(jnp.ones((1, 4, 5, 2)))
    with pytest.raises(ValueError, match="vectors of 2 components as channels, got 3"):
        image_to_faces(jnp.ones((1, 5, 5, 3)))
