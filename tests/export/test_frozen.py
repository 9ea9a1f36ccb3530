"""Frozen networks are the networks, with nothing of the group left in them; files run by JAX."""

import subprocess
import sys
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn, nnx
from jax import export as jax_export

import gconv_jax.linen as glinen
import gconv_jax.nnx as gnnx
from gconv_jax import (
    P4,
    P4M,
    Z2,
    dihedral,
    group_conv_transpose,
    group_pool,
    lift_conv,
    mirror,
    models,
    octahedral,
)
from gconv_jax.conv.algorithm import auto_algorithm
from gconv_jax.export import Frozen, freeze, stablehlo
from gconv_jax.testing import assert_equivariant
from tests.helpers import random_float64

NETWORKS = {
    "P4CNN": (models.P4CNN, {"width": 2}, (28, 28, 1)),
    "rotation pooling": (models.P4CNNRotationPooling, {"width": 2}, (28, 28, 1)),
    "plain": (models.Z2CNN, {"width": 2}, (28, 28, 1)),
    "mixed": (models.MixedGroupCNN, {"groups": (P4M, P4, Z2), "widths": 2}, (28, 28, 1)),
    "separable": (models.SeparableCNN, {"width": 2}, (28, 28, 1)),
    "residual": (models.ResNet, {"blocks": 1, "widths": 2}, (9, 9, 3)),
    "residual on volumes": (
        models.ResNet,
        {"blocks": 1, "widths": 2, "group": octahedral(), "in_features": 1},
        (8, 8, 8, 1),
    ),
    "wide": (
        models.WideResNet,
        {"depth": 10, "widen": 1, "groups": (dihedral(8), P4M, mirror())},
        (8, 8, 3),
    ),
    "dense": (models.DenseNet, {"blocks": (2, 1), "growth": 2}, (8, 8, 3)),
    "all-cnn": (models.AllCNNC, {"widths": (2, 3)}, (16, 16, 3)),
    "u-net": (models.UNet, {"width": 2, "depth": 1}, (8, 8, 3)),
    "voxels": (models.VoxelCNN, {"group": octahedral(), "widths": 2}, (12, 12, 12, 1)),
    "harmonic": (models.SmallE2CNN, {"width": 1}, (28, 28, 1)),
    "continuous": (models.CKResNet, {"width": 2, "samples": 4}, (28, 28, 1)),
}
# Beside convolutions: elementwise functions, windows and sums of pooling, moves of data.
PLAIN = {
    "gconv_jax_planar_conv", "gconv_jax_depthwise_conv", "conv_general_dilated", "dot_general",
    "add", "sub", "mul", "div", "max", "expm1", "gt", "select_n", "square", "rsqrt", "reduce_min",
    "reduce_sum", "reduce_max", "reduce_window_sum", "reduce_window_max", "reshape", "slice",
    "squeeze", "broadcast_in_dim", "concatenate", "gather", "stop_gradient",
    "device_put",  # older versions of JAX have it for constants
}  # fmt: skip


def operations(frozen: Frozen, x) -> Counter:
    return Counter(equation.primitive.name for equation in frozen.jaxpr(x).jaxpr.eqns)


def every_network(*quick: str):
    """Return a mark that runs over all networks, of which all but the ``quick`` ones are slow."""
    slow = [
        name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS
    ]
    return pytest.mark.parametrize("name", slow)


@pytest.mark.parametrize("name", NETWORKS)
def test_batches_may_be_of_any_size(name):
    """A file needs that of every network. Tracing alone shows it, and nothing is compiled."""
    build, options, shape = NETWORKS[name]
    model = nnx.eval_shape(lambda: build(**options, rngs=nnx.Rngs(0)))
    model.eval()
    graph, state = nnx.split(model)
    (n,) = jax_export.symbolic_shape("n")
    y = jax.eval_shape(
        lambda state, x: nnx.merge(graph, state)(x),
        state,
        jax.ShapeDtypeStruct((n, *shape), jnp.float32),
    )
    assert y.shape[0] == n


