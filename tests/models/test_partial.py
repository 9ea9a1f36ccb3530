"""CKResNet, the 13-layer network and Augerino: parameters, exact invariance, learned parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gconv_jax import O2, P4, P4M, SO2, Z2, Siren, mirror, rotate
from gconv_jax.models import Augerino, CKResNet, PartialGCNN13
from gconv_jax.nnx import PartialGroupConv, supports
from gconv_jax.testing import assert_equivariant
from tests.helpers import parameters, quick_jit, random_float64

SMALL = {"width": 2, "kernel_size": 3, "kernel_network": Siren(hidden=4), "classes": 3}


@pytest.mark.parametrize(
    ("model", "options", "published", "ours"),
    [
        (CKResNet, {}, 467_791, 468_074),
        (CKResNet, {"partial": True}, 467_791, 468_079),
        (CKResNet, {"group": O2(), "partial": True}, 467_988, 468_276),
        (CKResNet, {"in_features": 3}, 469_903, 470_186),
        (CKResNet, {"width": 10, "classes": 2, "partial": True}, 48_845, 53_189),
        (PartialGCNN13, {"in_features": 3}, 3_992_114, 3_994_474),
    ],
)
def test_parameter_counts(model, options, published, ours):
    """One more coordinate than published, for the group is a circle and not an interval; and the
    published 49k network has another kernel network."""
    assert parameters(nnx.eval_shape(lambda: model(rngs=nnx.Rngs(0), **options))) == ours
    assert ours == pytest.approx(published, rel=0.1 if "width" in options else 1e-3)


def as_function(model):
    graph, state = nnx.split(model)
    run = quick_jit(lambda state, x: nnx.merge(graph, state)(x))
    return lambda x: run(state, x)


def with_full_support(model, rng):
    """Random parameters and statistics, but those of the supports; in evaluation mode."""
    model = random_float64(model, rng)
    for _, layer in nnx.iter_graph(model):
        if isinstance(layer, PartialGroupConv):
            for name, value in (("theta", 1.0), ("logits", 2.0)):
                if name in layer.support_names:
                    variable = getattr(layer, name)
                    variable[...] = jnp.full_like(variable[...], value)
    model.eval()
    return model


@pytest.mark.one_in(23)
@pytest.mark.parametrize(
    ("group", "samples", "acting"),
    [(SO2(), 4, P4), (SO2(), 8, P4), (O2(), 8, P4M), (mirror(), None, mirror())],
    ids=str,
)
@pytest.mark.parametrize("partial", [False, True])
def test_full_supports_are_exactly_invariant(x64, rng, group, samples, acting, partial):
    options = {"group": group, "samples": samples, "partial": partial, **SMALL}
    model = with_full_support(lambda: CKResNet(rngs=nnx.Rngs(0), **options), rng)
    x = jnp.asarray(rng.normal(size=(2, 12, 12, 1)))
    assert_equivariant(as_function(model), x, group=acting, rtol=1e-10)


@pytest.mark.parametrize("model", [CKResNet, PartialGCNN13])
def test_single_precision_and_the_13_layers(rng, model):
    options = {k: v for k, v in SMALL.items() if k != "kernel_size" or model is CKResNet}
    options |= {"group": O2(), "samples": 8, "partial": True}
    model = with_full_support(lambda: model(rngs=nnx.Rngs(0), **options), rng)
    x = jnp.asarray(rng.normal(size=(2, 12, 12, 1)), jnp.float32)
    logits = as_function(model)
    assert_equivariant(logits, x, group=P4M, rtol=3e-5)
    np.testing.assert_array_equal(logits(x), logits(x))


@pytest.mark.slow
def test_a_part_of_the_group_tells_apart_what_the_whole_does_not(rng):
    """The negative control: half the circle, and no reflections."""
    x = jnp.asarray(rng.normal(size=(2, 12, 12, 1)), jnp.float32)
    model = CKResNet(group=O2(), samples=8, partial=True, rngs=nnx.Rngs(0), **SMALL)
    model.eval()
    logits = as_function(model)
    for moved in (jnp.rot90(x, 2, (1, 2)), x[:, :, ::-1]):
        np.testing.assert_allclose(logits(moved), logits(x), atol=1e-5)
    model.last.theta[...] = jnp.array(0.4)
    logits = as_function(model)
    assert jnp.abs(logits(jnp.rot90(x, 2, (1, 2))) - logits(x)).max() > 1e-3
    np.testing.assert_allclose(logits(x[:, :, ::-1]), logits(x), atol=1e-5)
    model.last.logits[...] = jnp.array([-1.0])
    logits = as_function(model)
    assert jnp.abs(logits(x[:, :, ::-1]) - logits(x)).max() > 1e-3


@pytest.mark.slow
def test_training_reaches_every_parameter(rng):
    """The parameters of supports change too; shortcuts and lifting have none of their own."""
    model = CKResNet(group=O2(), samples=4, partial=True, dropout=0.1, rngs=nnx.Rngs(0), **SMALL)
    assert list(supports(model)) == [
        *("block1.conv1", "block1.conv2", "block2.conv1", "block2.conv2", "last")
    ]
    for _, layer in nnx.iter_graph(model):
        if isinstance(layer, PartialGroupConv):
            layer.theta[...] = jnp.array(0.5)  # at 1 a gradient outwards is none
    model.train()
    x = jnp.asarray(rng.normal(size=(4, 12, 12, 1)), jnp.float32)
    graph, params, rest = nnx.split(model, nnx.Param, ...)

    @quick_jit
    def slopes(params):
        loss = lambda params: (nnx.merge(graph, params, rest, copy=True)(x) ** 2).sum()  # noqa: E731
        return jax.grad(loss)(params)

    # Biases before a normalization have none.
    silent = {
        ".".join(map(str, path))
        for path, value in nnx.to_flat_state(slopes(params))
        if float(jnp.abs(value[...]).max()) < 1e-7
    }
    assert all(name.endswith("bias") or "bias_2" in name for name in silent), silent


def test_augerino_is_the_mean_over_turned_copies(rng):
    x = jnp.asarray(rng.normal(size=(2, 9, 9, 1)), jnp.float32)
    seen = []

    class Plain(nnx.Module):
        def __call__(self, x):
            seen.append(x)
            return x.reshape(len(x), -1)[:, :3]

    model = Augerino(Plain(), copies=4, rngs=nnx.Rngs(0))
    assert str(model.support) == "rotations within ±90°"
    model.eval()
    angles = np.pi / 2 * np.array([-0.75, -0.25, 0.25, 0.75])
    expected = np.mean([[rotate(image, a).reshape(-1)[:3] for image in x] for a in angles], axis=0)
    np.testing.assert_allclose(model(x), expected, atol=1e-6)
    np.testing.assert_array_equal(model(x), model(x))
    model.train()
    assert jnp.abs(model(x) - model(x)).max() > 1e-3
    copies = np.asarray(seen[-1]).reshape(4, 2, 9, 9, 1)
    assert np.abs(copies[0] - copies[1]).max() > 1e-3
    slope = nnx.grad(lambda model: (model(x) ** 2).sum())(model)["theta"][...]
    assert jnp.abs(slope) > 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CKResNet(group=P4, samples=8, rngs=nnx.Rngs(0)), "`samples` must be left out"),
        (lambda: CKResNet(group=O2(), samples=5, rngs=nnx.Rngs(0)), "`samples` must be even"),
        (lambda: Augerino(None, copies=0, rngs=nnx.Rngs(0)), "`copies` must be at least 1"),
        (
            lambda: CKResNet(group=Z2, rngs=nnx.Rngs(0), **SMALL)(jnp.ones((1, 9, 9, 1))),
            "at least 12 x 12 pixels",
        ),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
