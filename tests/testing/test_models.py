"""The public checks on models of Flax: a figure for each layer, and the first broken one."""

import contextlib
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import gconv_jax.linen as gnn
from gconv_jax import P4, cyclic, group_pool, max_pool
from gconv_jax.nnx import ContinuousLiftConv, GroupConv, LiftConv
from gconv_jax.testing import EquivarianceReport, assert_equivariant, equivariance_errors
from tests.testing.test_equivariance import broken


class Mixed(nnx.Module):
    """A user's own model: layers of this library among Flax's, to logits."""

    def __init__(self, rngs, spoil=None):
        self.lift = LiftConv(1, 4, 3, group=P4, rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.conv = GroupConv(4, 4, 3, group=P4, rngs=rngs)
        self.spoiler = spoil
        self.dense = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.lift(x)))
        x = self.conv(max_pool(x, group=P4, window_shape=2, lifted=True))
        if self.spoiler is not None:
            x = self.spoiler(x)
        return self.dense(group_pool(x).max(axis=(1, 2)))


@pytest.fixture
def x(rng):
    return jnp.asarray(rng.normal(size=(2, 8, 8, 1)), jnp.float32)


@pytest.fixture
def model():
    model = Mixed(nnx.Rngs(0))
    model.eval()
    return model


def test_users_own_model(model, x):
    assert_equivariant(model, x, group=P4)
    report = equivariance_errors(model, x, group=P4)
    assert list(report.errors) == ["lift", "norm", "conv", "dense", "output"]
    assert all(row.shape == (4,) and (row < 1e-5).all() for row in report.errors.values())
    assert all(row.dtype == np.float64 for row in report.errors.values())


def test_the_model_is_left_as_it_was(x):
    """A call in training mode would change the statistics of a model."""
    model = Mixed(nnx.Rngs(0))
    before = jax.tree.map(np.array, nnx.state(model))
    assert_equivariant(model, x, group=P4)
    equivariance_errors(model, x, group=P4)
    jax.tree.map(np.testing.assert_array_equal, nnx.state(model), before)
    model(x)
    assert not np.array_equal(model.norm.mean[...], before["norm"]["mean"][...])


def test_first_broken_layer_is_named(x):
    class Broken(nnx.Module):
        def __call__(self, x):
            return broken(x)

    model = Mixed(nnx.Rngs(0), spoil=Broken())
    model.eval()
    with pytest.raises(AssertionError, match=r"first layer that breaks the law is 'spoiler', by"):
        assert_equivariant(model, x, group=P4)
    errors = equivariance_errors(model, x, group=P4).errors
    assert errors["conv"].max() < 1e-5
    assert errors["spoiler"][0] == 0
    assert errors["spoiler"][1:].min() > 1e-3
    assert errors["output"].max() > 1e-3


def test_model_is_left_as_it_was(model, x):
    """NNX has no hooks: classes are changed for the time of a call, and only then."""
    call, own = nnx.Linear.__call__, dict(vars(GroupConv))
    before = jax.tree.leaves(nnx.state(model))
    equivariance_errors(model, x, group=P4)
    with pytest.raises(ValueError, match="must be"):
        equivariance_errors(model, jnp.ones((1, 8, 8, 3)), group=P4)
    assert nnx.Linear.__call__ is call
    assert dict(vars(GroupConv)) == own
    for a, b in zip(before, jax.tree.leaves(nnx.state(model)), strict=True):
        assert a is b or bool((a == b).all())


def test_layers_that_are_called_twice_or_contain_layers(x):
    class Twice(nnx.Module):
        def __init__(self, rngs):
            self.conv = LiftConv(1, 1, 3, group=P4, rngs=rngs)

        def __call__(self, x):
            return self.conv(group_pool(self.conv(x)))

    class Outer(nnx.Module):
        def __init__(self, rngs):
            self.block = Twice(rngs)

        def __call__(self, x):
            return self.block(x)

    errors = equivariance_errors(Outer(nnx.Rngs(0)), x, group=P4).errors
    assert list(errors) == ["block.conv", "block.conv#2", "block", "output"]


class LinenNet(nn.Module):
    spoil: bool = False

    @nn.compact
    def __call__(self, x, train=False):
        if train:
            self.make_rng("noise")  # an error where there is no key of this name
        x = gnn.LiftConv(4, 3, group=P4, name="lift")(x)
        x = nn.BatchNorm(use_running_average=not train, name="norm")(x)
        x = gnn.GroupConv(4, 3, group=P4, name="conv")(broken(x) if self.spoil else x)
        return nn.Dense(3, name="dense")(group_pool(x).max(axis=(1, 2)))


