"""Networks that end in vectors: the law at every element of the group."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gconv_jax import P4, P4M, full_octahedral, mirror, models, transform
from gconv_jax.models import VectorOutputs
from gconv_jax.nnx import GroupConv, LiftConv


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vectors": ((0, 1, 2),)}, r"`vectors` must have 2 components each.*got \(0, 1, 2\)"),
        ({"vectors": ((0, 3),)}, "got 3 of 3 targets, 0 to 2"),
        ({"vectors": ((0, -1),)}, "got -1 of 3 targets"),
        ({"vectors": ((0, 0),)}, "each once: got 0 twice"),
        ({"targets": 0}, "`targets` must be at least 1"),
    ],
)
def test_places_that_vectors_cannot_have(options, message):
    options = {"in_features": 3, "group": P4, "targets": 3, "vectors": ((0, 1),)} | options
    with pytest.raises(ValueError, match=message):
        VectorOutputs(Maps(P4, nnx.Rngs(0)), **options, rngs=nnx.Rngs(1))
