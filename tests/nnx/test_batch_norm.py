"""`BatchNorm` is Flax's, computed in another order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gconv_jax.nnx import BatchNorm
from tests.helpers import assert_close, every_case, feature_map, law_error

OPTIONS = [
    {},
    {"momentum": 0.5, "epsilon": 1e-3},
    {"use_scale": False},
    {"use_bias": False},
    {"use_fast_variance": False},
    {"axis": -2},
]


def pair(features, **options):
    return [cls(features, rngs=nnx.Rngs(0), **options) for cls in (BatchNorm, nnx.BatchNorm)]


def randomise(norms, rng):
    """The same variables in both, so that each of them matters."""
    for name in ("scale", "bias", "mean", "var"):
        value = rng.uniform(0.5, 2, size=norms[0].mean.shape)
        for norm in norms:
            if getattr(norm, name) is not None:
                kind = type(getattr(norm, name))
                setattr(norm, name, kind(jnp.asarray(value)))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("train", [True, False])
def test_values_variables_and_gradients_are_those_of_flax(options, train, rng, x64):
    x = rng.normal(2, 3, size=(3, 5, 4, 4, 6))
    norms = pair(4 if "axis" in options else 6, param_dtype=jnp.float64, **options)
    randomise(norms, rng)
    results = []
    for norm in norms:
        graph, state = nnx.split(norm)

        def loss(state, x, graph=graph):
            norm = nnx.merge(graph, state, copy=True)
            y = norm(x, use_running_average=not train)
            return jnp.sin(y).sum(), (y, norm.mean[...], norm.var[...])

        results.append(jax.jit(jax.grad(loss, (0, 1), has_aux=True))(state, x))
    actual, expected = (jax.tree.leaves(r) for r in results)
    for a, e in zip(actual, expected, strict=True):
        assert_close(a, e, atol=1e-11)


@pytest.mark.parametrize("dtype", [None, "bfloat16", "float32"])
def test_types(dtype, rng):
    x = jnp.asarray(rng.normal(size=(2, 5, 5, 4, 3)), dtype or "float32")
    ours, flax = (norm(x) for norm in pair(3, dtype=dtype))
    assert ours.dtype == flax.dtype
    step = float(jnp.finfo(ours.dtype).eps)
    assert_close(ours.astype(jnp.float32), flax.astype(jnp.float32), atol=8 * step)


def test_statistics_over_devices(rng):
    if jax.device_count() < 2:
        pytest.skip("needs 2 devices")
    x = rng.normal(size=(2, 3, 5, 5, 4, 3)).astype(np.float32)
    norm = BatchNorm(3, axis_name="d", rngs=nnx.Rngs(0))
    graph, state = nnx.split(norm)
    spread = jax.pmap(
        lambda x: nnx.merge(graph, state, copy=True)(x), axis_name="d", devices=jax.devices()[:2]
    )
    expected = nnx.BatchNorm(3, rngs=nnx.Rngs(0))(x.reshape(-1, *x.shape[2:]))
    assert_close(np.asarray(spread(x)).reshape(expected.shape), np.asarray(expected), atol=1e-5)


@every_case
def test_the_law(case, rng, x64):
    norm = BatchNorm(2, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    for train in (True, False):
        graph, state = nnx.split(norm)
        layer = jax.jit(
            lambda x, t=train, g=graph, s=state: nnx.merge(g, s, copy=True)(
                x, use_running_average=not t
            )
        )
        x = feature_map(rng, case, 5)
        assert law_error(layer, case, x, lifted=(True, True)) < 1e-12


def test_unset_mode_is_refused_as_by_flax():
    norm = BatchNorm(3, use_running_average=None, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="use_running_average"):
        norm(jnp.ones((2, 3, 3, 4, 3)))
