"""Flax's normalizations on feature maps, and dropout: the law in training, on and off the group."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn, nnx

import gconv_jax.linen as glinen
import gconv_jax.nnx as gnnx
from gconv_jax import octahedral
from tests.helpers import BY_NAME, Case, act, feature_map, random_float64, some_cases

# Each sees the channels as its features and everything else but the image as space.
NORMS = {
    "BatchNorm": lambda rngs: nnx.BatchNorm(4, rngs=rngs),
    "our BatchNorm": lambda rngs: gnnx.BatchNorm(4, rngs=rngs),
    "LayerNorm": lambda rngs: nnx.LayerNorm(4, rngs=rngs),
    "RMSNorm": lambda rngs: nnx.RMSNorm(4, rngs=rngs),
    "GroupNorm": lambda rngs: nnx.GroupNorm(4, num_groups=2, rngs=rngs),
}
if hasattr(nnx, "InstanceNorm"):  # older Flax lacks it
    NORMS["InstanceNorm"] = lambda rngs: nnx.InstanceNorm(4, rngs=rngs)


def error(fn, case, x) -> float:
    """Return the error of ``fn(L_g x) = L_g fn(x)``, a batch at a time: its statistics are of one
    pose."""
    y = np.asarray(fn(jnp.asarray(x)))
    turned = (
        np.abs(fn(act(case, x, g, lifted=True)) - act(case, y, g, lifted=True)).max()
        for g in range(case.order)
    )
    return float(max(turned) / np.abs(y).max())


@some_cases("p4", "p4m", "line-mirror")
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("train", [True, False])
def test_normalizations_keep_the_law(case, norm, train, rng, x64):
    model = random_float64(lambda: NORMS[norm](nnx.Rngs(0)), rng)
    (model.train if train else model.eval)()
    graphdef, state = nnx.split(model)
    fn = jax.jit(lambda x: nnx.merge(graphdef, state, copy=True)(x))
    x = feature_map(rng, case, 5, channels=4, batch=3)
    assert error(fn, case, x) < 1e-12
    assert np.abs(np.asarray(fn(x)) - x).max() > 0.1, "it does something"


def test_negative_control_a_scale_for_each_element(rng, x64):
    """Merged channels: each element has a scale of its own."""
    case = BY_NAME["p4"]
    model = random_float64(lambda: nnx.BatchNorm(16, rngs=nnx.Rngs(0)), rng)
    fn = lambda x: model(x.reshape(*x.shape[:-2], 16)).reshape(x.shape)  # noqa: E731
    model.eval()
    assert error(fn, case, feature_map(rng, case, 5, channels=4)) > 1e-2


VOXELS = Case("octahedral", octahedral(), octahedral().matrices)


@pytest.mark.parametrize("case", [BY_NAME["p4m"], BY_NAME["line-mirror"], VOXELS], ids=str)
def test_field_dropout_keeps_the_law(case, rng, x64):
    x = feature_map(rng, case, 3, channels=8, batch=4)
    layer = glinen.FieldDropout(0.5, deterministic=False)

    def by_linen(x):
        return layer.apply({}, x, rngs={"dropout": jax.random.key(1)})

    def by_nnx(x):
        return gnnx.FieldDropout(0.5, rngs=nnx.Rngs(0))(x)

    for fn in (by_linen, by_nnx):
        assert error(fn, case, x) == 0
        share = (np.asarray(fn(x)) / x).reshape(4, -1, 8)
        assert (share == share[:, :1]).all(), "all pixels and elements together"
        assert set(np.unique(share.round(9))) == {0, 2}
        assert 4 < (share[:, 0] == 0).sum() < 28
    # A negative control: Flax's own mask is one of pixels and elements.
    plain = lambda x: nn.Dropout(0.5, deterministic=False).apply(  # noqa: E731
        {}, x, rngs={"dropout": jax.random.key(1)}
    )
    assert error(plain, case, x) > 0.1


def test_field_dropout_in_evaluation(rng):
    x = jnp.ones((2, 3, 3, 4, 5))
    layer = gnnx.FieldDropout(0.5, rngs=nnx.Rngs(0))
    layer.eval()
    np.testing.assert_array_equal(layer(x), x)
    np.testing.assert_array_equal(glinen.FieldDropout(0.5).apply({}, x, deterministic=True), x)