@every_network("P4CNN", "separable", "u-net")
def test_a_frozen_network_is_the_network(name, rng, x64):
    build, options, shape = NETWORKS[name]
    model = random_float64(lambda: build(**options, rngs=nnx.Rngs(0)), rng)
    frozen = freeze(model)
    model.eval()
    x = jnp.asarray(rng.normal(size=(2, *shape)))
    expected = np.asarray(model(x))
    assert np.abs(expected[0] - expected[1]).max() > 1e-3, "the result depends on the image"
    np.testing.assert_allclose(frozen(x), expected, atol=1e-9 * np.abs(expected).max(), rtol=0)
    assert set(operations(frozen, x)) <= PLAIN


def test_normalization_and_bias_become_one_bias(rng, x64):
    model = random_float64(lambda: models.P4CNN(rngs=nnx.Rngs(0)), rng)
    found = operations(freeze(model), jnp.ones((1, 28, 28, 1)))
    assert found["gconv_jax_planar_conv"] == found["add"] == 7
    assert not found["mul"] and not found["sub"]
    # A negative control: the network itself gathers its filters at every call.
    model.eval()
    graphdef, state = nnx.split(model)
    itself = jax.make_jaxpr(lambda x: nnx.merge(graphdef, state)(x))(jnp.ones((1, 28, 28, 1)))
    assert "gather" in str(itself) and " mul " in str(itself)


class Around(nnx.Module):
    """A convolution, and a function of its result and of constants."""

    def __init__(self, then, *, lifting=False, **options):
        options |= {"group": P4, "rngs": nnx.Rngs(0), "param_dtype": jnp.float64}
        self.lifting = lifting
        kind = gnnx.LiftConv if lifting else gnnx.GroupConv
        self.conv = kind(2, 3, 3, **options)
        self.then = then

    def __call__(self, x):
        return self.then(self.conv(x[..., 0, :] if self.lifting else x))


C = np.array([0.5, -2.0, 3.0])
GC = np.arange(1.0, 13).reshape(4, 3)
FUNCTIONS = {
    "channels": (lambda y: (y + C) * C - 1.0, True),
    "from the left": (lambda y: C - 2.0 * -y, True),
    "quotient": (lambda y: y / C, True),
    "merged": (lambda y: y.reshape(*y.shape[:-2], 12) * GC.ravel() + 1.0, True),
    "wider": (lambda y: y.reshape(*y.shape[:-3], -1) * np.tile(GC.ravel(), 5), True),
    "by the orientation": (lambda y: y * GC + GC, True),
    "by the pixel": (lambda y: y * np.arange(5.0)[:, None, None, None], False),
    "the divisor": (lambda y: C / (y + 10.0), False),
    "used twice": (lambda y: y * C + jnp.sin(y), False),
    "with itself": (lambda y: y * y, False),
    "another dtype": (lambda y: y.astype(jnp.float32) * jnp.float32(2), False),
    "transposed": (lambda y: y.swapaxes(-1, -2) * C[:, None], False),
    "to a scalar": (lambda y: y.sum() * C, False),
    "two results": (lambda y: {"a": y * C, "b": (y - 1.0,)}, False),
}


