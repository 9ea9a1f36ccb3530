"""Kernel networks: unit variance at initialization, at every point and frequency."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gconv_jax import KernelNetwork, MultiplicativeFilters, Siren
from gconv_jax.continuous.kernel_networks import check_kernel_network


def values(network, key, points, outputs=3):
    shapes = network.parameters(points.shape[-1], outputs)
    keys = jax.random.split(key, len(shapes))
    parameters = {
        name: init(k, shape, jnp.float32)
        for k, (name, (init, shape)) in zip(keys, shapes.items(), strict=True)
    }
    return network(parameters, points)


@pytest.mark.one_in(10)
@pytest.mark.parametrize(
    "network",
    [
        Siren(),
        Siren(hidden=8, layers=4, omega=30.0),
        MultiplicativeFilters(),
    ],
    ids=str,
)
def test_unit_variance_at_every_point(network):
    """Over draws of the parameters: also at the origin, where networks without phases are 0."""
    points = jnp.array([[0.0, 0.0, 1.0], [1.0, 0.0, -1.0], [0.3, -0.8, 0.5]])
    draw = jax.jit(jax.vmap(lambda key: values(network, key, points)))
    found = np.asarray(draw(jax.random.split(jax.random.key(0), 2000)))
    np.testing.assert_allclose(found.mean(0), 0, atol=0.12)
    np.testing.assert_allclose(found.var(0), 1, atol=0.15)


def test_siren_is_its_equation(rng):
    network = Siren(hidden=5, omega=7.0)
    p = {name: rng.normal(size=shape) for name, (_, shape) in network.parameters(2, 3).items()}
    x = rng.normal(size=(4, 2))
    first = np.sin(7 * (x @ p["kernel_0"] + p["bias_0"]))
    second = np.sin(7 * (first @ p["kernel_1"] + p["bias_1"]))
    expected = second @ p["kernel_2"] + p["bias_2"]
    np.testing.assert_allclose(network(p, jnp.asarray(x)), expected, atol=1e-4)


def test_multiplicative_filters_are_their_equation(rng):
    network = MultiplicativeFilters(hidden=5, layers=2)
    p = {name: rng.normal(size=shape) for name, (_, shape) in network.parameters(2, 3).items()}
    x = rng.normal(size=(4, 2))
    first = np.sin(x @ p["frequency_0"] + p["phase_0"])
    second = (first @ p["kernel_0"] + p["bias_0"]) * np.sin(x @ p["frequency_1"] + p["phase_1"])
    expected = second @ p["kernel_1"] + p["bias_1"]
    np.testing.assert_allclose(network(p, jnp.asarray(x)), expected, atol=1e-4)


def test_networks_are_hashable_values():
    assert Siren() == Siren() != Siren(omega=5.0)
    assert isinstance(Siren(), KernelNetwork)
    assert len({Siren(), Siren(), MultiplicativeFilters()}) == 2


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Siren(layers=1), ValueError, "`layers` must be an integer of at least 2, got 1"),
        (lambda: Siren(hidden=0), ValueError, "`hidden` must be an integer of at least 1"),
        (lambda: Siren(omega=0.0), ValueError, "`omega` must be positive and finite"),
        (lambda: MultiplicativeFilters(frequency=float("nan")), ValueError, "`frequency`"),
        (lambda: check_kernel_network(Siren), TypeError, "`kernel_network` must be Siren"),
        (lambda: check_kernel_network("siren"), TypeError, "got 'siren'"),
    ],
)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()
