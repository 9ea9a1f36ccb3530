"""Wide residual and densely connected networks: sizes, invariance, training, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gconv_jax import P4, P4M, Z2, InexactEquivarianceWarning, cyclic, dihedral, mirror, octahedral
from gconv_jax.models import DenseNet, WideResNet
from gconv_jax.testing import assert_equivariant, smooth_images
from tests.helpers import BY_NAME, evaluated, image, invariance_error, parameters

SLOW = pytest.mark.slow


def small_wide(group=None, **options):
    groups = (group,) if group else options.pop("groups")
    return WideResNet(**{"groups": groups, "depth": 10, "widen": 1, "classes": 4, **options})


def small_dense(**options):
    return DenseNet(**{"blocks": (2, 1), "growth": 2, "classes": 4, **options})


@pytest.mark.parametrize(
    ("build", "options", "count"),
    [
        (WideResNet, {"groups": (Z2,)}, 36_479_194),  # WRN-28-10, published as 36.5 million
        (WideResNet, {"groups": (Z2,), "depth": 40, "widen": 4}, 8_949_210),  # 8.9 million
        (WideResNet, {"groups": (Z2,), "depth": 16, "widen": 8}, 10_961_370),  # 11.0 million
        (WideResNet, {}, 36_425_656),
        (WideResNet, {"groups": (dihedral(8), P4M, mirror())}, 38_222_954),
        (DenseNet, {}, 113_838),
        (DenseNet, {"group": Z2}, 130_001),
    ],
)
def test_number_of_parameters(build, options, count):
    model = nnx.eval_shape(lambda: build(rngs=nnx.Rngs(0), **options))
    assert parameters(model) == count


@pytest.mark.one_in(23)
@pytest.mark.parametrize("network", [small_wide, small_dense])
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("p4", 8),
        ("p4m", 9),
        *(pytest.param(*c, marks=SLOW) for c in [("diagonal", 10), ("p2", 11)]),
    ],
)
def test_logits_are_invariant(network, name, size, rng, x64):
    case = BY_NAME[name]
    fn = evaluated(network, rng, group=case.group)
    assert invariance_error(fn, case, image(rng, case, size, 3, batch=2)) < 1e-10


def test_a_group_for_each_stage(rng, x64):
    """The network is invariant under the last group and no larger one."""
    fn = evaluated(small_wide, rng, groups=(dihedral(8), P4M, mirror()))
    x = image(rng, BY_NAME["p4m"], 8, 3, batch=2)
    assert invariance_error(fn, BY_NAME["mirror"], x) < 1e-10
    assert invariance_error(fn, BY_NAME["p4"], x) > 1e-3


@pytest.mark.parametrize("network", [small_wide, small_dense])
def test_finer_rotations_are_exact_at_quarter_turns(network, rng, x64):
    fn = evaluated(network, rng, group=cyclic(8))
    assert invariance_error(fn, BY_NAME["p4"], image(rng, BY_NAME["p4"], 8, 3, batch=2)) < 1e-10


@pytest.mark.parametrize("network", [small_wide, small_dense])
def test_negative_control(network, rng, x64):
    fn = evaluated(network, rng, group=P4)
    assert invariance_error(fn, BY_NAME["p4m"], image(rng, BY_NAME["p4m"], 8, 3, batch=2)) > 1e-3


def test_the_published_strides_break_the_law_and_warn(rng, x64):
    fn = evaluated(small_wide, rng, group=P4, geometry="published")
    with pytest.warns(InexactEquivarianceWarning):
        assert invariance_error(fn, BY_NAME["p4"], image(rng, BY_NAME["p4"], 8, 3, batch=2)) > 1e-3
    x = image(rng, BY_NAME["p4"], 9, 3, batch=2)  # 9, 5, 3
    assert invariance_error(fn, BY_NAME["p4"], x) < 1e-10


@pytest.mark.slow
@pytest.mark.one_in(7)
@pytest.mark.parametrize("network", [small_wide, small_dense])
def test_training_with_dropout(network):
    """Dropout acts in training, and the gradient reaches every parameter."""
    model = network(group=P4, dropout=0.5, rngs=nnx.Rngs(0))
    x = smooth_images((4, 8, 8, 3))
    model.train()
    assert np.abs(model(x) - model(x)).max() > 1e-3

    @nnx.jit
    def gradient(model, x):
        return nnx.grad(lambda model: (model(x) ** 2).mean())(model)

    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient(model, x)):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0, path
    model.eval()
    assert_equivariant(model, x, group=P4, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.one_in(7)
@pytest.mark.parametrize("network", [small_wide, small_dense])
def test_bfloat16(network):
    model = network(group=P4, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    model.eval()
    assert model(smooth_images((2, 8, 8, 3))).dtype == jnp.bfloat16


def test_bad_input():
    with pytest.raises(ValueError, match="`depth` must be 6 n \\+ 4, such as 16, 22 or 28, got 20"):
        WideResNet(depth=20, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="`groups` must get smaller with depth"):
        WideResNet(groups=(P4, P4M), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="`geometry` must be one of exact, published"):
        WideResNet(geometry="round", rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="`widen` must"):
        WideResNet(widen=0, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="`blocks` must be the layers of each block"):
        DenseNet(blocks=3, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="`blocks` must"):
        DenseNet(blocks=(3, 0), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="`group` must act on the plane"):
        DenseNet(group=octahedral(), rngs=nnx.Rngs(0))
    model = nnx.eval_shape(lambda: DenseNet(rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match="at least 16 x 16 pixels"):
        model(jnp.ones((1, 8, 8, 3)))