@pytest.mark.one_in(16)
@pytest.mark.parametrize("algorithm", ["dense", "fourier", "lifting"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_done_with_a_convolution(name, algorithm, rng, x64):
    """The result is the same in all cases; scales and shifts of channels cost nothing."""
    then, folds = FUNCTIONS[name]
    lifting = algorithm == "lifting"
    model = Around(then, lifting=lifting, algorithm="auto" if lifting else algorithm)
    model.conv.bias[...] = jnp.asarray(rng.normal(size=3))
    frozen, x = freeze(model), jnp.asarray(rng.normal(size=(2, 5, 5, 4, 2)))
    actual, expected = frozen(x), model(x)
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        tolerance = 1e-5 if b.dtype == jnp.float32 else 1e-11
        np.testing.assert_allclose(a, b, atol=tolerance * np.abs(b).max(), rtol=0)
    found = operations(frozen, x)
    assert sum(n for kind, n in found.items() if "conv" in kind and "convert" not in kind) == 1
    if folds:
        assert found["add"] <= 1 and not {"sub", "div", "neg"} & set(found)
        # The transform has one filter for all orientations.
        assert found["mul"] == (
            algorithm == "fourier" and name in ("merged", "wider", "by the orientation")
        )


INTEGERS = np.array([2, 3, -4])


@pytest.mark.parametrize(
    ("dtype", "then"),
    [
        (jnp.int32, lambda y: jax.lax.div(y, jnp.broadcast_to(INTEGERS.astype("i4"), y.shape))),
        (jnp.int32, lambda y: y * 3 - 1),
        (jnp.complex128, lambda y: (y + 2j) * 1j),
        (jnp.float64, lambda y: jnp.where(jnp.isfinite(y / jnp.zeros(3)), 1.0, 0.0) + y),
        (jnp.float64, lambda y: y + jax.random.normal(jax.random.key(3), (3,)) * y.shape[0]),
    ],
    ids=["integer quotient", "integers", "complex", "by zero", "random constants"],
)
def test_numbers_of_every_kind(dtype, then, rng, x64):
    w = jnp.asarray(rng.integers(-5, 5, (3, 3, 2, 3)), dtype)
    x = jnp.asarray(rng.integers(-5, 5, (2, 5, 5, 2)), dtype)

    def function(x):
        return then(lift_conv(x, w, group=P4))

    actual, expected = freeze(function)(x), function(x)
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(actual, expected, atol=1e-12, rtol=1e-12)


@pytest.mark.slow
def test_a_transform_over_the_group_stays_where_it_is_faster(rng):
    with auto_algorithm("fourier"):
        model = models.P4CNN(width=2, rngs=nnx.Rngs(0))
        frozen, x = freeze(model), jnp.asarray(rng.normal(size=(2, 28, 28, 1)), jnp.float32)
        found = operations(frozen, x)
        assert found["gconv_jax_fourier_conv"] == 6 and not found["mul"]
        model.eval()
        np.testing.assert_allclose(frozen(x), model(x), atol=1e-4)


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x, train: bool):
        x = glinen.LiftConv(4, 3, group=P4M)(x)
        x = nn.relu(nn.BatchNorm(use_running_average=not train)(x))
        x = nn.Dropout(0.5, deterministic=not train)(x)
        x = nn.relu(
            nn.BatchNorm(use_running_average=not train)(glinen.GroupConv(4, 3, group=P4M)(x))
        )
        return nn.Dense(10)(group_pool(x).mean((1, 2)))


def test_linen(rng):
    x = jnp.asarray(rng.normal(size=(2, 9, 9, 3)), jnp.float32)
    variables = Linen().init(jax.random.key(0), x, train=False)
    statistics = jax.tree.map(lambda a: a + 0.5, variables["batch_stats"])
    bound = Linen().bind(variables | {"batch_stats": statistics})
    frozen = freeze(bound, train=False)
    np.testing.assert_allclose(frozen(x), bound(x, train=False), atol=1e-5)
    found = operations(frozen, x)
    either = {"gconv_jax_fourier_conv"}  # of the two forms, by the processor
    assert not found["mul"] and not found["sub"] and set(found) <= PLAIN | either
    assert_equivariant(frozen, x, group=P4M)


def test_the_model_and_the_frozen_one_are_apart(rng):
    model = models.P4CNN(width=2, rngs=nnx.Rngs(0))
    model.train()
    before = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(model)))
    x = jnp.asarray(rng.normal(size=(2, 28, 28, 1)), jnp.float32)
    frozen = freeze(model)
    first = frozen(x)
    jax.tree.map(np.testing.assert_array_equal, before, nnx.to_pure_dict(nnx.state(model)))
    assert not model.layer0.norm.use_running_average, "still in training"
    model.layer0.conv.kernel[...] = jnp.zeros_like(model.layer0.conv.kernel[...])
    np.testing.assert_array_equal(frozen(x), first)
    np.testing.assert_array_equal(frozen(jnp.concatenate([x, x]))[2:].shape, first.shape)


def test_transformations_of_a_frozen_network(rng):
    frozen = freeze(models.P4CNN(width=2, rngs=nnx.Rngs(0)))
    x = jnp.asarray(rng.normal(size=(3, 28, 28, 1)), jnp.float32)
    y = frozen(x)
    np.testing.assert_allclose(jax.jit(frozen)(x), y, atol=1e-5)
    np.testing.assert_allclose(jax.vmap(lambda x: frozen(x[None])[0])(x), y, atol=1e-5)
    gradient = jax.grad(lambda x: frozen(x).sum())(x)
    assert gradient.shape == x.shape and np.abs(gradient).max() > 0


