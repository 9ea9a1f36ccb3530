"""Faults that a fresh model hides are found, since the checks perturb parameters and statistics.

Models that keep the law for all their values pass."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import gconv_jax.linen as gnn
from gconv_jax import O2, P4, P4M, SO2, group_pool, models, octahedral
from gconv_jax.nnx import GroupConv, LiftConv, PartialGroupConv
from gconv_jax.testing import assert_equivariant, equivariance_errors
from gconv_jax.testing.perturbation import perturbed

PERTURBED = r"is equivariant as it is, but with parameters and statistics perturbed, .* is not equi"


@pytest.fixture
def x(rng):
    return jnp.asarray(rng.normal(size=(2, 8, 8, 1)), jnp.float32)


class Parameter(nnx.Module):
    """``x + p`` or ``x * p``, with a parameter that begins as a number that does nothing."""

    def __init__(self, shape, start, rngs):
        self.value, self.adds = nnx.Param(jnp.full(shape, start)), start == 0

    def __call__(self, x):
        return x + self.value[...] if self.adds else x * self.value[...]


class MergedNorm(nnx.Module):
    """A normalization that has statistics of its own for each orientation."""

    def __init__(self, rngs):
        self.norm = nnx.BatchNorm(16, rngs=rngs)

    def __call__(self, x):
        return self.norm(x.reshape(*x.shape[:-2], -1)).reshape(x.shape)


class Net(nnx.Module):
    def __init__(self, spoiler):
        rngs = nnx.Rngs(0)
        self.lift = LiftConv(1, 4, 3, group=P4, rngs=rngs)
        self.spoiler = spoiler(rngs=rngs)
        self.conv = GroupConv(4, 4, 3, group=P4, rngs=rngs)
        self.dense = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.conv(self.spoiler(nnx.relu(self.lift(x)))))
        return self.dense(group_pool(x).mean((1, 2)))


WRONG = {
    "norm of orientations": lambda rngs: nnx.BatchNorm(4, axis=-2, rngs=rngs),
    "norm of merged orientations": MergedNorm,
    "layer norm of orientations": lambda rngs: nnx.LayerNorm(
        4, feature_axes=-2, reduction_axes=-1, rngs=rngs
    ),
    "bias of orientations": lambda rngs: Parameter((4, 1), 0.0, rngs),
    "scale of orientations": lambda rngs: Parameter((4, 1), 1.0, rngs),
    "bias of pixels": lambda rngs: Parameter((8, 8, 1, 1), 0.0, rngs),
}
RIGHT = {
    "norm": lambda rngs: nnx.BatchNorm(4, rngs=rngs),
    "layer norm": lambda rngs: nnx.LayerNorm(4, rngs=rngs),
    "bias": lambda rngs: Parameter((4,), 0.0, rngs),
    "scale": lambda rngs: Parameter((1, 1), 1.0, rngs),
}


@pytest.mark.parametrize("fault", WRONG)
def test_what_a_fresh_network_hides_is_found(fault, x):
    model = Net(WRONG[fault])
    model.eval()
    assert_equivariant(model, x, group=P4, perturb=False)
    with pytest.raises(AssertionError, match=PERTURBED) as failure:
        assert_equivariant(model, x, group=P4)
    assert "the first layer that breaks the law is 'spoiler" in str(failure.value)
    report = equivariance_errors(model, x, group=P4)
    assert max(row.max() for row in report.as_is.values()) < 1e-5
    assert report.perturbed["lift"].max() < 1e-5 and report.perturbed["spoiler"].max() > 0.01
    np.testing.assert_array_equal(report.errors["spoiler"], report.perturbed["spoiler"])


@pytest.mark.parametrize("layer", RIGHT)
def test_right_layers_pass(layer, x):
    model = Net(RIGHT[layer])
    model.eval()
    assert_equivariant(model, x, group=P4)


class LinenNet(nn.Module):
    spoil: str

    @nn.compact
    def __call__(self, x):
        x = gnn.LiftConv(4, 3, group=P4, name="lift")(x)
        if self.spoil == "norm of orientations":
            x = nn.BatchNorm(use_running_average=True, axis=-2, name="norm")(x)
        elif self.spoil == "bias of orientations":
            x = x + self.param("own", nn.initializers.zeros, (4, 1))
        elif self.spoil == "scale of merged orientations":
            x = nn.LayerNorm(name="norm")(x.reshape(*x.shape[:-2], -1)).reshape(x.shape)
        elif self.spoil == "bias of pixels":
            x = x + self.param("own", nn.initializers.zeros, (8, 8, 1, 1))
        else:
            x = nn.BatchNorm(use_running_average=True, name="norm")(x)
        return nn.Dense(3, name="dense")(group_pool(nn.relu(x)).mean((1, 2)))


@pytest.mark.parametrize(
    ("fault", "place"),
    [
        ("norm of orientations", "the first layer that breaks the law is 'norm'"),
        ("scale of merged orientations", "the first layer that breaks the law is 'norm'"),
        ("bias of orientations", "what comes between 'lift' and 'dense' breaks the law"),
        ("bias of pixels", "what comes between 'lift' and 'dense' breaks the law"),
    ],
)
def test_what_a_fresh_linen_network_hides_is_found(fault, place, x):
    model = LinenNet(fault)
    model = model.bind(model.init(jax.random.key(0), x))
    assert_equivariant(model, x, group=P4, perturb=False)
    with pytest.raises(AssertionError, match=f"{PERTURBED}.*{place}"):
        assert_equivariant(model, x, group=P4)
    assert equivariance_errors(model, x, group=P4).errors["output"].max() > 1e-3


def test_right_linen_layers_pass(x):
    model = LinenNet("nothing")
    assert_equivariant(model.bind(model.init(jax.random.key(0), x)), x, group=P4)


def test_a_function_is_taken_as_it_is(x):
    """A function that closes over a model has nothing to perturb, as its documentation says."""
    model = Net(WRONG["bias of orientations"])
    assert_equivariant(lambda x: model(x), x, group=P4)
    assert equivariance_errors(lambda x: model(x), x, group=P4).perturbed is None


def test_a_network_that_is_wrong_as_it_is_says_nothing_of_perturbing(x):
    class Pixel(Net):
        def __call__(self, x):
            return super().__call__(x) + x[:, 0, 0]

    model = Pixel(RIGHT["norm"])
    with pytest.raises(AssertionError, match=r"^Pixel is not equivariant under 3 of the 4"):
        assert_equivariant(model, x, group=P4)


def test_a_network_that_begins_with_zeros_is_checked_by_its_other_values(x):
    """Zeros prove nothing, but what the parameters make of them does."""
    zeros = nn.initializers.zeros

    def head(rngs):
        return nnx.Linear(4, 4, kernel_init=zeros, rngs=rngs)

    right, wrong = Net(head), Net(lambda rngs: nnx.Sequential(
        head(rngs), WRONG["bias of orientations"](rngs)
    ))  # fmt: skip
    assert_equivariant(right, x, group=P4)
    with pytest.raises(AssertionError, match=r"Net returns zeros as it is, but with parameters"):
        assert_equivariant(wrong, x, group=P4)
    zero = "is zero everywhere, which keeps every law"
    with pytest.raises(AssertionError, match=f"^Net {zero}"):
        assert_equivariant(right, x, group=P4, perturb=False)

    class Gate(nnx.Module):
        def __init__(self):
            self.value = nnx.Param(jnp.zeros(1))

        def __call__(self, x):
            return x * (self.value[...] == 0)

    with pytest.raises(AssertionError, match=f"^Gate is equivariant as it is, but .* it {zero}"):
        assert_equivariant(Gate(), x, group=P4)


def test_every_parameter_and_statistic_differs_and_nothing_else():
    """Bfloat16 and complex numbers too; the model stays as it was."""

    class All(nnx.Module):
        def __init__(self, rngs):
            self.norm = nnx.BatchNorm(4, rngs=rngs)
            self.conv = GroupConv(4, 4, 3, group=P4, param_dtype=jnp.bfloat16, rngs=rngs)
            self.partial = PartialGroupConv(2, 2, 3, group=O2(), samples=4, rngs=rngs)
            self.half_zero = nnx.Param(jnp.array([0.0, -2.0]))
            self.complex = nnx.Param(jnp.array([2j, 0]))
            self.integers = nnx.Param(jnp.arange(3))
            self.empty = nnx.Param(jnp.zeros((0, 3)))
            self.own = nnx.Variable(jnp.ones(3))
            self.dropout = nnx.Dropout(0.5, rngs=rngs)

    model = All(nnx.Rngs(0))
    before = jax.tree.map(np.array, nnx.to_pure_dict(nnx.state(model, nnx.Not(nnx.RngState))))
    changed, again = (nnx.state(perturbed(model), nnx.Not(nnx.RngState)) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, changed, again)
    after = jax.tree.map(np.array, nnx.to_pure_dict(changed))
    now = nnx.to_pure_dict(nnx.state(model, nnx.Not(nnx.RngState)))
    jax.tree.map(np.testing.assert_array_equal, now, before)
    kept = {"integers", "empty", "own", "temperature"}
    for (path, old), new in zip(
        jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after), strict=True
    ):
        assert old.shape == new.shape and old.dtype == new.dtype
        if any(name in jax.tree_util.keystr(path) for name in kept):
            np.testing.assert_array_equal(old, new)
            continue
        # Some values in bfloat16 are rounded to what they were.
        assert (np.abs(new) > np.abs(old)).mean() > 0.9, path
        assert (np.sign(new) == np.sign(old))[old != 0].all(), path
    assert (after["norm"]["mean"] > 0).all(), "as a statistic, which may be a variance"
    assert (after["norm"]["bias"] != 0).all() and (after["norm"]["bias"] < 0).any()
    assert perturbed(model).partial.support.theta == 1, "the whole group, as before"
    keys = [jax.tree.leaves(nnx.state(m, nnx.RngKey))[0] for m in (model, perturbed(model))]
    np.testing.assert_array_equal(*map(jax.random.key_data, keys))


def test_deep_networks_do_not_explode():
    """Neither their first values nor filters of zeros, as in residual blocks, make them explode."""
    for zeros, gain in ({}, 1.2), ({"kernel_init": nn.initializers.zeros}, 1.05):
        layer = nnx.Linear(1024, 1024, rngs=nnx.Rngs(0), **zeros)
        assert 0.95 < perturbed(layer).kernel[...].std() * 32 < gain


def test_only_models_can_be_perturbed():
    with pytest.raises(TypeError, match="`model` must be an NNX or Linen module, got <"):
        perturbed(jnp.tanh)
    with pytest.raises(ValueError, match=re.escape("pass module.bind(variables)")):
        perturbed(nn.Dense(3))


class Compiled(nnx.Module):
    """A model as one program."""

    def __init__(self, model):
        self.model = model
        self.model.eval()

    def __call__(self, x):
        return _run(self.model, x)


@nnx.jit
def _run(model, x):
    return model(x)


def case(network, acting, size, channels=1, *, slow=True, **options):
    name = f"{network.__name__}-{acting}"
    marks = pytest.mark.slow if slow else ()
    return pytest.param(network, acting, size, channels, options, id=name, marks=marks)


PARTIAL = {"group": SO2(), "samples": 4, "partial": True, "width": 2, "kernel_size": 3}
REFERENCE = [
    case(models.P4CNN, P4, 28, slow=False, width=4),
    case(models.P4CNNRotationPooling, P4, 28, width=4),
    case(models.MixedGroupCNN, P4, 28, groups=(P4M, P4), widths=2),
    case(models.GroupEquivariantCNN, P4, 28, slow=False, group=P4),
    case(models.SmallE2CNN, P4, 28),
    case(models.SeparableCNN, P4, 28),
    case(models.CKResNet, P4, 28, slow=False, **PARTIAL),
    case(models.CKResNet, P4M, 28, group=O2(), samples=8, partial=True, width=4),
    case(models.PartialGCNN13, P4, 32, group=SO2(), samples=4, partial=True, width=16),
    case(models.AllCNNC, P4M, 33, 3, group=P4M),
    case(models.ResNet44, P4M, 33, 3, group=P4M),
    case(models.ResNet26, P4M, 33, 3, group=P4M),
    case(models.WideResNet, P4M, 33, 3, groups=(P4M,), depth=16, widen=1),
    case(models.DenseNet, P4, 48, 3, group=P4),
    case(models.UNet, P4, 8, 3, slow=False, group=P4, width=2, depth=1),
]


@pytest.mark.one_in(7)
@pytest.mark.parametrize(("network", "group", "size", "channels", "options"), REFERENCE)
def test_reference_networks_keep_the_law_whatever_their_parameters(
    network, group, size, channels, options, rng
):
    """Fresh networks in float32 pass with the default tolerance, up to 44 layers deep."""
    model = Compiled(network(rngs=nnx.Rngs(0), **options))
    x = jnp.asarray(rng.normal(size=(1, size, size, channels)), jnp.float32)
    assert_equivariant(model, x, group=group)


@pytest.mark.slow
def test_voxels_keep_the_law_whatever_their_parameters(rng):
    x = jnp.asarray(rng.normal(size=(1, 16, 16, 16, 1)), jnp.float32)
    model = Compiled(models.VoxelCNN(group=octahedral(), rngs=nnx.Rngs(0)))
    assert_equivariant(model, x, group=octahedral())