def test_bound_linen_modules(x):
    variables = LinenNet().init(jax.random.key(0), x)
    model = LinenNet().bind(variables)
    assert_equivariant(model, x, group=P4)
    errors = equivariance_errors(model, x, group=P4).errors
    assert list(errors) == ["lift", "norm", "conv", "dense", "output"]
    assert max(row.max() for row in errors.values()) < 1e-5
    with pytest.raises(AssertionError, match=r"LinenNet .* between 'norm' and 'conv' breaks the"):
        assert_equivariant(LinenNet(spoil=True).bind(variables), x, group=P4)
    with pytest.raises(ValueError, match=r"pass module\.bind\(variables\)"):
        equivariance_errors(LinenNet(), x, group=P4)


def test_statistics_of_bound_linen_modules_are_left_as_they_were(x):
    model = LinenNet()
    rngs = {"noise": jax.random.key(1)}
    bound = model.bind(model.init(jax.random.key(0), x), rngs=rngs, mutable=["batch_stats"])
    before = jax.tree.map(np.array, bound.variables)
    assert_equivariant(bound, x, group=P4, train=True)
    equivariance_errors(bound, x, group=P4, train=True)
    jax.tree.map(np.testing.assert_array_equal, bound.variables, before)
    bound(x, train=True)
    means = [v["batch_stats"]["norm"]["mean"] for v in (before, bound.variables)]
    assert not np.array_equal(*means)


def test_report_is_a_table(model, x):
    lines = str(equivariance_errors(model, x, group=P4)).splitlines()
    assert lines[0].split() == ["layer", "e", "r90", "r180", "r270"]
    assert lines.pop() == "the larger of two: the model as it is, and perturbed"
    assert [line.split()[0] for line in lines[1:]] == ["lift", "norm", "conv", "dense", "output"]
    assert all(re.fullmatch(r"\S+( +\d\.\de[+-]\d\d){4}", line) for line in lines[1:])
    assert len({len(line) for line in lines}) == 1
    as_is = str(equivariance_errors(model, x, group=P4, perturb=False)).splitlines()
    assert [line.split()[0] for line in as_is] == [line.split()[0] for line in lines]


def test_results_without_a_known_action_are_marked(x):
    class Odd(nnx.Module):
        def __init__(self):
            self.inner = Inner()

        def __call__(self, x):
            return self.inner(x).sum(axis=(1, 2))

    class Inner(nnx.Module):
        def __call__(self, x):
            return x[..., 0]  # [N, H, W]

    report = equivariance_errors(Odd(), x, group=P4)
    assert np.isnan(report.errors["inner"]).all()
    assert str(report).splitlines()[1].split() == ["inner", "?", "?", "?", "?"]


def test_errors_are_the_larger_of_two():
    as_is = {"a": np.array([0.0, 2.0]), "b": np.array([np.nan, 1.0])}
    perturbed = {"a": np.array([1.0, 1.0]), "c": np.array([np.inf, np.nan])}
    report = EquivarianceReport(cyclic(2), ("e", "r180"), as_is, perturbed)
    assert list(report.errors) == ["a", "b", "c"]
    np.testing.assert_array_equal(
        list(report.errors.values()), [[1, 2], [np.nan, 1], [np.inf, np.nan]]
    )
    assert str(report).splitlines()[1:4] == [
        "a       1.0e+00   2.0e+00",
        "b             ?   1.0e+00",
        "c           inf         ?",
    ]
    assert EquivarianceReport(cyclic(2), ("e", "r180"), as_is, None).errors == as_is


def bias(x):
    return x + jnp.arange(4.0)[:, None]


class Between(nnx.Module):
    """Code without a name at four places, by default none of it."""

    def __init__(self, **code):
        rngs = nnx.Rngs(0)
        self.lift = LiftConv(1, 4, 3, group=P4, rngs=rngs)
        self.block = Inner(code)
        self.dense = nnx.Linear(4, 3, rngs=rngs)
        self.code = code

    def at(self, place, x):
        return self.code.get(place, lambda x: x)(x)

    def __call__(self, x):
        x = nnx.relu(self.lift(self.at("before", x)))
        x = self.block(self.at("between", x))
        return self.at("after", self.dense(group_pool(x).mean((1, 2))))


class Inner(nnx.Module):
    def __init__(self, code):
        self.conv = GroupConv(4, 4, 3, group=P4, rngs=nnx.Rngs(1))
        self.code = code

    def __call__(self, x):
        x = self.code.get("first", lambda x: x)(x)
        return self.code.get("last", lambda x: x)(self.conv(x))


