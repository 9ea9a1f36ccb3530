"""The equivariant part of ordinary filters: a projection onto exactly the filter banks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gconv_jax import (
    P4,
    P4M,
    P6,
    Fields,
    cyclic,
    filter_bank,
    kernel_penalty,
    octahedral,
    project_kernel,
)
from gconv_jax.testing import assert_equivariant

from ..helpers import every_case, group_filter, lifting_filter

KINDS = [
    ("feature_map", "feature_map"),
    ("image", "feature_map"),
    ("feature_map", "image"),
    ("image", "image"),
]


def projector(shape, **options) -> np.ndarray:
    """The matrix of `project_kernel` on filters of a shape."""
    flat = jnp.eye(int(np.prod(shape))).reshape(-1, *shape)
    return np.asarray(jax.vmap(lambda w: project_kernel(w, **options))(flat)).reshape(len(flat), -1)


@pytest.mark.one_in(7)
@every_case
@pytest.mark.parametrize("size", [2, 3])
def test_it_is_the_orthogonal_projection_onto_the_banks(x64, rng, case, size):
    group, kernel = case.group, case.dimension * (size,)
    for lifting in (True, False):
        c_in = 2 if lifting else case.order
        c_out = 1 if case.order == 8 else 2  # the matrix has a million numbers as it is
        shape = (*kernel, c_in, c_out * case.order)
        p = projector(shape, group=group, input_action="image" if lifting else "feature_map")
        np.testing.assert_allclose(p @ p, p, atol=1e-14)
        np.testing.assert_allclose(p, p.T, atol=1e-14)
        make = lifting_filter if lifting else group_filter
        base = make(rng, case, size, 2 if lifting else 1, c_out)
        assert np.linalg.matrix_rank(p) == round(np.trace(p)) == base.size
        bank = np.asarray(filter_bank(jnp.asarray(base), group=group, lifting=lifting)).ravel()
        np.testing.assert_allclose(p @ bank, bank, atol=1e-14)


@pytest.mark.one_in(10)
@every_case
@pytest.mark.parametrize(("input_action", "output_action"), KINDS)
def test_the_convolution_obeys_the_law(x64, rng, case, input_action, output_action):
    group, d = case.group, case.dimension
    actions = {"input_action": input_action, "output_action": output_action}
    channels = [case.order * 2 if a == "feature_map" else 3 for a in actions.values()]
    w = rng.normal(size=(*d * (3,), *channels))

    def conv(x, w):
        merged = x.reshape(*x.shape[: d + 1], -1)
        letters = "XYZ"[:d]
        y = lax.conv_general_dilated(
            merged,
            w,
            d * (1,),
            "SAME",
            dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"),
        )
        return y.reshape(*y.shape[:-1], case.order, 2) if output_action == "feature_map" else y

    x = rng.normal(
        size=(2, *d * (5,), *([case.order, 2] if input_action == "feature_map" else [3]))
    )
    even = project_kernel(w, group=group, **actions)
    assert_equivariant(lambda x: conv(x, even), x, group=group, rtol=1e-12, **actions)
    if case.order > 1:
        with pytest.raises(AssertionError, match="not equivariant"):
            assert_equivariant(lambda x: conv(x, w), x, group=group, **actions)


def test_the_first_channels_are_the_base_filter(x64, rng):
    w = rng.normal(size=(3, 3, 3, 3, 24 * 2))
    even = project_kernel(w, group=octahedral(), input_action="image")
    bank = filter_bank(even[..., :2], group=octahedral(), lifting=True)
    np.testing.assert_allclose(bank, even, atol=1e-14)


def test_filters_of_vectors_are_those_of_the_bank(x64, rng):
    fields = Fields(scalars=1, vectors=1)
    base = rng.normal(size=(3, 3, 3, 2))
    bank = filter_bank(jnp.asarray(base), group=P4M, lifting=True, fields=fields)
    options = {"group": P4M, "input_action": fields}
    np.testing.assert_allclose(project_kernel(bank, **options), bank, atol=1e-14)
    p = projector((3, 3, 3, 16), **options)
    assert np.linalg.matrix_rank(p) == base.size
    swapped = projector(
        (1, 1, 2, 2), group=P4, input_action=Fields(vectors=1), output_action=Fields(vectors=1)
    )
    assert np.linalg.matrix_rank(swapped) == 2  # rotations of a vector, and its multiples


def test_the_penalty_and_its_gradient(x64, rng):
    w = rng.normal(size=(3, 3, 8, 12))
    even = project_kernel(w, group=P4)
    penalty, slope = jax.value_and_grad(lambda w: kernel_penalty(w, group=P4))(w)
    np.testing.assert_allclose(penalty, np.square(w - even).sum())
    np.testing.assert_allclose(slope, 2 * (w - even), atol=1e-13)
    assert kernel_penalty(even, group=P4) < 1e-24
    half = kernel_penalty(jnp.asarray(w, jnp.bfloat16), group=P4)
    assert half.dtype == jnp.float32
    np.testing.assert_allclose(half, penalty, rtol=0.02)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"group": cyclic(8)}, "square or cubic lattice"),
        ({"group": P6}, "square or cubic lattice"),
        ({"w": np.ones((3, 3, 6, 8))}, r"C_in divisible by the 4 elements .* shape \(3, 3, 6, 8\)"),
        ({"w": np.ones((3, 3, 4, 6))}, "C_out divisible by the 4 elements"),
        ({"w": np.ones((3, 5, 4, 4))}, r"equal sides, since r90 .* kernel of \(3, 5\)"),
        ({"w": np.ones((3, 4, 4))}, r"`w` must be floating, \[H, W, C_in, C_out\]"),
        ({"w": np.ones((3, 3, 4, 4), int)}, "`w` must be floating"),
        (
            {"input_action": "pixels"},
            "`input_action` must be feature_map, image or a Fields",
        ),
        ({"output_action": Fields(vectors=1)}, "`C_out` must be 2"),
    ],
)
def test_bad_input(change, message):
    options = {"w": np.ones((3, 3, 4, 4)), "group": P4} | change
    with pytest.raises(ValueError, match=message):
        project_kernel(options.pop("w"), **options)
