"""Networks with finer rotations: parameter counts, and the law on and between the pixels."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gconv_jax import P4, P4M, InexactEquivarianceWarning, cyclic, dihedral
from gconv_jax.models import E2CNN, GroupEquivariantCNN, SmallE2CNN
from gconv_jax.testing import equivariance_errors, smooth_images
from tests.helpers import (
    BY_NAME,
    evaluated,
    invariance_error,
    parameters,
    quick_jit,
    random_float64,
)


def count(build) -> int:
    return parameters(nnx.eval_shape(build))


def test_published_parameter_counts():
    """2.69 and 3.07 million for C16, and D16 restricted to C16 after the fifth layer."""
    assert count(lambda: E2CNN(rngs=nnx.Rngs(0))) == 2_692_690
    restricted = (dihedral(16),) * 5 + (cyclic(16),)
    assert count(lambda: E2CNN(groups=restricted, rngs=nnx.Rngs(0))) == 3_069_353


def test_other_parameter_counts():
    assert count(lambda: SmallE2CNN(rngs=nnx.Rngs(0))) == 23_700
    for n, expected in ((4, 102_970), (8, 42_833), (16, 45_234)):
        model = nnx.eval_shape(lambda n=n: GroupEquivariantCNN(group=cyclic(n), rngs=nnx.Rngs(0)))
        assert parameters(model) == expected
        assert model.conv1.filters == ("pixel" if n == 4 else "harmonic")


def test_counts_follow_from_the_layers():
    """E2CNN's count by hand: P |G| C_in C_out parameters and 3 C_out for bias, scale and shift."""
    widths, taps = (24, 32, 36, 36, 64, 96), (31, 18, 18, 18, 18, 11)
    expected = taps[0] * widths[0] + 3 * sum(widths)
    for i in range(1, 6):
        expected += taps[i] * 16 * widths[i - 1] * widths[i]
    expected += 2 * (96 * 96 + 3 * 96) + 96 * 10 + 10
    assert expected == 2_692_690


NETWORKS = {
    "C8": (E2CNN, {"groups": (cyclic(8),), "width": 1}),
    "D4": (E2CNN, {"groups": (P4M,), "width": 1}),
    "D8 to C8": (E2CNN, {"groups": (dihedral(8), cyclic(8)), "width": (1, 1, 2, 1, 2, 3)}),
    "small C8": (SmallE2CNN, {"width": 3}),
    "small D8 to C4": (SmallE2CNN, {"groups": (dihedral(8), P4), "width": 2}),
    "upright C8": (GroupEquivariantCNN, {"group": cyclic(8), "width": 4}),
    "upright D6 bilinear": (
        GroupEquivariantCNN,
        {"group": dihedral(6), "width": 3, "filters": "bilinear"},
    ),
}


@pytest.mark.one_in(16)
@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_invariant_on_the_lattice(name, rng, x64):
    network, options = NETWORKS[name]
    fn = evaluated(network, rng, **options)
    x = rng.normal(size=(2, 28, 28, 1))
    symmetry = {"D4": "p4m", "upright D6 bilinear": "pmm"}.get(name, "p4")
    assert invariance_error(fn, BY_NAME[symmetry], x) < 1e-10
    if symmetry == "p4":  # of rotations alone
        assert invariance_error(fn, BY_NAME["mirror"], x) > 1e-3


def test_logits_are_invariant_while_training(rng, x64):
    model = random_float64(lambda: SmallE2CNN(width=2, rngs=nnx.Rngs(0)), rng)
    model.train()
    graphdef, state = nnx.split(model)
    fn = quick_jit(lambda state, x: nnx.merge(graphdef, state)(x))
    x = rng.normal(size=(4, 28, 28, 1))
    logits = [fn(state, np.rot90(x, turns, (1, 2))) for turns in range(4)]
    for turned in logits[1:]:
        np.testing.assert_allclose(turned, logits[0], atol=1e-9)


def test_dropout_is_before_the_linear_layers(rng):
    model = SmallE2CNN(groups=(P4,), width=1, dropout=0.5, rngs=nnx.Rngs(0))
    graphdef, state = nnx.split(model)

    @quick_jit
    def both(state, x):
        model = nnx.merge(graphdef, state)
        model.train()
        trained = model(x), model(x)
        model.eval()
        return trained, (model(x), model(x))

    (first, second), (third, fourth) = both(state, rng.normal(size=(2, 20, 20, 1)))
    assert not np.allclose(first, second)
    np.testing.assert_allclose(third, fourth, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("network", [SmallE2CNN, GroupEquivariantCNN])
def test_logits_are_nearly_invariant_between_the_pixels(network, rng, x64):
    """Finer groups are better at angles that are no multiple of 90 degrees."""
    x = smooth_images((4, 28, 28, 1), length=2.0)
    errors = {}
    for n in (4, 8):
        group = {"groups": (cyclic(n),)} if network is SmallE2CNN else {"group": cyclic(n)}
        model = random_float64(
            lambda group=group: network(rngs=nnx.Rngs(0), filters="harmonic", **group), rng
        )
        model.eval()
        graphdef, state = nnx.split(model)
        fn = quick_jit(lambda x, g=graphdef, s=state: nnx.merge(g, s)(x))
        report = equivariance_errors(fn, x, group=P4, angles=np.radians([45, 135]))
        errors[n] = report.errors["output"].max()
    assert errors[8] < errors[4] / 2


def test_sizes():
    model = nnx.eval_shape(lambda: E2CNN(width=1, rngs=nnx.Rngs(0)))
    assert nnx.eval_shape(lambda m: m(jnp.ones((1, 32, 40, 1))), model).shape == (1, 10)
    with pytest.warns(InexactEquivarianceWarning, match="max_pool"):
        nnx.eval_shape(lambda m: m(jnp.ones((1, 29, 29, 1))), model)
    with pytest.raises(ValueError, match=r"`x` must be images .* of at least 28 x 28 pixels"):
        model(jnp.ones((1, 27, 28, 1)))
    with pytest.raises(ValueError, match=r"`x` must be images .* of at least 20 x 20 pixels"):
        SmallE2CNN(rngs=nnx.Rngs(0))(jnp.ones((1, 19, 20, 1)))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"groups": cyclic(8)}, TypeError, "`groups` must be a sequence of groups"),
        ({"groups": (P4, cyclic(8))}, ValueError, "`groups` must get smaller with depth"),
        ({"groups": (P4,) * 7}, ValueError, "`groups` must be 1 to 6 groups, got 7"),
        ({"width": (1, 2)}, ValueError, "`width` must be an integer or 6 integers"),
        ({"width": 0}, ValueError, "`width` must be at least 1"),
        ({"filters": "pixel"}, ValueError, r"cyclic\(8\) turns by angles .*harmonic"),
        ({"filters": "wavelet"}, ValueError, "`filters` must be one of"),
    ],
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        SmallE2CNN(**options, rngs=nnx.Rngs(0))
