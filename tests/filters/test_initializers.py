"""Kernels are drawn as before, only sooner, and users' own initializers are called as Flax calls
them."""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn, nnx
from jax.nn.initializers import (
    he_normal,
    lecun_normal,
    normal,
    ones,
    orthogonal,
    truncated_normal,
    uniform,
    zeros,
)
from jax.sharding import Mesh, PartitionSpec

import gconv_jax.linen
import gconv_jax.nnx
from gconv_jax import P4, SO2, SampledFeatures, all_elements
from gconv_jax.filters.initializers import compile_unoptimized, with_new_values
from gconv_jax.nnx import GroupConv
from tests.helpers import assert_close

KEY = jax.random.key(1)
JAXS = [lecun_normal(), he_normal(), normal(), truncated_normal(), uniform()]


@pytest.mark.parametrize("initializer", [*JAXS, orthogonal(), zeros])
def test_values(initializer):
    args = KEY, (3, 3, 2, 4), jnp.float32
    assert_close(compile_unoptimized(initializer)(*args), initializer(*args), atol=1e-6)


@pytest.mark.parametrize("initializer", JAXS)
def test_jaxs_own_are_compiled_and_wrappers_around_them_are_not(initializer):
    assert compile_unoptimized(initializer) is not initializer
    wrapper = functools.wraps(initializer)(lambda *args: initializer(*args))
    assert wrapper.__module__ == initializer.__module__ and compile_unoptimized(wrapper) is wrapper
    partial = functools.partial(initializer)
    assert compile_unoptimized(partial) is partial


def test_inside_transformations():
    def build(key):
        return GroupConv(2, 3, 3, group=P4, rngs=nnx.Rngs(key)).kernel[...]

    keys = jax.random.split(jax.random.key(0))
    expected = build(keys[0])
    assert_close(jax.jit(build)(keys[0]), expected, atol=1e-6)
    assert jax.eval_shape(build, keys[0]).shape == expected.shape
    assert_close(jax.vmap(build)(keys)[0], expected, atol=1e-6)


def test_changed_keeps_what_is_said_about_an_array():
    made = nnx.with_metadata(ones, note="here")(KEY, (2,), jnp.float32)
    param = nnx.Param(with_new_values(made, lambda a: 3 * a))
    assert param.note == "here" and (param[...] == 3).all()
    box = nn.with_partitioning(ones, ("model",))(KEY, (2,), jnp.float32)
    box = with_new_values(box, lambda a: 3 * a)
    assert box.names == ("model",) and (box.value == 3).all()
    assert (with_new_values(jnp.ones(2), lambda a: 3 * a) == 3).all()


# --------------------------------------------------------------------------------------------
# All layers, with all kinds of initializers.
# --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Linear:
    """A kernel network of one linear map, with the initializer of the test."""

    init: Any

    def parameters(self, inputs, outputs):
        return {"kernel_0": (self.init, (inputs, outputs))}

    def __call__(self, parameters, coordinates):
        return coordinates @ parameters["kernel_0"]


IMAGE, MAP = np.ones((1, 4, 4, 2), np.float32), np.ones((1, 4, 4, 4, 2), np.float32)
SAMPLED = SampledFeatures(jnp.asarray(MAP), all_elements(SO2(), 4))
FINITE = {"group": P4, "padding": "VALID"}
CONTINUOUS = {"group": SO2(), "samples": 4, "deterministic": True, "padding": "VALID"}
# Class, options, input. Sizes are even, so that axes can be divided between two devices.
LAYERS = {
    "lift": ("LiftConv", FINITE, IMAGE),
    "group": ("GroupConv", FINITE, MAP),
    "gc": ("SeparableGroupConv", {**FINITE, "separable": "gc"}, MAP),
    "g": ("SeparableGroupConv", {**FINITE, "separable": "g"}, MAP),
    "transpose": ("GroupConvTranspose", FINITE, MAP),
    "quotient": ("QuotientConv", {**FINITE, "out_subgroup": P4}, MAP),
    "continuous lift": ("ContinuousLiftConv", CONTINUOUS, IMAGE),
    "continuous group": ("ContinuousGroupConv", CONTINUOUS, SAMPLED),
    "partial": ("PartialGroupConv", CONTINUOUS, SAMPLED),
}
every_layer = pytest.mark.parametrize("name", LAYERS)


def options_of(name, kernel_init, bias_init) -> tuple[str, dict]:
    kind, options, _ = LAYERS[name]
    own = {"kernel_network": Linear(kernel_init)} if options is CONTINUOUS else None
    return kind, options | (own or {"kernel_init": kernel_init}) | {"bias_init": bias_init}


