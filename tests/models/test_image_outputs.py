"""Networks whose result is an image: it turns with the input."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gconv_jax import P4, Z2, klein_four
from gconv_jax.models import UNet
from tests.helpers import BY_NAME, Case, evaluated, image, law_error, quick_jit, random_float64


@pytest.mark.one_in(10)
@pytest.mark.parametrize(
    ("name", "depth", "size"), [("p4", 2, (8, 8)), ("p4m", 1, (6, 10)), ("diagonals", 3, (8, 16))]
)
def test_unet_turns_with_the_image(name, depth, size, rng, x64):
    case = BY_NAME[name]
    fn = evaluated(UNet, rng, group=case.group, depth=depth, width=2, in_features=2, classes=3)
    x = image(rng, case, size)
    assert fn(x).shape == (1, *size, 3)
    assert law_error(fn, case, x, lifted=(False, False)) < 1e-12


def test_unet_in_training_mode(rng, x64):
    """Batch statistics are shared by the group: the law holds for a batch that turns as one."""
    case = BY_NAME["p4"]
    model = random_float64(
        lambda: UNet(group=P4, depth=1, width=2, in_features=2, rngs=nnx.Rngs(0)), rng
    )
    model.train()
    graphdef, state = nnx.split(model)
    fn = quick_jit(lambda x: nnx.merge(graphdef, state, copy=True)(x))
    # One by one: what is turned together is normalized together.
    x = image(rng, case, 8, batch=3)
    turned = np.rot90(x, axes=(1, 2))
    error = np.abs(fn(turned) - np.rot90(fn(x), axes=(1, 2))).max()
    assert error < 1e-12 * np.abs(fn(x)).max()


def test_unet_of_voxels(rng, x64):
    case = Case("klein", klein_four(), klein_four().matrices)
    fn = evaluated(UNet, rng, group=klein_four(), depth=1, width=2, in_features=2)
    assert law_error(fn, case, image(rng, case, 4), lifted=(False, False)) < 1e-12


def test_negative_control_a_plain_unet(rng, x64):
    fn = evaluated(UNet, rng, group=Z2, depth=1, width=4, in_features=2)
    assert law_error(fn, BY_NAME["p4"], image(rng, BY_NAME["p4"], 8), lifted=(False, False)) > 1e-2


def test_sizes_are_checked():
    model = nnx.eval_shape(lambda: UNet(group=P4, depth=2, width=1, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match=r"sides divisible by 4 \(2\*\*depth\), got shape"):
        model(jnp.ones((1, 8, 6, 3)))
    with pytest.raises(ValueError, match="`depth` must be at least 1"):
        UNet(depth=0, rngs=nnx.Rngs(0))
