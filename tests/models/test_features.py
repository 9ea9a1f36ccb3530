"""Features and feature maps of every network: their laws, and networks that end in features."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gconv_jax import (
    P4,
    P4M,
    Z2,
    Fields,
    SampledFeatures,
    Siren,
    klein_four,
    mirror,
    models,
    octahedral,
    transform,
)
from gconv_jax.export import freeze
from gconv_jax.models._network import NETWORKS
from gconv_jax.models._weights import arrays_of, state_of
from gconv_jax.nnx import Symmetrized
from tests.helpers import quick_jit, random_float64

CASES = {
    "Z2CNN": (lambda **o: models.Z2CNN(width=2, **o), Z2, 28),
    "P4CNN": (lambda **o: models.P4CNN(width=4, **o), P4, 28),
    "P4CNNRotationPooling": (lambda **o: models.P4CNNRotationPooling(width=4, **o), P4, 28),
    "LeNet": (lambda **o: models.LeNet(widths=2, hidden=3, **o), P4, 28),
    "GroupEquivariantCNN": (lambda **o: models.GroupEquivariantCNN(width=4, **o), P4, 21),
    "MixedGroupCNN": (
        lambda **o: models.MixedGroupCNN(groups=(P4M, P4M, mirror()), widths=2, **o),
        mirror(),
        28,
    ),
    "EarlyP4CNN": (lambda **o: models.EarlyP4CNN(widths=2, **o), Z2, 28),
    "PlainCNN": (lambda **o: models.PlainCNN(widths=2, **o), Z2, 28),
    "SeparableCNN": (lambda **o: models.SeparableCNN(width=4, **o), P4, 28),
    "SmallE2CNN": (
        lambda **o: models.SmallE2CNN(groups=(P4M, P4), width=1, filters="pixel", **o),
        P4,
        20,
    ),
    "E2CNN": (lambda **o: models.E2CNN(groups=(P4,), width=1, filters="pixel", **o), P4, 28),
    "AllCNNC": (lambda **o: models.AllCNNC(group=P4, widths=4, **o), P4, 6),
    "ResNet": (lambda **o: models.ResNet(blocks=1, widths=2, **o), P4M, 6),
    "ResNet published": (
        lambda **o: models.ResNet(blocks=1, widths=2, group=P4, head="published", **o),
        P4,
        6,
    ),
    "WideResNet": (
        lambda **o: models.WideResNet(groups=(P4M, P4), depth=10, widen=1, **o),
        P4,
        6,
    ),
    "DenseNet": (lambda **o: models.DenseNet(blocks=(1, 1), growth=2, **o), P4M, 6),
    "GroupViT": (
        lambda **o: models.GroupViT(group=P4, width=8, depth=1, heads=1, patch_size=3, **o),
        P4,
        6,
    ),
    "GroupViT token": (
        lambda **o: models.GroupViT(
            width=16, depth=1, heads=1, patch_size=3, head="token", basis="regular", **o
        ),
        P4M,
        6,
    ),
    "GroupConvNeXt": (
        lambda **o: models.GroupConvNeXt(
            group=P4, widths=(8, 8), depths=(1, 1), patch_size=2, kernel_size=3, **o
        ),
        P4,
        8,
    ),
    "VoxelCNN": (lambda **o: models.VoxelCNN(widths=2, group=klein_four(), **o), klein_four(), 4),
    "CKResNet": (
        lambda **o: models.CKResNet(
            group=P4, width=2, kernel_size=3, kernel_network=Siren(hidden=2), **o
        ),
        P4,
        12,
    ),
    "PartialGCNN13": (
        lambda **o: models.PartialGCNN13(group=P4, width=2, kernel_network=Siren(hidden=2), **o),
        P4,
        8,
    ),
    "UNet": (lambda **o: models.UNet(group=P4, width=2, depth=1, **o), P4, 4),
    "Standardized": (
        lambda rngs, **o: models.Standardized(
            models.ResNet(blocks=1, widths=2, group=P4, rngs=rngs, **o), mean=0.5, std=2
        ),
        P4,
        6,
    ),
}
"""A tiny case of each network with classes, the group of its last maps, and the side of images."""
PLAIN = ("P4CNNRotationPooling",)
"""Networks whose last maps have no group axis."""
POSE = ("LeNet",)
"""Networks whose features depend on the pose: a linear layer has a weight for each place."""


def build(name: str, rng, **options) -> nnx.Module:
    make = CASES[name][0]
    options = {"classes": 3, "in_features": 2} | options
    model = random_float64(lambda: make(rngs=nnx.Rngs(0), **options), rng)
    model.eval()
    return model


def images(name: str, rng, count: int = 1) -> np.ndarray:
    _, group, side = CASES[name]
    return rng.normal(size=(count, *[side] * group.dimension, 2))


def ends(model: nnx.Module, x: jax.Array) -> tuple[jax.Array, ...]:
    maps = model.feature_maps(x)
    maps = maps.values if isinstance(maps, SampledFeatures) else maps
    return maps, model.features(x), model(x)


def test_there_is_a_case_of_every_network():
    without = {"Augerino", "GroupUNet", "ResNet44", "ResNet26", "Symmetrized", "Whitened"}
    without |= {"RescaledOutputs", "VectorOutputs", "Canonicalized", "ScorePoses", "PoseNetwork"}
    assert {name.split()[0] for name in CASES} | without == set(NETWORKS)


def test_units_are_those_of_outputs_alone(rng):
    model, x = build("P4CNN", rng), images("P4CNN", rng).astype(np.float32)
    maps, features, y = ends(model, x)
    found = ends(models.RescaledOutputs(model, mean=(1, 2, 3), std=4), x)
    for actual, expected in zip(found, (maps, features, np.array([1, 2, 3]) + 4 * y), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-6)


@pytest.mark.one_in(6)
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case[1] != Z2])
def test_maps_turn_with_the_image_and_features_stay(name, rng, x64):
    _, group, _ = CASES[name]
    model, x = build(name, rng), images(name, rng)
    elements = sorted({1 % group.order, group.order - 1})
    moved = [transform(x, group=group, element=g, lifted=False) for g in elements]
    graphdef, state = nnx.split(model)
    run = quick_jit(lambda x: ends(nnx.merge(graphdef, state), x))
    other = rng.normal(size=x.shape)
    maps, features, outputs = map(np.asarray, run(np.concatenate([x, other, *moved])))
    lifted = name not in PLAIN
    if lifted:
        assert maps.shape[-2] == group.order
    for i, g in enumerate(elements, 2):
        law = transform(maps[:1], group=group, element=g, lifted=lifted)
        np.testing.assert_allclose(maps[[i]], law, atol=1e-8 * np.abs(maps).max())
    if name == "UNet":  # features of each pixel
        features = features.mean((1, 2))
    unit = np.abs(features[0] - features[1]).max()
    assert unit > 1e-6 and np.isfinite(outputs).all()
    change = np.abs(features[2:] - features[0]).max() / unit
    assert change > 1e-3 if name in POSE else change < 1e-6


@pytest.mark.one_in(3)
@pytest.mark.parametrize("name", CASES)
def test_a_network_without_classes_ends_in_features(name, rng):
    make = CASES[name][0]
    whole, ending = (
        nnx.eval_shape(lambda n=n: make(classes=n, in_features=2, rngs=nnx.Rngs(0))) for n in (3, 0)
    )
    x = jax.ShapeDtypeStruct(images(name, rng).shape, jnp.float32)
    for model in (whole, ending):
        model.eval()
    found = nnx.eval_shape(lambda model, x: (model.features(x), model(x)), ending, x)
    assert found[0].shape == found[1].shape
    features, logits = nnx.eval_shape(lambda model, x: (model.features(x), model(x)), whole, x)
    assert (features.shape, features.shape[:-1]) == (found[0].shape, logits.shape[:-1])
    paths = [arrays_of(state_of(model)).keys() for model in (whole, ending)]
    assert paths[1] < paths[0]
    heads = {path.removeprefix("model.").split(".")[0] for path in paths[0] - paths[1]}
    assert heads <= {"top", "linear", "linear1", "layer8"}


@pytest.mark.parametrize(
    ("make", "head"),
    [
        (lambda **o: models.VoxelCNN(widths=2, group=klein_four(), **o), "top"),
        (lambda **o: models.GroupEquivariantCNN(width=2, **o), "linear"),
    ],
)
def test_a_linear_head_of_the_features_is_the_network(make, head, rng):
    model = make(in_features=1, classes=3, rngs=nnx.Rngs(0))
    x = jnp.asarray(rng.normal(size=(2, *([4] * 3 if head == "top" else [21] * 2), 1)), jnp.float32)
    for mode in ("train", "eval"):
        getattr(model, mode)()
        run = nnx.jit(lambda model, x: (getattr(model, head)(model.features(x)), model(x)))
        applied, called = run(model, x)
        np.testing.assert_allclose(applied, called, rtol=1e-5, atol=1e-6)


def test_features_are_frozen_and_averaged_as_results_are(rng):
    x = jnp.asarray(rng.random((2, 6, 6, 2)), jnp.float32)
    turned = jnp.rot90(x, axes=(1, 2))
    model = models.ResNet(blocks=1, widths=2, group=Z2, classes=3, in_features=2, rngs=nnx.Rngs(0))
    even = Symmetrized(model, group=P4)
    even.eval()
    frozen = freeze(even.features)
    found = frozen(x)
    assert found.shape == (2, 2)
    np.testing.assert_allclose(found, frozen(turned), atol=1e-6)
    assert np.abs(model.features(x) - model.features(turned)).max() > 1e-4


def test_augerino_averages_features_and_has_no_maps(rng):
    options = {"classes": 3, "rngs": nnx.Rngs(0)}
    model = models.Augerino(models.LeNet(widths=1, hidden=2, **options), copies=2, rngs=nnx.Rngs(1))
    model.eval()
    x = jax.ShapeDtypeStruct((2, 28, 28, 1), jnp.float32)
    assert nnx.eval_shape(lambda m, x: m.features(x), model, x).shape == (2, 2)
    with pytest.raises(TypeError, match="Augerino has no feature maps: those of its copies lie"):
        model.feature_maps(jnp.ones((2, 28, 28, 1)))


def test_an_image_to_image_network_has_features_of_pixels():
    model = nnx.eval_shape(
        lambda: models.GroupUNet(
            group=octahedral(),
            width=8,
            multipliers=(1,),
            blocks=1,
            attention=(),
            in_features=2,
            out_fields=Fields(vectors=1),
            rngs=nnx.Rngs(0),
        )
    )
    x = jax.ShapeDtypeStruct((1, 2, 2, 2, 2), jnp.float32)
    shapes = nnx.eval_shape(lambda m, x: (m.feature_maps(x), m.features(x), m(x)), model, x)
    assert [s.shape[4:] for s in shapes] == [(24, 8), (8,), (3,)]


@pytest.mark.parametrize("classes", [-1, 2.5])
def test_no_number_of_classes(classes):
    with pytest.raises((ValueError, TypeError), match="`classes` must be"):
        models.P4CNN(classes=classes, rngs=nnx.Rngs(0))


def test_embeddings_of_a_ready_network_are_its_features():
    """The example of docs/models.md."""
    model = models.load_pretrained("digits-p4cnn")
    x = jax.random.uniform(jax.random.key(0), (2, 28, 28, 1))
    found = jax.jit(model.features)(x)
    assert found.shape == (2, 10)
    np.testing.assert_allclose(found, model.features(jnp.rot90(x, axes=(1, 2))), atol=1e-5)