def build(name, kernel_init, bias_init=zeros) -> nnx.Module:
    kind, options = options_of(name, kernel_init, bias_init)
    return getattr(gconv_jax.nnx, kind)(2, 2, 2, **options, rngs=nnx.Rngs(0))


def init_linen(name, kernel_init, bias_init=zeros) -> dict:
    kind, options = options_of(name, kernel_init, bias_init)
    return getattr(gconv_jax.linen, kind)(2, 2, **options).init(KEY, LAYERS[name][2])["params"]


def kernels(made) -> dict:
    """The parameters that ``kernel_init`` has made, by name, of a layer or its variables."""
    if isinstance(made, nnx.Module):
        made = {name: value for name, value in vars(made).items() if isinstance(value, nnx.Param)}
    return {name: value for name, value in made.items() if "kernel" in name}


@every_layer
def test_sharding_of_nnx_layers_is_that_of_nnx_conv(name):
    mesh = Mesh(np.array(jax.devices()[:2]), ("model",))
    inits = (
        nnx.with_partitioning(lecun_normal(), (None, "model"), mesh=mesh),
        nnx.with_partitioning(ones, ("model",), mesh=mesh),
    )
    flax = nnx.Conv(2, 2, (2, 2), kernel_init=inits[0], bias_init=inits[1], rngs=nnx.Rngs(0))
    layer, plain = build(name, *inits), build(name, lecun_normal(), ones)
    found = kernels(layer)
    assert found and found.keys() == kernels(plain).keys()
    pairs = [(layer.bias, flax.bias), *((param, flax.kernel) for param in found.values())]
    for param, like in pairs:
        (spec,), (expected,) = (jax.tree.leaves(nnx.get_partition_spec(p)) for p in (param, like))
        assert spec == expected != PartitionSpec()
        assert param[...].sharding == like[...].sharding
    for kernel, param in kernels(plain).items():
        assert_close(found[kernel][...], param[...], atol=1e-6)
    assert_close(output(layer, name), output(plain, name), atol=1e-5)


def output(layer, name) -> jax.Array:
    return jax.tree.leaves(layer(LAYERS[name][2]))[0]


@every_layer
def test_metadata_of_linen_layers(name):
    inits = (
        nn.with_partitioning(lecun_normal(), (None, "model")),
        nn.with_partitioning(ones, ("model",)),
    )
    params, plain = init_linen(name, *inits), init_linen(name, lecun_normal(), ones)
    specs = nn.get_partition_spec(params)
    assert specs["bias"] == PartitionSpec("model")
    found = kernels(params)
    assert found and found.keys() == kernels(plain).keys()
    for kernel, box in found.items():
        assert specs[kernel] == PartitionSpec(None, "model")
        assert_close(box.value, plain[kernel], atol=1e-6)


@every_layer
@pytest.mark.parametrize("make", [init_linen, build], ids=["linen", "nnx"])
def test_initializers_with_a_state(make, name):
    """They look like JAX's own, but each call gives other values."""
    calls = []

    @functools.wraps(lecun_normal())
    def counting(key, shape, dtype):
        calls.append(shape)
        return jnp.full(shape, len(calls), dtype)

    values = []
    for _ in range(2):
        made = make(name, counting, functools.partial(counting))
        bias = made.bias if isinstance(made, nnx.Module) else made["bias"]
        made = [bias, *kernels(made).values()]
        values += [float(np.asarray(param[...]).ravel()[0]) for param in made]
    scale = 4**0.5 if name == "quotient" else 1  # its kernel is larger by what a mean takes
    assert len(calls) == len(values)
    found = {round(value / s, 4) for value in values for s in (1, scale)}
    assert found >= set(range(1, len(calls) + 1))


@every_layer
def test_metadata_under_transformations(name):
    """``nnx.eval_shape`` and ``nnx.jit`` build the layer with the metadata of the user."""
    init = nnx.with_metadata(lambda key, shape, dtype: normal()(key, shape, dtype), note="here")
    expected = kernels(build(name, init))
    for made in (nnx.eval_shape(lambda: build(name, init)), nnx.jit(lambda: build(name, init))()):
        for kernel, param in kernels(made).items():
            assert param.note == "here" and param.shape == expected[kernel].shape
    for kernel, param in kernels(made).items():
        assert_close(param[...], expected[kernel][...], atol=1e-6)
