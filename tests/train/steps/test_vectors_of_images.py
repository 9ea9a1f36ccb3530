"""Vectors of images: networks that end in them, and images that move with theirs."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from gconv_jax import P4M, full_octahedral
from tests.helpers import RR, E, M, R
from train.config import Config
from train.data.vectors import Vectors
from train.steps.augment import Prepare
from train.steps.build_model import build_model
from train.steps.step import Batch, Steps
from train.steps.task import regression
from train.steps.turned_images import Turn, turned, turns_of
from train.steps.turned_volumes import turned_at_random

PLANE = Vectors(((2, 0),), 3)
"""The last of three targets is x, the first one y, and the middle one a number."""
SHAPE = (28, 28, 1)


NETWORKS = {
    "z2cnn": {}, "plain-cnn": {}, "early-p4cnn": {}, "mixed": {"groups": ("p4m", "p4")},
    "lenet": {"group": "p4m"}, "small-e2cnn": {"groups": ("c8",), "width": 4},
    "all-cnn-c": {"width": 2}, "wide-resnet": {"blocks": 1}, "separable-cnn": {},
    "vit": {"width": 32, "blocks": 1}, "convnext": {"width": 8, "blocks": 1},
    "resnet": {"blocks": 1, "width": 2},
}  # fmt: skip


def network(model: str, **given) -> Config:
    options = {"dataset": "folder", "task": "regression", "vectors": ("c", "a")}
    return Config(model=model, **options, **given)


MOST = ("plain-cnn", "mixed", "lenet", "small-e2cnn", "convnext")


@pytest.mark.parametrize(
    "model", [m if m in MOST else pytest.param(m, marks=pytest.mark.slow) for m in NETWORKS]
)
def test_networks_of_the_table_end_in_vectors(model):
    config = network(model, **{"width": 2} | NETWORKS[model])
    shape = (32, 32, 1) if model in ("resnet", "wide-resnet", "convnext", "vit") else SHAPE
    form = {"classes": 3, "in_features": 1, "image_shape": shape}
    built = nnx.eval_shape(lambda: build_model(config, **form, vectors=PLANE, scale=np.ones(3)))
    built.train()
    image = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    # Parameters that nothing depends on would be counted.
    graph, params, rest = nnx.split(built, nnx.Param, ...)

    def run(params, rest, image):
        return nnx.merge(graph, params, rest)(image)

    closed = jax.make_jaxpr(run)(params, rest, image)
    assert [a.shape for a in closed.out_avals] == [(2, 3)]
    used = {id(v) for eqn in closed.jaxpr.eqns for v in eqn.invars}
    assert all(id(v) in used for v in closed.jaxpr.invars[: len(jax.tree.leaves(params))])


def displacement(image: np.ndarray) -> np.ndarray:
    """The vector from the light in the second channel to that in the first, as (y, 7, x)."""
    grid = np.stack(np.meshgrid(*map(np.arange, image.shape[1:3]), indexing="ij"), -1)
    light = image[..., None, :] / image.sum((1, 2), keepdims=True)[..., None, :]
    centers = (grid[..., None] * light).sum((1, 2))  # [N, (y, x), channel]
    y, x = (centers[..., 0] - centers[..., 1]).T
    return np.stack([y, np.full_like(y, 7), x], -1).astype(np.float32)


def two_lights(rng: np.random.Generator, count: int) -> np.ndarray:
    rows, columns = np.mgrid[:33, :33]
    places = rng.uniform(11, 21, (count, 2, 2))
    square = sum(
        np.square(grid - places[:, None, None, :, i])
        for i, grid in enumerate((rows[..., None], columns[..., None]))
    )
    return np.exp(-square / 8).astype(np.float32)


@pytest.mark.parametrize("augment", ["none", "jitter", "rotate", "shift-flip"])
def test_vectors_move_with_the_pixels(augment, rng):
    """The vector of a moved image, computed from its pixels, is the vector of the image, moved."""
    image, keys = two_lights(rng, 20), jax.random.split(jax.random.key(0), 20)
    prepare = Prepare(0.0, 1.0, augment)
    turns = prepare.matrices(keys, 2)
    moved = np.asarray(prepare(jnp.asarray(image), keys))
    found = np.asarray(PLANE.turn(jnp.asarray(displacement(image)), turns))
    np.testing.assert_allclose(displacement(moved), found, atol=0.1)
    still = np.abs(displacement(moved) - displacement(image)).max()
    assert still < 0.1 if augment == "none" else still > 0.3


def test_a_volume_and_its_vectors_turn_alike(rng):
    volume, keys = rng.normal(size=(4, 4, 4, 1)), jax.random.split(jax.random.key(1), 30)
    turns = Prepare(0.0, 1.0, "rotate").matrices(keys, 3)
    assert len({turn.tobytes() for turn in np.asarray(turns)}) > 10
    places = np.stack(np.meshgrid(*3 * [np.arange(4) - 1.5], indexing="ij"), -1)
    for key, turn in zip(keys, np.asarray(turns), strict=True):
        moved = np.asarray(turned_at_random(jnp.asarray(volume), key))
        mean = [(v * places).mean((0, 1, 2)) for v in (volume, moved)]
        np.testing.assert_allclose(mean[1], turn @ mean[0], atol=1e-6)


def test_turns_have_matrices(rng):
    """Those written by hand, and at other angles those of the pixels."""
    assert [t.name for t in turns_of(P4M)][5] == "r90·m"
    for turn, matrix in ((Turn(0), E), (Turn(90), R), (Turn(180), RR), (Turn(0, True), M)):
        np.testing.assert_array_equal(turn.matrix, matrix)
    for turn in turns_of(full_octahedral()):
        np.testing.assert_array_equal(turn.matrix, turn.isometry.matrix(3))
    image = two_lights(rng, 10)
    for turn in (*turns_of(P4M), Turn(30), Turn(250, True)):
        found = PLANE.turn(displacement(image), turn.matrix)
        np.testing.assert_allclose(displacement(turned(image, turn)), found, atol=0.1)


class Knows(nnx.Module):
    """A network that computes the vector of an image from its pixels, and has a parameter."""

    def __init__(self):
        self.factor = nnx.Param(jnp.ones(()))

    def __call__(self, x):
        grid = np.stack(np.meshgrid(*map(np.arange, x.shape[1:3]), indexing="ij"), -1)
        light = x / x.sum((1, 2), keepdims=True)
        y, x = jnp.einsum("nhwc,hwi->inc", light, grid.astype(np.float32))
        y, x = (a[:, 0] - a[:, 1] for a in (y, x))
        return self.factor * jnp.stack([y, jnp.full_like(y, 7), x], -1)


def test_a_step_turns_the_right_answers(rng):
    """The loss of a network that knows is 0 with turned images; not so if vectors are numbers."""
    image = two_lights(rng, 16)
    batch, losses = Batch(jnp.asarray(image), jnp.asarray(displacement(image))), []
    for vectors in (PLANE, None):
        task = regression(np.ones(3), vectors=vectors)
        steps = Steps(Knows(), optax.sgd(0.0), Prepare(0.0, 1.0, "rotate"), task=task)
        losses.append(float(steps.train(steps.init(), batch, jax.random.key(0))[1].loss))
    assert losses[0] < 0.01 and losses[1] > 1


def test_poses_are_averaged_with_their_vectors(rng, x64):
    """A plain network becomes one that obeys the law."""
    model = nnx.Sequential(lambda x: x.reshape(len(x), -1), nnx.Linear(25, 3, rngs=nnx.Rngs(0)))
    x = jnp.asarray(rng.uniform(size=(2, 5, 5, 1)))
    errors = []
    for symmetry in (P4M, None):
        steps = Steps(
            model, optax.sgd(0.0), Prepare(0.0, 1.0), symmetry=symmetry,
            task=regression(np.ones(3), vectors=PLANE),
        )  # fmt: skip
        state = steps.init()
        y = [
            np.asarray(steps.logits(state.params, state.stats, jnp.asarray(turned(x, turn))))
            for turn in (Turn(0), Turn(90), Turn(180, True))
        ]
        errors += [np.abs(y[i] - PLANE.turn(y[0], Turn(*turn).matrix)).max()
                   for i, turn in ((1, (90,)), (2, (180, True)))]  # fmt: skip
    assert max(errors[:2]) < 1e-6 and min(errors[2:]) > 1e-2
