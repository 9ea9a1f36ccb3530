"""The networks for voxels: invariant under all elements, and told apart from one that is not."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gconv_jax import P4, full_octahedral, octahedral, rotations_about, trivial
from gconv_jax.models import ResNet, VoxelCNN
from tests.helpers import Case, evaluated, image, invariance_error

GROUPS = {
    "about": rotations_about(0),
    "octahedral": octahedral(),
    "full": full_octahedral(),
}


@pytest.mark.parametrize("name", GROUPS)
def test_logits_are_invariant(name, rng, x64):
    group = GROUPS[name]
    case = Case(name, group, group.matrices)
    fn = evaluated(VoxelCNN, rng, group=group, widths=2, classes=3)
    # Means over so much tell noise from noise by its strength at best.
    x = image(rng, case, 4, channels=1, batch=2) * np.reshape([1, 5], (2, 1, 1, 1, 1))
    assert invariance_error(fn, case, x) < 1e-10


def test_negative_control_the_plain_network(rng, x64):
    case = Case("octahedral", octahedral(), octahedral().matrices)
    fn = evaluated(VoxelCNN, rng, group=trivial(dimension=3), widths=3, classes=3)
    assert invariance_error(fn, case, image(rng, case, 8, channels=1, batch=2)) > 1e-2


def test_bad_input():
    with pytest.raises(ValueError, match="`group` must act on voxels"):
        VoxelCNN(group=P4, rngs=nnx.Rngs(0))
    model = nnx.eval_shape(lambda: VoxelCNN(widths=1, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match=r"`x` must be volumes \[N, D, H, W, C\]"):
        model(jnp.ones((1, 8, 8, 1)))


RESNET = {"blocks": 1, "widths": (2, 2, 3), "classes": 3, "in_features": 1}


@pytest.mark.parametrize(
    ("name", "size", "separable"),
    [
        ("about", 4, None),
        ("octahedral", 5, "gc"),
        pytest.param("octahedral", 7, None, marks=pytest.mark.slow),
        pytest.param("full", 5, None, marks=pytest.mark.slow),
        ("octahedral", 4, None),
    ],
)
def test_logits_of_a_residual_network_are_invariant(name, size, separable, rng, x64):
    group = GROUPS[name]
    case = Case(name, group, group.matrices)
    fn = evaluated(ResNet, rng, group=group, separable=separable, **RESNET)
    x = image(rng, case, size, channels=1, batch=2)
    assert fn(x).shape == (2, 3)
    assert invariance_error(fn, case, x) < 1e-10


@pytest.mark.filterwarnings("ignore:.*equivarian")
@pytest.mark.parametrize(
    "settings",
    [{"head": "published"}, {"geometry": "published"}, {"group": trivial(dimension=3)}],
    ids=lambda settings: next(iter(settings)),
)
def test_negative_control_residual_networks_that_know_the_pose(settings, rng, x64):
    case = Case("octahedral", octahedral(), octahedral().matrices)
    fn = evaluated(ResNet, rng, **{"group": octahedral(), **RESNET, **settings})
    assert invariance_error(fn, case, image(rng, case, 8, channels=1, batch=2)) > 1e-4


def test_bad_input_of_a_residual_network():
    with pytest.raises(ValueError, match="`group` must act on the plane or on space"):
        ResNet(group=trivial(dimension=1), rngs=nnx.Rngs(0))
    options = {"group": octahedral(), **RESNET}
    model = nnx.eval_shape(lambda: ResNet(**options, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match=r"volumes \[N, D, H, W, C\] of at least 4 x 4 x 4 voxels"):
        model(jnp.ones((1, 8, 8, 1)))
