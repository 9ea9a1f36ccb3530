"""Functions of base filters: weight standardization, and the law with any of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import gconv_jax.linen as glinen
import gconv_jax.nnx as gnnx
from gconv_jax import P4, P4M, cyclic, mirror, standardize_weights
from tests.helpers import BY_NAME, assert_close, feature_map, image, law_error

LAYERS = {
    "LiftConv": lambda m, *c, **o: m.LiftConv(*c, 3, **o),
    "GroupConv": lambda m, *c, **o: m.GroupConv(*c, 3, **o),
    "fourier": lambda m, *c, **o: m.GroupConv(*c, 3, algorithm="fourier", **o),
    "separable": lambda m, *c, **o: m.SeparableGroupConv(*c, 3, **o),
    "transposed": lambda m, *c, **o: m.GroupConvTranspose(*c, 3, padding=1, **o),
    "quotient": lambda m, *c, **o: m.QuotientConv(*c, 3, **o),
    "harmonic": lambda m, *c, **o: m.GroupConv(*c, 3, filters="harmonic", **o),
}


def test_mean_and_variance(rng, x64):
    w = 3 + 5 * rng.normal(size=(3, 3, 8, 4, 6))
    s = np.asarray(standardize_weights(jnp.asarray(w), epsilon=0.0))
    flat, n = w.reshape(-1, 6), 3 * 3 * 8 * 4
    expected = (flat - flat.mean(0)) / (flat.std(0) * np.sqrt(n))
    np.testing.assert_allclose(s.reshape(-1, 6), expected, atol=1e-12)
    np.testing.assert_allclose((s**2).sum((0, 1, 2, 3)), 1, atol=1e-12)
    # Shifting or scaling filters makes no difference.
    np.testing.assert_allclose(standardize_weights(7 * w - 2, epsilon=0.0), s, atol=1e-12)
    assert not np.asarray(standardize_weights(jnp.ones((3, 3, 1, 2)))).any()


@pytest.mark.one_in(23)
@pytest.mark.parametrize("transform", [standardize_weights, jnp.tanh], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", LAYERS)
def test_the_law_and_both_adapters(name, transform, rng, x64):
    case = BY_NAME["p4m"]
    lifting = name == "LiftConv"
    options = {"group": P4M, "kernel_transform": transform, "param_dtype": jnp.float64}
    layer = LAYERS[name](gnnx, 2, 3, rngs=nnx.Rngs(0), **options)
    x = (image if lifting else feature_map)(rng, case, 5)
    assert law_error(jax.jit(layer), case, x, lifted=(not lifting, True)) < 1e-12
    weights = nnx.to_pure_dict(nnx.state(layer))
    linen = LAYERS[name](glinen, 3, **options)
    assert_close(linen.apply({"params": weights}, x), layer(x), atol=1e-12)
    moved = {k: v if k == "bias" else transform(jnp.asarray(v)) for k, v in weights.items()}
    plain = LAYERS[name](glinen, 3, **(options | {"kernel_transform": None}))
    assert_close(plain.apply({"params": moved}, x), layer(x), atol=1e-12)


def test_it_is_part_of_the_gradient(rng, x64):
    """A layer whose filters are standardized does not change when they are scaled, so its gradient
    is orthogonal to them."""
    layer = gnnx.GroupConv(
        2, 3, 3, group=P4, kernel_transform=standardize_weights, use_bias=False,
        param_dtype=jnp.float64, rngs=nnx.Rngs(0),
    )  # fmt: skip
    x = jnp.asarray(feature_map(rng, BY_NAME["p4"], 5))
    gradient = nnx.grad(lambda layer: (layer(x) ** 3).sum())(layer)["kernel"][...]
    w = layer.kernel[...]
    along = np.abs((gradient * w).sum((0, 1, 2, 3)))
    assert (along < 1e-2 * np.abs(gradient * w).sum((0, 1, 2, 3))).all()
    assert np.abs(gradient).max() > 1e-3


def test_unit_variance():
    layer = gnnx.GroupConv(
        32, 64, 5, group=P4, padding="VALID", kernel_transform=standardize_weights,
        kernel_init=nnx.initializers.normal(7.0), rngs=nnx.Rngs(0),
    )  # fmt: skip
    x = jax.random.normal(jax.random.key(1), (4, 9, 9, 4, 32))
    assert 0.8 < float(layer(x).var()) < 1.25


def test_bad_input():
    with pytest.raises(ValueError, match="`w` must be a floating base filter"):
        standardize_weights(jnp.ones(3))
    with pytest.raises(ValueError, match="`w` must be a floating base filter"):
        standardize_weights(jnp.ones((3, 3, 1, 2), int))
    layer = gnnx.GroupConv(2, 3, 3, group=P4, kernel_transform=lambda w: w[0], rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="`w` must be"):
        layer(jnp.ones((1, 5, 5, 4, 2)))
    with pytest.raises(TypeError, match="`kernel_transform` must be a function, got 'ws'"):
        gnnx.GroupConv(2, 3, 3, group=cyclic(2), kernel_transform="ws", rngs=nnx.Rngs(0))
    layer = glinen.LiftConv(3, 3, group=mirror(), kernel_transform="ws")
    with pytest.raises(TypeError, match="`kernel_transform` must be a function, got 'ws'"):
        layer.init(jax.random.key(0), jnp.ones((1, 5, 5, 2)))
