"""Several devices give the result of one: pmap, shard_map, and sharded arrays under jit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from gconv_jax import P4, group_conv
from gconv_jax._native import door
from tests.helpers import assert_close
from tests.test_transformations import network

DEVICES = 2
DATA = PartitionSpec("data")


@pytest.fixture
def mesh():
    if jax.device_count() < DEVICES:
        pytest.skip(f"needs {DEVICES} devices")
    devices = jax.devices()[:DEVICES]
    return jax.make_mesh((DEVICES,), ("data",), devices=devices, axis_types=(AxisType.Auto,))


@pytest.fixture
def args(rng):
    shapes = (4, 8, 8, 1), (3, 3, 1, 2), (2, 2, 4, 2, 3), (3,)
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


@pytest.fixture
def expected(args):
    return np.asarray(jax.jit(network)(*args))


def test_pmap(mesh, args, expected):
    x, *weights = args
    spread = jax.pmap(network, in_axes=(0, None, None, None), devices=list(mesh.devices))
    y = spread(x.reshape(DEVICES, -1, *x.shape[1:]), *weights)
    assert_close(np.asarray(y).reshape(expected.shape), expected, atol=1e-5)


def test_shard_map(mesh, args, expected):
    rest = (PartitionSpec(),) * (len(args) - 1)
    spread = jax.shard_map(network, mesh=mesh, in_specs=(DATA, *rest), out_specs=DATA)
    assert_close(np.asarray(jax.jit(spread)(*args)), expected, atol=1e-5)


def test_batch_sharded_under_jit(mesh, args, expected):
    x, *weights = args
    x = jax.device_put(x, NamedSharding(mesh, DATA))
    weights = jax.device_put(weights, NamedSharding(mesh, PartitionSpec()))
    y = jax.jit(network)(x, *weights)
    assert_close(np.asarray(y), expected, atol=1e-5)
    # XLA cannot divide a foreign function.
    assert y.sharding.is_fully_replicated == door.available("onednn"), "the batch stays spread"


def test_gradient_is_that_of_the_whole_batch(mesh, args):
    def loss(weights, x):
        return (network(x, *weights, group=P4) ** 2).mean()

    x, *weights = args
    expected = jax.jit(jax.grad(loss))(weights, x)
    spread = jax.jit(jax.grad(loss), out_shardings=NamedSharding(mesh, PartitionSpec()))
    gradient = spread(weights, jax.device_put(x, NamedSharding(mesh, DATA)))
    for actual, e in zip(gradient, expected, strict=True):
        assert_close(np.asarray(actual), np.asarray(e), atol=1e-4 * float(jnp.abs(e).max()))


@pytest.mark.one_in(6)
@pytest.mark.parametrize("algorithm", ["dense", "fourier"])
@pytest.mark.parametrize("replicated", [True, False])
def test_gradients_inside_shard_map(mesh, rng, algorithm, replicated):
    """Data parallelism by hand: filters are the same on all devices, and so is their gradient."""
    x = rng.normal(size=(4, 5, 5, 4, 2)).astype(np.float32)
    w = rng.normal(size=(3, 3, 4, 2, 2)).astype(np.float32)
    bias = np.ones(2, np.float32)

    def loss(w, x):
        return (group_conv(x, w, group=P4, bias=bias, algorithm=algorithm) ** 2).sum()

    def spread(w, x):
        specs = (PartitionSpec(), DATA) if replicated else (PartitionSpec(), PartitionSpec())
        total = jax.shard_map(
            lambda w, x: jax.lax.psum(loss(w, x), "data") if replicated else loss(w, x),
            mesh=mesh,
            in_specs=specs,
            out_specs=PartitionSpec(),
        )
        return total(w, x)

    expected = jax.jit(jax.grad(loss, (0, 1)))(w, x)
    for actual, e in zip(jax.jit(jax.grad(spread, (0, 1)))(w, x), expected, strict=True):
        assert_close(np.asarray(actual), np.asarray(e), atol=1e-4 * float(jnp.abs(e).max()))
