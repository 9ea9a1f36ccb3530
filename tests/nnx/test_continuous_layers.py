"""The continuous layers: NNX equals Linen equals the pure function; both modes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import gconv_jax.linen
import gconv_jax.nnx
from gconv_jax import (
    O2,
    P4,
    SO2,
    Elements,
    MultiplicativeFilters,
    SampledFeatures,
    Siren,
    all_elements,
    continuous_group_conv,
    mirror,
    sampled_pool,
)
from gconv_jax.continuous.conv import scaled_kernel
from gconv_jax.nnx import (
    BatchNorm,
    ContinuousGroupConv,
    ContinuousLiftConv,
    PartialGroupConv,
    set_temperature,
    supports,
)

SMALL = Siren(hidden=4)


def features(group, samples=None, channels=2):
    elements = all_elements(group, samples)
    rng = np.random.default_rng(0)
    shape = (2, 5, 5, len(elements.weights), channels)
    return SampledFeatures(jnp.asarray(rng.normal(size=shape), jnp.float32), elements)


@pytest.mark.one_in(10)
@pytest.mark.parametrize("name", ["ContinuousLiftConv", "ContinuousGroupConv", "PartialGroupConv"])
@pytest.mark.parametrize(("group", "samples"), [(O2(), 4), (mirror(), None)], ids=str)
def test_the_adapters_agree(name, group, samples):
    """Parameters copy across by name, and results are equal in evaluation."""
    x = features(group, samples)
    x = x.values[..., 0, :] if name == "ContinuousLiftConv" else x
    options = {"group": group, "samples": samples, "kernel_network": SMALL, "strides": 2}
    options |= {"use_bias": True, "bias_init": jax.nn.initializers.normal()}
    layer = getattr(gconv_jax.nnx, name)(2, 3, 3, deterministic=True, rngs=nnx.Rngs(0), **options)
    theirs = getattr(gconv_jax.linen, name)(3, 3, deterministic=True, **options)
    variables = theirs.init(jax.random.key(1), x)
    parameters = {k: v[...] for k, v in nnx.state(layer, nnx.Param).items()}
    assert {k: v.shape for k, v in parameters.items()} == {
        k: v.shape for k, v in variables["params"].items()
    }
    y = theirs.apply(variables | {"params": parameters}, x)
    np.testing.assert_allclose(y.values, layer(x).values, atol=1e-6)
    np.testing.assert_array_equal(y.elements.matrices, layer.elements().matrices)


def test_a_layer_is_the_pure_function():
    x = features(SO2(), 4)
    layer = ContinuousGroupConv(2, 3, 3, group=SO2(), samples=4, rngs=nnx.Rngs(0))
    elements = layer.elements()
    parameters = {name: getattr(layer, name)[...] for name in layer.kernel_names}
    kernel = scaled_kernel(
        lambda at: layer.kernel_network(parameters, at),
        in_features=2,
        out_features=3,
        kernel_size=3,
        samples=4,
    )
    expected = continuous_group_conv(x, kernel, group=SO2(), elements=elements, kernel_size=3)
    np.testing.assert_allclose(layer(x, elements).values, expected.values, atol=1e-6)


@pytest.mark.parametrize("kind", [ContinuousGroupConv, PartialGroupConv])
def test_training_is_random_and_evaluation_is_not(kind):
    x = features(SO2(), 4)
    layer = kind(2, 3, 3, group=SO2(), samples=4, kernel_network=SMALL, rngs=nnx.Rngs(0))
    layer.train()
    once, again = layer(x), layer(x)
    assert jnp.abs(once.elements.matrices - again.elements.matrices).max() > 1e-3
    layer.eval()
    np.testing.assert_array_equal(layer(x).values, layer(x).values)


def test_linen_draws_from_the_stream_of_samples():
    x = features(O2(), 4)
    layer = gconv_jax.linen.PartialGroupConv(3, 3, group=O2(), samples=4, kernel_network=SMALL)
    variables = layer.init(jax.random.key(0), x, deterministic=True)

    def draw(seed):
        key = {"samples": jax.random.key(seed)}
        return layer.apply(variables, x, deterministic=False, rngs=key).elements.matrices

    draws = [draw(seed) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert jnp.abs(draws[0] - draws[2]).max() > 1e-3
    fixed = layer.apply(variables, x, deterministic=True)
    assert fixed.values.shape == (2, 5, 5, 4, 3)


def test_shapes_do_not_depend_on_theta():
    """One compiled program for every support."""
    x = features(SO2(), 4)
    layer = PartialGroupConv(
        2, 3, 3, group=SO2(), samples=4, kernel_network=SMALL, rngs=nnx.Rngs(0)
    )
    graph, parameters, rest = nnx.split(layer, nnx.Param, ...)
    traces = []

    @jax.jit
    def call(parameters):
        traces.append(None)
        return nnx.merge(graph, parameters, rest, copy=True)(x).values

    found = []
    for theta in (1.0, 0.3, 0.0):
        parameters["theta"] = parameters["theta"].replace(jnp.array(theta))
        found.append(call(parameters))
    assert len(traces) == 1 and found[0].shape == (2, 5, 5, 4, 3)
    assert jnp.abs(found[0] - found[1]).max() > 1e-3
    # All samples at the identity: the same values at each.
    np.testing.assert_allclose(found[2][..., 0, :], found[2][..., 3, :], atol=5e-3)


def test_batch_norm_leaves_out_what_is_not_there():
    """The fast form, Flax's own with a mask, Linen's, and NumPy agree."""
    x = features(SO2(), 4, channels=3)
    x = x._replace(elements=Elements(x.elements.matrices, jnp.array([1.0, 0.0, 1.0, 1.0])))
    there = np.asarray(x.values)[..., [0, 2, 3], :]
    axes = (0, 1, 2, 3)
    expected = (np.asarray(x.values) - there.mean(axes)) / np.sqrt(there.var(axes) + 1e-5)
    ours, flax = (
        cls(3, use_running_average=False, rngs=nnx.Rngs(0)) for cls in (BatchNorm, nnx.BatchNorm)
    )
    np.testing.assert_allclose(ours(x).values, expected, atol=1e-5)
    np.testing.assert_allclose(flax(x.values, mask=x.mask), expected, atol=1e-5)
    np.testing.assert_allclose(ours.mean[...], flax.mean[...], atol=1e-6)
    np.testing.assert_allclose(ours.var[...], flax.var[...], rtol=1e-5)
    slow = BatchNorm(3, use_running_average=False, use_fast_variance=False, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(slow(x).values, expected, atol=1e-5)
    norm = linen.BatchNorm(use_running_average=False)
    y, _ = norm.apply(
        norm.init(jax.random.key(0), x.values), x.values, mask=x.mask, mutable="batch_stats"
    )
    np.testing.assert_allclose(y, expected, atol=1e-5)


class Network(nnx.Module):
    def __init__(self, group, samples, rngs):
        options = {"group": group, "samples": samples, "kernel_network": SMALL, "rngs": rngs}
        self.lift = ContinuousLiftConv(1, 2, 3, **options)
        self.parts = nnx.Sequential(*[PartialGroupConv(2, 2, 3, **options) for _ in range(11)])

    def __call__(self, x):
        x = self.lift(x)
        for part in self.parts.layers:
            x = part(x.map(nnx.relu))
        return sampled_pool(x).mean((1, 2))


def test_supports_of_a_model():
    model = Network(O2(), 4, nnx.Rngs(0))
    found = supports(model)
    assert list(found) == [f"parts.layers.{i}" for i in range(11)]
    assert found["parts.layers.10"].theta == 1
    set_temperature(model, 0.1)
    assert model.parts.layers[3].temperature[...] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"samples": None}, ValueError, "`samples` must be given"),
        ({"group": P4, "samples": 8}, ValueError, "`samples` must be left out"),
        ({"group": "so2"}, TypeError, "`group` must be SO2"),
        ({"kernel_network": Siren}, TypeError, "`kernel_network` must be"),
        ({"kernel_size": (3, 5)}, ValueError, "`kernel_size` must be equal on both axes"),
        ({"in_features": 0}, ValueError, "`in_features`"),
        ({"padding": "SOME"}, ValueError, "`padding`"),
    ],
)
@pytest.mark.parametrize("kind", [ContinuousLiftConv, PartialGroupConv])
def test_bad_input_is_found_when_a_layer_is_built(kind, change, error, message):
    options = {"in_features": 2, "out_features": 3, "kernel_size": 3, "group": SO2(), "samples": 4}
    with pytest.raises(error, match=message):
        kind(**(options | change), rngs=nnx.Rngs(0))


def test_other_networks_and_half_precision():
    x = features(SO2(), 4)
    layer = PartialGroupConv(
        2,
        3,
        3,
        group=SO2(),
        samples=4,
        kernel_network=MultiplicativeFilters(hidden=4),
        dtype=jnp.bfloat16,
        deterministic=True,
        rngs=nnx.Rngs(0),
    )
    y = layer(x).values
    assert y.dtype == jnp.bfloat16
    layer.dtype = None
    np.testing.assert_allclose(y, layer(x).values, atol=0.1)
