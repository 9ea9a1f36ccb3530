"""Local equivariance errors of models of several libraries, and of each of their layers."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import gconv_jax.linen as gnn
from gconv_jax import P4, Fields, Harmonic, cyclic, group_pool, project_fields, to_irreps
from gconv_jax.lattice.lie_derivative import lie_derivative
from gconv_jax.nnx import GroupConv, LiftConv
from gconv_jax.testing import equivariance_errors, local_equivariance_errors, smooth_images

C16 = cyclic(16)
STEERABLE = {"filters": Harmonic(max_frequency=2)}


@pytest.fixture
def x():
    return jnp.asarray(smooth_images((3, 36, 36, 1), length=4.0), jnp.float32)


class Plain(nnx.Module):
    """A plain CNN with invariant numbers at its end, had its filters no direction."""

    def __init__(self, rngs, width=8, kernel=(7, 7)):
        self.first = nnx.Conv(1, width, kernel, rngs=rngs)
        self.norm = nnx.BatchNorm(width, rngs=rngs)
        self.second = nnx.Conv(width, width, kernel, rngs=rngs)
        self.top = nnx.Linear(width, 5, rngs=rngs)

    def __call__(self, x):
        x = nnx.elu(self.norm(self.first(x)))
        return self.top((self.second(x) ** 2).mean((1, 2)))


class Steered(nnx.Module):
    """The same with features on C16."""

    def __init__(self, rngs, group=C16, width=2, **options):
        options = {"group": group, "rngs": rngs, **(options or STEERABLE)}
        self.first = LiftConv(1, width, 7, **options)
        self.second = GroupConv(width, width, 7, **options)
        self.top = nnx.Linear(width, 5, rngs=rngs)

    def __call__(self, x):
        x = nnx.elu(self.first(x))
        return self.top(group_pool(self.second(x) ** 2, reduce="mean").mean((1, 2)))


def test_a_steerable_network_is_more_equivariant_than_a_plain_one(x):
    reports = {
        "plain": local_equivariance_errors(Plain(nnx.Rngs(0)), x),
        "p4": local_equivariance_errors(
            Steered(nnx.Rngs(0), P4, width=4, filters="pixel"), x, group=P4
        ),
        "c16": local_equivariance_errors(Steered(nnx.Rngs(0)), x, group=C16),
    }
    for name in ("output", "first", "second"):
        plain, p4, c16 = (report.errors[name] for report in reports.values())
        assert 0 < 3 * c16 < p4 < plain / 1.5, name
    assert reports["plain"].errors["output"] > 0.1
    # A layer that breaks the law in the good network is seen where it is, and after it.
    spoilt = Steered(nnx.Rngs(0))
    spoilt.second = nnx.Sequential(
        spoilt.second, lambda x: x * jnp.linspace(0, 1, 36)[:, None, None]
    )
    spoilt = local_equivariance_errors(spoilt, x, group=C16)
    good = reports["c16"].errors
    assert spoilt.errors["first"] == good["first"]
    assert spoilt.errors["second.layers.0"] == good["second"]
    assert spoilt.errors["second"] > 5 * good["second"]
    assert spoilt.errors["output"] > 5 * good["output"]


def test_the_output_is_measured_as_defined(x):
    model = Plain(nnx.Rngs(0))
    model.eval()
    for generator in ("rotation", "scaling", np.array([[0, -2, 0.5], [2, 0, 1]])):
        report = local_equivariance_errors(model, x, generator=generator, per_layer=False)
        assert list(report.errors) == list(report.lee) == ["output"]
        derivative = np.asarray(lie_derivative(model, x, generator), np.float64)
        assert derivative.shape == (3, 5)
        # The squared norm of each image, by the number of logits.
        expected = np.mean([row @ row / 5 for row in derivative])
        np.testing.assert_allclose(report.lee["output"], expected, rtol=1e-4)
        size = float(jnp.sqrt((model(x) ** 2).sum()))
        relative = np.linalg.norm(derivative) / size
        np.testing.assert_allclose(report.errors["output"], relative, rtol=1e-4)


def test_small_angles_make_errors_in_proportion(x):
    """The errors of images that are turned by a spline, divided by the angle, are the same."""
    model = Plain(nnx.Rngs(0))
    angle = 0.05
    there = equivariance_errors(model, x, group=P4, angles=[angle, -angle], perturb=False)
    local = local_equivariance_errors(model, x)
    assert list(local.errors) == list(there.as_is)
    for name in ("first", "top", "output"):
        assert there.as_is[name].mean() / angle == pytest.approx(local.errors[name], rel=0.1), name


def test_layers_of_an_nnx_model(x):
    model = Steered(nnx.Rngs(0))
    without = local_equivariance_errors(model, x)
    report = local_equivariance_errors(model, x, group=C16)
    assert list(report.errors) == list(without.errors) == ["first", "second", "top", "output"]
    assert np.isnan(without.errors["first"]) and np.isnan(without.lee["second"])
    assert without.errors["output"] == report.errors["output"] == report.errors["top"]
    assert 0 < report.errors["first"] < report.errors["second"] < 0.1
    # Translations move feature maps as images, whatever the group is.
    shifted = local_equivariance_errors(model, x, generator="translation_rows")
    assert shifted.errors == pytest.approx(
        local_equivariance_errors(model, x, generator="translation_rows", group=C16).errors
    )
    assert max(shifted.errors.values()) < 0.01
    sheared = local_equivariance_errors(model, x, generator="shear_rows", group=C16)
    assert [name for name, e in sheared.errors.items() if np.isnan(e)] == ["first", "second"]


def test_tables():
    x = smooth_images((1, 16, 16, 1))
    model = nnx.Sequential(lambda x: x, Steered(nnx.Rngs(0), P4, width=1, filters="pixel"))
    report = local_equivariance_errors(model, x)
    *rows, unit, unknown = str(report).splitlines()
    assert rows[0].split() == ["layer", "relative", "LEE"]
    assert [row.split()[0] for row in rows[1:]] == list(report.errors)
    assert rows[1].split()[1:] == ["?", "?"]
    assert float(rows[-1].split()[1]) == pytest.approx(report.errors["output"], rel=0.1)
    assert len(set(map(len, rows))) == 1, "columns are aligned"
    assert unit == "errors under rotation, for each radian"
    assert unknown.startswith("?: how the result moves is not known")
    assert report.generator == "rotation"
    matrix = local_equivariance_errors(model, x, generator=np.ones((2, 3)), per_layer=False)
    assert str(matrix).endswith("errors under affine, for each unit")
    moved = local_equivariance_errors(model, x, generator="translation_rows")
    assert str(moved).endswith("errors under translation of rows, for each pixel")


def test_training_mode_leaves_the_model_as_it_was(x):
    model = Plain(nnx.Rngs(0))
    model.train()
    before = jax.tree.map(jnp.array, nnx.state(model))
    report = local_equivariance_errors(model, x)
    assert np.isfinite(list(report.errors.values())).all()
    jax.tree.map(np.testing.assert_array_equal, before, nnx.state(model))
    model.eval()
    assert local_equivariance_errors(model, x).errors["norm"] != report.errors["norm"]


class LinenNet(nn.Module):
    """A Linen model of library and Flax layers."""

    @nn.compact
    def __call__(self, x, scale=1.0):
        lift = gnn.LiftConv(2, 7, group=C16, **STEERABLE, name="lift")
        x = group_pool(lift(x))
        x = nn.Conv(3, (5, 5), name="conv")(x)
        return nn.Dense(3, name="top")(x.mean((1, 2))) * scale


def test_layers_of_a_linen_model(x):
    net = LinenNet()
    variables = net.init(jax.random.key(0), x)
    report = local_equivariance_errors(net.bind(variables), x, group=C16)
    assert list(report.errors) == ["lift", "conv", "top", "output"]
    assert report.errors["lift"] < 0.1 < report.errors["conv"]
    plain = local_equivariance_errors(lambda x: net.apply(variables, x), x)
    assert plain.errors == {"output": pytest.approx(report.errors["output"], rel=1e-4)}
    doubled = local_equivariance_errors(net.bind(variables), x, group=C16, scale=2.0)
    assert doubled.lee["output"] == pytest.approx(4 * report.lee["output"], rel=1e-4)
    assert doubled.errors["output"] == pytest.approx(report.errors["output"], rel=1e-4)
    with pytest.raises(ValueError, match=r"must be bound: pass module.bind\(variables\)"):
        local_equivariance_errors(net, x)


def test_models_of_equinox(x):
    eqx = pytest.importorskip("equinox")
    keys = jax.random.split(jax.random.key(0))
    model = eqx.nn.Sequential(
        [
            eqx.nn.Conv2d(1, 4, 5, padding=2, key=keys[0]),
            eqx.nn.Lambda(jax.nn.relu),
            eqx.nn.Lambda(lambda x: x.mean((1, 2))),
            eqx.nn.Linear(4, 3, key=keys[1]),
        ]
    )

    def batched(x):
        return jax.vmap(model)(jnp.moveaxis(x, -1, 1))

    def images(x):
        return jnp.moveaxis(jax.vmap(model[0])(jnp.moveaxis(x, -1, 1)), 1, -1)

    for generator in ("rotation", "translation_rows"):
        report = local_equivariance_errors(batched, x, generator=generator)
        assert list(report.errors) == ["output"] and report.errors["output"] > 0
        conv = nnx.Conv(1, 4, (5, 5), rngs=nnx.Rngs(0))
        conv.kernel[...] = jnp.transpose(model[0].weight, (2, 3, 1, 0))
        conv.bias[...] = model[0].bias[:, 0, 0]
        ours = local_equivariance_errors(conv, x, generator=generator)
        theirs = local_equivariance_errors(images, x, generator=generator)
        assert theirs.errors["output"] == pytest.approx(ours.errors["output"], rel=1e-3)


class Odd(nnx.Module):
    """A model whose layers are compiled, called twice, vectorized, merged, or no functions of x."""

    def __init__(self, rngs):
        options = {"group": C16, "rngs": rngs, **STEERABLE}
        self.lift = LiftConv(1, 2, 7, **options)
        self.norm = nnx.BatchNorm(32, use_running_average=True, rngs=rngs)
        self.shared = nnx.Conv(32, 32, (1, 1), rngs=rngs)
        self.compiled = nnx.Linear(32, 32, rngs=rngs)
        self.vectorized = nnx.Linear(32, 32, rngs=rngs)
        self.frequencies = Frequencies()

    def __call__(self, x):
        x = self.lift(x)
        self.frequencies(x)
        x = self.norm(x.reshape(*x.shape[:-2], -1))
        x = self.shared(self.shared(x))
        x = nnx.jit(lambda layer, x: layer(x))(self.compiled, x)
        return jax.vmap(self.vectorized)(x), x.argmax(-1)


class Frequencies(nnx.Module):
    """A layer that returns features in the Fourier basis."""

    def __call__(self, x):
        return to_irreps(x, group=C16)


def test_unusual_layers(x):
    report = local_equivariance_errors(Odd(nnx.Rngs(0)), x, group=C16)
    names = ["lift", "frequencies", "norm", "shared", "shared#2", "output[0]"]
    assert list(report.errors) == names
    assert report.errors["frequencies"] == pytest.approx(report.errors["lift"], rel=1e-3)
    # Channels that are merged orientations turn as these do, until a layer mixes them.
    assert report.errors["norm"] < 0.2 < report.errors["shared"]


class Strided(nnx.Module):
    """Convolutions without padding, with a stride, and tokens that have no place in the plane."""

    def __init__(self, rngs):
        options = {"padding": "VALID", "rngs": rngs}
        self.first = nnx.Conv(1, 4, (3, 3), **options)
        self.second = nnx.Conv(4, 4, (5, 5), (2, 2), **options)
        self.third = nnx.Conv(4, 4, (7, 7), **options)
        self.tokens = nnx.Linear(4, 2, rngs=rngs)

    def __call__(self, x):
        x = self.third(self.second(self.first(x)))
        return self.tokens(x.reshape(len(x), -1, 4, 4)).mean((1, 2))


def test_layers_without_padding_are_shifted_by_their_strides():
    """There are 8 pixels left of 33, whose distance is 2, and not 4."""
    x = jnp.asarray(smooth_images((2, 33, 33, 1), length=3.0), jnp.float32)
    for generator in ("translation_rows", "translation_columns"):
        report = local_equivariance_errors(Strided(nnx.Rngs(0)), x, generator=generator)
        first, second, third, tokens, _ = report.errors.values()
        assert max(first, second, third) < 0.1 and np.isnan(tokens)


def test_vector_outputs(x):
    model = nnx.Sequential(
        LiftConv(1, 2, 7, group=C16, **STEERABLE, rngs=nnx.Rngs(0)),
        lambda x: project_fields(x, group=C16, fields=Fields(vectors=1)),
    )
    vectors = local_equivariance_errors(model, x, output_action=Fields(vectors=1))
    assert vectors.errors["output"] < 0.05
    assert local_equivariance_errors(model, x).errors["output"] > 0.5


def test_results_that_have_no_move(x):
    report = local_equivariance_errors(lambda x: {"rows": x[..., 0], "mean": x.mean((1, 2))}, x)
    assert list(report.errors) == ["output['mean']", "output['rows']"]
    assert report.errors["output['mean']"] < 0.05 and np.isnan(report.errors["output['rows']"])
    assert report.errors.keys() == report.lee.keys()
    zeros = local_equivariance_errors(lambda x: 0 * x, x)
    assert zeros.errors == zeros.lee == {"output": 0.0}


def test_bad_arguments(x):
    def f(x):
        return x

    with pytest.raises(ValueError, match="`generator` must be one of rotation, "):
        local_equivariance_errors(f, x, generator="turn")
    with pytest.raises(ValueError, match=r"`x` must be floating images .*got shape \(36, 36, 1\)"):
        local_equivariance_errors(f, x[0])
    with pytest.raises(ValueError, match="`output_action` must be one of image"):
        local_equivariance_errors(f, x, output_action="logits")
    with pytest.raises(ValueError, match="must be of rotations and translations"):
        local_equivariance_errors(
            lambda x: x.repeat(2, -1), x, generator="scaling", output_action=Fields(vectors=1)
        )
    with pytest.raises(TypeError, match=r"`model` must return an array of floating .* from argmax"):
        local_equivariance_errors(jnp.argmax, x)