@pytest.mark.parametrize(
    ("place", "code", "sentence"),
    [
        ("before", lambda x: x[:, 1:], "what comes before 'lift' breaks the law"),
        ("between", bias, "what comes between 'lift' and 'block' breaks the law"),
        (
            "between",
            lambda x: jnp.pad(x, ((0, 0), (1, 0), (0, 0), (0, 0), (0, 0))),
            "what comes between 'lift' and 'block' breaks the law",
        ),
        (
            "between",
            lambda x: nnx.max_pool(x.reshape(*x.shape[:3], -1), (3, 3), (2, 2)).reshape(
                *(len(x), 3, 3, 4, 4)
            ),
            "what comes between 'lift' and 'block' breaks the law",
        ),
        ("first", bias, "what comes before 'block.conv' in 'block' breaks the law"),
        ("last", bias, "what comes after 'block.conv' in 'block' breaks the law"),
        ("after", nnx.relu, None),
    ],
    ids=["crop", "bias", "pad", "max_pool", "first", "last", "nothing"],
)
def test_code_between_layers_is_told_from_layers(x, place, code, sentence):
    """Named layers are not blamed for code without a name before or after them."""
    model = Between(**{place: code})
    if sentence is None:
        assert_equivariant(model, x, group=P4)
        return
    with pytest.raises(AssertionError) as failure:
        assert_equivariant(model, x, group=P4, perturb=False)
    assert f"; {sentence}, by " in str(failure.value)
    assert "first layer" not in str(failure.value)


def test_the_code_after_all_layers_is_told_from_them(x):
    class Corner(Between):
        def __call__(self, x):
            return super().__call__(x) + x[:, 0, 0]

    with pytest.raises(AssertionError, match=r"; what comes after 'dense' breaks the law, by"):
        assert_equivariant(Corner(), x, group=P4)


def test_merged_orientations_are_no_fault(x):
    """They look like channels of an image, or like logits."""

    class Merged(nnx.Module):
        def __init__(self):
            rngs = nnx.Rngs(0)
            self.lift = LiftConv(1, 4, 3, group=P4, rngs=rngs)
            self.merged = nnx.Dropout(0.5, deterministic=True)
            self.dense = nnx.Linear(16, 3, rngs=rngs)

        def __call__(self, x):
            x = self.merged(self.lift(x).reshape(*x.shape[:3], -1))
            return self.dense(self.merged(x.mean((1, 2))))

    errors = equivariance_errors(Merged(), x, group=P4).errors
    assert max(errors["merged"]) < 1e-5 and max(errors["merged#2"]) < 1e-5
    with pytest.raises(AssertionError, match="the first layer that breaks the law is 'dense'"):
        assert_equivariant(Merged(), x, group=P4)


def test_a_layer_is_named_with_a_doubt_where_results_before_it_are_unknown(x):
    """Sampled features are no arrays: neither what a layer is given nor what it returns is seen."""

    class Sampled(nnx.Module):
        def __init__(self):
            rngs = nnx.Rngs(0)
            self.lift = ContinuousLiftConv(1, 4, 3, group=P4, deterministic=True, rngs=rngs)
            self.pick = Pick()
            self.dense = nnx.Linear(4, 3, rngs=rngs)

        def __call__(self, x):
            return self.dense(self.pick(self.lift(x)))

    class Pick(nnx.Module):
        def __call__(self, x):
            return x.values[..., 0, :].mean((1, 2))

    with pytest.raises(AssertionError) as failure:
        assert_equivariant(Sampled(), x, group=P4)
    sentence = (
        "the first layer seen to break the law is 'pick', or what comes before it from 'lift' on"
    )
    assert sentence in str(failure.value)
    assert list(equivariance_errors(Sampled(), x, group=P4).errors) == ["pick", "dense", "output"]


def test_a_layer_that_fails_may_be_left_out(x):
    """A model may catch the error of a layer and go on; its calls are told apart nevertheless."""

    class Fails(nnx.Module):
        def __call__(self, x):
            raise ArithmeticError

    class Outer(nnx.Module):
        def __init__(self):
            self.block = Tries()

        def __call__(self, x):
            return self.block(x)

    class Tries(nnx.Module):
        def __init__(self):
            self.fails, self.conv = Fails(), LiftConv(1, 1, 3, group=P4, rngs=nnx.Rngs(0))

        def __call__(self, x):
            with contextlib.suppress(ArithmeticError):
                x = self.fails(x)
            return self.conv(x)

    errors = equivariance_errors(Outer(), x, group=P4).errors
    assert list(errors) == ["block.conv", "block", "output"]
    assert max(map(max, errors.values())) < 1e-5
