"""Networks that end in vectors: the law at every element of the group."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gconv_jax import P4, P4M, Fields, full_octahedral, mirror, models, transform
from gconv_jax.models import VectorOutputs
from gconv_jax.nnx import GroupConv, LiftConv
from gconv_jax.testing import assert_equivariant


class Maps(nnx.Module):
    """Two convolutions, whose features are those of a network without classes."""

    def __init__(self, group, rngs):
        self.lift = LiftConv(1, 2, 3, group=group, rngs=rngs)
        self.conv = GroupConv(2, 3, 3, group=group, rngs=rngs)

    def feature_maps(self, x):
        return nnx.relu(self.conv(nnx.relu(self.lift(x))))


def by_hand(values: np.ndarray, matrix: np.ndarray, places) -> np.ndarray:
    """Turn one vector among targets: the matrix is on the axes of the array, the last one is x."""
    result = np.array(values)
    result[..., list(places[::-1])] = values[..., list(places[::-1])] @ np.transpose(matrix)
    return result


@pytest.mark.parametrize(
    ("group", "places", "targets"),
    [(P4M, (2, 0), 3), (mirror(2), (2, 0), 3), (full_octahedral(), (3, 0, 1), 4)],
    ids=["p4m", "mirror", "cube"],
)  # fmt: skip
def test_outputs_turn_with_the_image(group, places, targets, rng, x64):
    side = (5,) * group.dimension
    maps, options = Maps(group, nnx.Rngs(0)), {"targets": targets, "vectors": [places]}
    model = VectorOutputs(maps, in_features=3, group=group, **options, rngs=nnx.Rngs(1))
    model.project.bias[...] = jnp.arange(1, 1 + len(model.project.bias[...]), dtype=jnp.float32)
    x = jnp.asarray(rng.normal(size=(2, *side, 1)))
    moved = [transform(x, group=group, element=g, lifted=False) for g in group.elements]
    y = np.asarray(nnx.jit(lambda m, x: m(x))(model, jnp.concatenate(moved)))
    y = y.reshape(group.order, 2, targets)
    upright = y[group.identity]
    expected = np.stack([by_hand(upright, matrix, places) for matrix in group.matrices])
    np.testing.assert_allclose(y, expected, rtol=1e-10, atol=1e-12)
    # What does not turn, or turns with x and y exchanged, is not the law.
    exchanged = np.stack([by_hand(upright, matrix, places[::-1]) for matrix in group.matrices])
    for wrong in (upright, exchanged):
        assert np.abs(y - wrong).max() > 0.01 * np.abs(y[..., list(places)]).max()
    assert np.abs(np.diff(upright, axis=0)).min() > 1e-6, "each number says something of the image"


def test_a_place_is_measured_from_the_center():
    """The second term alone, for an image with one light pixel."""
    maps, options = Maps(P4, nnx.Rngs(0)), {"targets": 3, "vectors": ((2, 0),)}
    model = VectorOutputs(maps, in_features=3, group=P4, **options, rngs=nnx.Rngs(1))
    model.model.feature_maps = lambda x: jnp.broadcast_to(x[..., None, :], (*x.shape[:3], 4, 3))
    model.project.kernel[...] *= 0
    model.moment.kernel[...] = jnp.ones((3, 1)) / 3
    x = np.zeros((1, 8, 8, 1), np.float32)
    x[0, 1, 6] = 64  # of 64 pixels; up and to the right
    np.testing.assert_allclose(model(x), [[-5 / 8, 0, 5 / 8]], rtol=1e-6)


def test_the_network_that_is_given_stays_as_it_is():
    network = models.LeNet(widths=2, hidden=3, classes=0, rngs=nnx.Rngs(0))
    model = VectorOutputs(
        network, in_features=2, group=P4, targets=2, vectors=((0, 1),), rngs=nnx.Rngs(1)
    )
    x = jnp.ones((1, 28, 28, 1))
    for part in (network, model):
        part.eval()
    assert not hasattr(model.model, "linear0") and model.features(x).shape == (1, 2)
    assert network(x).shape == (1, 3) and model(x).shape == (1, 2)
    np.testing.assert_array_equal(model.feature_maps(x), model.model.feature_maps(x))


def test_in_the_reverse_order_outputs_are_fields(rng):
    """As `Symmetrized` and the checks of equivariance take them."""
    x = jnp.asarray(rng.normal(size=(2, 8, 8, 1)), jnp.float32)
    right, exchanged = (
        VectorOutputs(
            Maps(P4M, nnx.Rngs(0)), in_features=3, group=P4M, targets=3, vectors=(places,),
            rngs=nnx.Rngs(1),
        )
        for places in ((2, 1), (1, 2))
    )  # fmt: skip
    law = {"group": P4M, "output_action": Fields(scalars=1, vectors=1)}
    assert_equivariant(right, x, **law)
    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(exchanged, x, **law)


class Own(nnx.Module):
    """A module of one's own with a layer of a name that the end of others has."""

    def __init__(self, rngs):
        self.linear_in = nnx.Linear(1, 1, rngs=rngs)
        self.maps = Maps(P4, rngs)

    def feature_maps(self, x):
        return self.maps.feature_maps(self.linear_in(x))


def test_modules_of_ones_own_are_copied_whole():
    model = VectorOutputs(
        Own(nnx.Rngs(0)), in_features=3, group=P4, targets=2, vectors=((0, 1),), rngs=nnx.Rngs(1)
    )
    assert model(jnp.ones((1, 5, 5, 1))).shape == (1, 2)
    wrong = VectorOutputs(
        Own(nnx.Rngs(0)), in_features=5, group=P4, targets=2, vectors=((0, 1),), rngs=nnx.Rngs(1)
    )
    with pytest.raises(ValueError, match=r"`in_features` 5 must be the channels .* have 3"):
        wrong(jnp.ones((1, 5, 5, 1)))
    with pytest.raises(ValueError, match="`model` must have a method feature_maps: Linear"):
        VectorOutputs(
            nnx.Linear(1, 1, rngs=nnx.Rngs(0)), in_features=1, group=P4, targets=2,
            vectors=((0, 1),), rngs=nnx.Rngs(1),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vectors": (0, 1)}, r"must be one or more vectors, such as .*got \(0, 1\)"),
        ({"vectors": ()}, r"must be one or more vectors, such as .*got \(\)"),
        ({"vectors": ("01",)}, "must be one or more vectors"),
        ({"vectors": ((0.7, 1.2),)}, "`vectors` must be an integer, got 0.7"),
        ({"in_features": 3.0}, "`in_features` must be an integer"),
        ({"group": "p4"}, "`group` must be"),
        ({"vectors": ((0, 1, 2),)}, r"`vectors` must have 2 components each.*got \(0, 1, 2\)"),
        ({"vectors": ((0, 3),)}, "must be places among 3 targets, 0 to 2: got 3"),
        ({"vectors": ((0, -1),)}, "`vectors` must be at least 0, got -1"),
        ({"vectors": ((0, 0),)}, "must name each output once, got 0 twice"),
        ({"targets": 0}, "`targets` must be at least 1"),
    ],
)
def test_places_that_vectors_cannot_have(options, message):
    options = {"in_features": 3, "group": P4, "targets": 3, "vectors": ((0, 1),)} | options
    with pytest.raises((ValueError, TypeError), match=message):
        VectorOutputs(Maps(P4, nnx.Rngs(0)), **options, rngs=nnx.Rngs(1))
