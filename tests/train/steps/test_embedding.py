"""The features of images: they come from the layer before the classes, and are invariant if the
network is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from train.config import Config
from train.options.networks import NETWORKS, SPACE, segmenting_networks
from train.steps.build_model import build_model
from train.steps.embedding import with_features

CLASSES = 7
WIDTHS = {"vit": 32, "wide-resnet": 1, "lenet": None}
"""The options ``--width`` of networks that do not take 4."""
FEATURES = {
    **dict.fromkeys(("all-cnn-c", "densenet"), 8),
    **dict.fromkeys(("gcnn13", "augerino", "vit"), 8),
    **dict.fromkeys(("resnet", "resnet44", "resnet26", "voxel-cnn"), 16),
    "wide-resnet": 32,
    "e2cnn": 96,
    "small-e2cnn": 13,
    "ck-resnet": 8,
}
"""The features of those that have not as many as layers are wide, which are 4."""


def tiny(model: str, **options) -> nnx.Module:
    takes = NETWORKS[model].options
    given = {"groups": ("p4",)} if "groups" in takes else {}
    given |= {"blocks": 1} if "blocks" in takes else {}
    given |= {"dataset": "folder"} if SPACE in NETWORKS[model].dimensions else {}
    given |= {"width": WIDTHS.get(model, 4)} | options
    built = build_model(Config(model=model, **given), classes=CLASSES, in_features=1)
    built.eval()
    return built


@pytest.mark.one_in(4)
@pytest.mark.parametrize("model", [n for n in NETWORKS if n not in segmenting_networks()])
def test_every_network_has_features(model):
    shape = {"convnext": (32, 32), "voxel-cnn": (8, 8, 8)}.get(model, (28, 28))
    image = jax.ShapeDtypeStruct((2, *shape, 1), jnp.float32)
    found = jax.eval_shape(lambda x: with_features(tiny(model))(x), image)
    assert found.dtype == jnp.float32
    if model != "lenet":
        assert found.shape == (2, FEATURES.get(model, 4) + CLASSES)


def features_and_logits(model: nnx.Module, x: jax.Array) -> tuple[np.ndarray, np.ndarray]:
    both = np.asarray(jax.jit(with_features(model))(x))
    return both[:, :-CLASSES], both[:, -CLASSES:]


INVARIANT = {
    "p4m": ({"model": "p4cnn", "group": "p4m"}, True),
    "symmetrized": ({"model": "z2cnn", "adapt": "symmetrize", "adapt_group": "p4"}, True),
    "canonicalized": ({"model": "z2cnn", "adapt": "canonicalize", "adapt_group": "p4"}, True),
    "plain": ({"model": "z2cnn"}, False),
}


@pytest.mark.parametrize("name", INVARIANT)
def test_features_are_invariant_if_the_network_is(name):
    options, invariant = INVARIANT[name]
    model = tiny(**options)
    x = jax.random.normal(jax.random.key(1), (3, 28, 28, 1))
    upright, logits = features_and_logits(model, x)
    np.testing.assert_allclose(logits, np.asarray(model(x)), atol=1e-5)
    turned, _ = features_and_logits(model, jnp.rot90(x, axes=(1, 2)))
    change = np.abs(turned - upright).max() / np.abs(upright).max()
    assert change < 1e-4 if invariant else change > 1e-2
    # They tell images apart: what is invariant because it is constant is worth nothing.
    assert np.abs(upright[0] - upright[1]).max() > 1e-2 * np.abs(upright).max()


def test_the_last_layer_makes_the_logits_of_them():
    model = tiny("group-cnn", group="p4m")
    x = jax.random.normal(jax.random.key(1), (3, 28, 28, 1))
    features, logits = features_and_logits(model, x)
    np.testing.assert_allclose(model.linear(features), logits, atol=1e-5)


def test_a_network_that_ends_otherwise_is_named():
    class Ends(nnx.Module):
        def __init__(self):
            self.first = nnx.Linear(4, 5, rngs=nnx.Rngs(0))
            self.top = nnx.Linear(5, 3, rngs=nnx.Rngs(0))

        def __call__(self, x):
            return jnp.concatenate([self.top(self.first(x)), x], -1)

    with pytest.raises(ValueError, match="Ends has no features: its last layer must be one from"):
        with_features(Ends())(jnp.ones((2, 4)))
