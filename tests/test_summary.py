"""The table of a model's layers: nothing left out, nothing counted twice, nothing changed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn, nnx

import gconv_jax.linen as glinen
import gconv_jax.nnx as gnnx
from gconv_jax import P4, P4M, SO2, models
from gconv_jax.summary import Row, summary
from tests.helpers import parameters

MODELS = {
    "P4CNN": (models.P4CNN, (28, 28, 1)),
    "MixedGroupCNN": (models.MixedGroupCNN, (28, 28, 1)),
    "CKResNet": (models.CKResNet, (28, 28, 1)),
    "E2CNN": (models.E2CNN, (28, 28, 1)),
    "SeparableCNN": (models.SeparableCNN, (28, 28, 1)),
    "UNet": (models.UNet, (16, 16, 3)),
    "VoxelCNN": (models.VoxelCNN, (12, 12, 12, 1)),
    "WideResNet": (models.WideResNet, (32, 32, 3)),
    "DenseNet": (models.DenseNet, (96, 96, 3)),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_rows_add_up(name):
    build, shape = MODELS[name]
    model = nnx.eval_shape(lambda: build(rngs=nnx.Rngs(0)))
    table = summary(model, (2, *shape))
    assert table.parameters == parameters(model) == sum(row.parameters for row in table.rows)
    assert len({row.path for row in table.rows if not row.path.endswith("dropout")}) > 5
    assert f"{table.parameters:,} parameters" in str(table)


class Shared(nnx.Module):
    """One convolution twice, and one whose kernel is tied to it."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.lift = gnnx.LiftConv(1, 4, 3, group=P4M, rngs=rngs)
        self.conv = gnnx.GroupConv(4, 4, 3, group=P4M, rngs=rngs)
        self.tied = gnnx.GroupConv(4, 4, 3, group=P4M, use_bias=False, rngs=rngs)
        self.tied.kernel = self.conv.kernel
        self.norm = gnnx.BatchNorm(4, rngs=rngs)

    def __call__(self, x):
        return self.tied(self.conv(self.norm(self.conv(self.lift(x)))))


def test_shared_parameters_count_once():
    model = Shared(rngs=nnx.Rngs(0))
    before = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(model)))
    table = summary(model, jax.ShapeDtypeStruct((2, 9, 9, 1), jnp.float32))
    kernel = 9 * 8 * 4 * 4
    assert [(row.path, row.parameters, row.shared) for row in table.rows] == [
        ("lift", 9 * 4 + 4, False),
        ("conv", kernel + 4, False),
        ("norm", 8, False),
        ("conv", 0, True),
        ("tied", 0, True),
    ]
    assert table.rows[1] == Row("conv", "GroupConv", "P4M", "2x9x9x8x4", kernel + 4, False)
    assert table.parameters == 40 + kernel + 4 + 8
    assert table.statistics == 8 and table.output == "2x9x9x8x4"
    assert str(table).count("shared") == 2
    assert str(table).endswith(f"{table.parameters:,} parameters and 8 statistics")
    jax.tree.map(np.testing.assert_array_equal, before, nnx.to_pure_dict(nnx.state(model)))


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x):
        conv = glinen.GroupConv(4, 3, group=P4)
        x = nn.BatchNorm(use_running_average=True)(conv(glinen.LiftConv(4, 3, group=P4)(x)))
        return nn.Dense(10)(conv(x).mean((1, 2, 3)))


def test_linen():
    model = Linen()
    variables = model.init(jax.random.key(0), jnp.ones((1, 9, 9, 1)))
    table = summary(model.bind(variables), (2, 9, 9, 1))
    assert [(row.layer, row.group, row.shape, row.parameters) for row in table.rows] == [
        ("LiftConv", "P4", "2x9x9x4x4", 40),
        ("GroupConv", "P4", "2x9x9x4x4", 9 * 4 * 16 + 4),
        ("BatchNorm", "", "2x9x9x4x4", 8),
        ("GroupConv", "P4", "2x9x9x4x4", 0),
        ("Dense", "", "2x10", 50),
    ]
    assert table.parameters == sum(row.parameters for row in table.rows)
    assert table.statistics == 8
    with pytest.raises(ValueError, match=r"must be bound: pass module.bind\(variables\)"):
        summary(model, (2, 9, 9, 1))


def test_keys_and_counters_are_no_parameters():
    model = nnx.Sequential(nnx.Linear(3, 4, rngs=nnx.Rngs(0)), nnx.Dropout(0.5, rngs=nnx.Rngs(1)))
    table = summary(model, (2, 3))
    assert (table.parameters, table.statistics) == (16, 0)


def test_sampled_features_show_their_values():
    model = gnnx.ContinuousLiftConv(1, 4, 5, group=SO2(), samples=6, rngs=nnx.Rngs(0))
    assert summary(nnx.Sequential(model), (2, 9, 9, 1)).output == "2x9x9x6x4"


def test_bad_input():
    with pytest.raises(TypeError, match="`model` must be an NNX module or a bound Linen module"):
        summary(lambda x: x, (1, 9, 9, 1))
    with pytest.raises(ValueError, match="`x` must be"):
        summary(gnnx.LiftConv(1, 4, 3, group=P4, rngs=nnx.Rngs(0)), (1, 9, 9, 2))
