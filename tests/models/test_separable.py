"""Networks with separable convolutions: the published parameter counts, and invariance."""

import jax.numpy as jnp
import pytest
from flax import nnx

from gconv_jax import P4, P4M, Z2
from gconv_jax.models import ResNet, ResNet44, SeparableCNN
from tests.helpers import BY_NAME, evaluated, image, invariance_error, parameters


@pytest.mark.parametrize(
    ("separable", "width", "count"),
    [
        ("gc", 30, 24_640),
        ("gc", 10, 3_420),
        ("g", 17, 25_255),
        ("g", 10, 8_910),
        (None, 10, 24_810),
    ],
)
def test_published_counts(separable, width, count):
    model = nnx.eval_shape(lambda: SeparableCNN(separable=separable, width=width, rngs=nnx.Rngs(0)))
    assert parameters(model) == count


@pytest.mark.parametrize(
    ("separable", "widths", "count"),
    [("gc", (28, 56, 112), 1_886_874), ("g", (19, 38, 76), 1_784_148)],
)
def test_published_residual_networks(separable, widths, count):
    """1.88 and 1.78 million, with the published widths as the defaults."""
    models = [
        nnx.eval_shape(lambda w=w: ResNet44(separable=separable, widths=w, rngs=nnx.Rngs(0)))
        for w in (None, widths)
    ]
    assert [parameters(model) for model in models] == [count, count]


@pytest.mark.one_in(10)
@pytest.mark.parametrize("separable", ["g", "gc", None])
@pytest.mark.parametrize("name", ["p4", "p4m"])
def test_logits_are_invariant(separable, name, rng, x64):
    case = BY_NAME[name]
    fn = evaluated(SeparableCNN, rng, group=case.group, separable=separable, width=2, classes=3)
    assert invariance_error(fn, case, image(rng, case, 28, channels=1, batch=2)) < 1e-10


@pytest.mark.parametrize("separable", ["g", "gc"])
def test_residual_networks_are_invariant(separable, rng, x64):
    case = BY_NAME["p4m"]
    options = {"group": P4M, "separable": separable, "blocks": 1, "widths": 2, "classes": 3}
    fn = evaluated(ResNet, rng, **options)
    assert invariance_error(fn, case, image(rng, case, 8, channels=3, batch=2)) < 1e-10


def test_negative_control_no_group(rng, x64):
    fn = evaluated(SeparableCNN, rng, group=Z2, width=4, classes=3)
    case = BY_NAME["p4"]
    assert invariance_error(fn, case, image(rng, case, 28, channels=1, batch=2)) > 1e-2


def test_bad_input():
    with pytest.raises(ValueError, match="`separable` must be 'gc', 'g' or None, got 'c'"):
        SeparableCNN(separable="c", rngs=nnx.Rngs(0))
    model = nnx.eval_shape(lambda: SeparableCNN(group=P4, width=1, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match="`x` must be images"):
        model(jnp.ones((1, 8, 8, 1)))