RUN = """
import sys
import numpy as np
from jax import export
program = export.deserialize(open(sys.argv[1], "rb").read())
x = np.load(sys.argv[2])
np.save(sys.argv[3], program.call(x))
np.save(sys.argv[3] + "-one", program.call(x[:1]))
assert not any(name.startswith(("gconv_jax", "flax")) for name in sys.modules)
"""


@pytest.mark.one_in(10)
@pytest.mark.parametrize("name", ["P4CNN", "separable", "plain"])
def test_a_file_runs_without_this_library(name, rng, tmp_path):
    build, options, shape = NETWORKS[name]
    model = build(**options, rngs=nnx.Rngs(0))
    path = stablehlo(model, (None, *shape), tmp_path / "model.jax")
    assert [p.name for p in tmp_path.iterdir()] == ["model.jax"]
    x = rng.normal(size=(5, *shape)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    arguments = [str(path), str(tmp_path / "x.npy"), str(tmp_path / "y")]
    subprocess.run([sys.executable, "-c", RUN, *arguments], check=True, cwd=tmp_path)
    model.eval()
    expected = model(jnp.asarray(x))
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected, atol=1e-5)
    np.testing.assert_allclose(np.load(tmp_path / "y-one.npy"), expected[:1], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["dense", "fourier"])
def test_files_hold_the_convolutions_of_xla_alone(algorithm, rng, tmp_path):
    with auto_algorithm(algorithm):
        model = models.LeNet(group=P4M, widths=(2, 2), rngs=nnx.Rngs(0))
        path = stablehlo(model, (2, 28, 28, 1), tmp_path / "x", platforms=("cpu", "cuda"))
        program = jax_export.deserialize(path.read_bytes())
        text = program.mlir_module()
        # Twice, if JAX has another form of them for each platform.
        assert text.count("stablehlo.convolution(") in (2, 4) and "custom_call" not in text
        assert program.platforms == ("cpu", "cuda") and program.in_avals[0].shape == (2, 28, 28, 1)
        x = jnp.asarray(rng.normal(size=(2, 28, 28, 1)), jnp.float32)
        model.eval()
        np.testing.assert_allclose(program.call(x), model(x), atol=1e-5)


def test_a_file_that_computes_with_the_size_of_its_batch(rng, tmp_path):
    def function(x):
        return x.mean() + jnp.full(x.shape[:1], 2.0) * x.shape[0]

    path = stablehlo(function, (None, 3), tmp_path / "x")
    program = jax_export.deserialize(path.read_bytes())
    for n in (1, 20):
        x = jnp.asarray(rng.normal(size=(n, 3)), jnp.float32)
        np.testing.assert_allclose(program.call(x), function(x), atol=1e-5)


def test_a_transposed_convolution_takes_its_scale(rng, x64):
    """It takes them like any other convolution: scales and shifts of channels cost nothing."""
    w = rng.normal(size=(2, 2, 4, 2, 3))

    def function(x):
        return (group_conv_transpose(x, w, group=P4, strides=2) + C) * C

    x = jnp.asarray(rng.normal(size=(1, 3, 3, 4, 2)))
    frozen = freeze(function)
    np.testing.assert_allclose(frozen(x), function(x), atol=1e-11)
    found = operations(frozen, x)
    assert found["gconv_jax_planar_conv"] == found["add"] == 1 and not found["mul"]


def test_bad_input(tmp_path):
    with pytest.raises(TypeError, match="`model` must be an NNX module, a bound Linen module or a"):
        freeze(jnp.ones(3))
    with pytest.raises(ValueError, match=r"must be bound: pass module.bind\(variables\)"):
        freeze(Linen())
    model = models.P4CNN(width=2, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="`x` must be images"):
        freeze(model)(jnp.ones((1, 8, 8, 1)))
    with pytest.raises(
        ValueError, match=r"`model` must have .* do not freeze it inside jit or grad"
    ):
        nnx.jit(lambda model, x: freeze(model)(x))(model, jnp.ones((1, 28, 28, 1)))
    for shape in ((28, None, 1), (0, 28, 28, 1), (None,), (None, 28, 28, 0)):
        with pytest.raises(ValueError, match="`shape` must be"):
            stablehlo(model, shape, tmp_path / "x")
    with pytest.raises(ValueError, match="`x` must be images"):
        stablehlo(model, (None, 8, 8, 1), tmp_path / "x")
    assert not list(tmp_path.iterdir())
