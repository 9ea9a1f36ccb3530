"""The law at angles that move pixels between pixels, and how the checks measure it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gconv_jax import cyclic, dihedral, group_pool, mirror
from gconv_jax.moves import moves_of, resample
from gconv_jax.nnx import GroupConv, LiftConv
from gconv_jax.testing import assert_equivariant, equivariance_errors, smooth_images


class Stack(nnx.Module):
    """Lifting, group convolution, pooling over the group, and over space."""

    def __init__(self, group, filters, kernel=7, seed=0):
        options = {
            "group": group,
            "filters": filters,
            "rngs": nnx.Rngs(seed),
            "param_dtype": jnp.float64,
        }
        self.lift = LiftConv(1, 4, kernel, **options)
        self.conv = GroupConv(4, 4, kernel, **options)

    def maps(self, x):
        return nnx.relu(self.conv(nnx.relu(self.lift(x))))

    def __call__(self, x):
        return group_pool(self.maps(x)).mean((1, 2))


class Plain(nnx.Module):
    def __init__(self, features):
        options = {"rngs": nnx.Rngs(0), "param_dtype": jnp.float64}
        self.one = nnx.Conv(1, features, (7, 7), **options)
        self.two = nnx.Conv(features, features, (7, 7), **options)

    def __call__(self, x):
        return nnx.relu(self.two(nnx.relu(self.one(x)))).mean((1, 2))


def off_lattice(group) -> list[int]:
    return [g for g in group.elements if not group.isometries[g].is_lattice]


@pytest.mark.parametrize("group", [cyclic(8), cyclic(16), dihedral(8)], ids=str)
def test_harmonic_filters_keep_the_law_between_pixels(group, x64):
    """Below 1 %, and below a third of what bilinear ones do; a plain CNN is far off."""
    x = smooth_images((1, 33, 33, 1))
    errors = {}
    for filters in ("harmonic", "bilinear"):
        report = equivariance_errors(Stack(group, filters), x, group=group)
        between = off_lattice(group)
        errors[filters] = report.errors["output"][between].max()
        on_lattice = np.delete(report.errors["output"], between)
        assert on_lattice.max() < 1e-12
        maps = report.errors["conv"][between].max()
        assert maps < 0.06 if filters == "harmonic" else maps > 0.15
    plain = equivariance_errors(Plain(32), x, group=group).errors["output"].max()
    assert errors["harmonic"] < 0.01
    assert errors["harmonic"] < errors["bilinear"] / 3
    assert plain > 0.05


def test_the_error_shrinks_with_the_pixels(x64):
    """What is left is sampling: on an image drawn finer it goes away, unlike a wrong turn."""
    stack = Stack(cyclic(8), "harmonic", kernel=5)
    error = {}
    for size, length in ((33, 2.0), (65, 4.0)):
        x = smooth_images((2, size, size, 1), length=length)
        error[size] = equivariance_errors(stack, x, group=cyclic(8)).errors["lift"].max()
    assert error[65] < error[33] / 1.5


def test_angles_between_the_elements(x64):
    """Invariant at the elements, less so between them; and finer groups are better there."""
    x = smooth_images((2, 33, 33, 1))
    errors = {}
    for n in (1, 4, 8):
        group = cyclic(n)
        report = equivariance_errors(
            Stack(group, "harmonic"), x, group=group, angles=[0.0, np.pi / 4, np.pi / 8]
        )
        assert report.moves == ("0°", "45°", "22.5°")
        if n > 1:
            assert np.isnan(report.errors["conv"]).all()  # orientations are not permuted
        errors[n] = report.errors["output"]
    assert all(e[0] < 1e-6 for e in errors.values())
    assert errors[8][1] < 0.01 < errors[4][1]
    assert errors[8].max() < errors[4].max() < errors[1].max()
    lines = str(report).splitlines()
    assert lines[0].split() == ["layer", "0°", "45°", "22.5°"]


def test_assertion_between_pixels(x64):
    group = cyclic(8)
    x = smooth_images((2, 33, 33, 1))
    stack = Stack(group, "harmonic", kernel=5)
    assert_equivariant(stack, x, group=group, rtol=0.01)
    assert_equivariant(stack.maps, x, group=group, rtol=0.06)
    with pytest.raises(ValueError, match=r"`rtol` must be given for cyclic\(8\).* r45, r135"):
        assert_equivariant(stack, x, group=group)
    with pytest.raises(AssertionError, match=r"worst is element . \(r.*first layer .* 'lift'"):
        assert_equivariant(Stack(group, "bilinear"), x, group=group, rtol=0.01)

    def reversed_orientations(x):  # as no turn but the half one takes it
        return jnp.flip(stack.maps(x), -2)

    with pytest.raises(AssertionError, match="is not equivariant under 6 of the 8 elements"):
        assert_equivariant(reversed_orientations, x, group=group, rtol=0.06)


def test_resampling_is_accurate(x64):
    """Eight turns by 45 degrees are none, and a quarter turn is that of the pixels."""
    x = smooth_images((2, 33, 33, 2), seed=1)
    turned = jnp.asarray(x)
    move = moves_of(cyclic(8))[1]
    assert not move.exact
    for _ in range(8):
        turned = move.image(turned)
    np.testing.assert_allclose(turned, x, atol=2e-3)
    quarter = resample(jnp.asarray(x), moves_of(cyclic(8))[2].matrix, channel_axes=1)
    np.testing.assert_allclose(quarter, np.rot90(x, 1, (1, 2)), atol=1e-12)


def test_smooth_images_are_smooth_and_in_the_disc():
    x = smooth_images((8, 64, 64, 1))
    spectrum = np.abs(np.fft.fft2(x[..., 0])) ** 2
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64))) * 2 * np.pi
    assert spectrum[:, frequency > 1.2].sum() < 1e-4 * spectrum.sum()
    assert np.abs(x[:, 0]).max() == np.abs(x[:, :, -1]).max() == 0
    np.testing.assert_allclose(x[:, 28:36, 28:36].std(), 1, atol=0.4)
    with pytest.raises(ValueError, match="`shape` must be"):
        smooth_images((8, 64, 64))


def test_bad_angles(x64):
    stack = Stack(cyclic(8), "harmonic", kernel=3)
    x = smooth_images((1, 15, 15, 1))
    with pytest.raises(ValueError, match="`angles` must be a sequence of angles in radians"):
        equivariance_errors(stack, x, group=cyclic(8), angles=0.3)
    with pytest.raises(ValueError, match="`angles` must be a sequence"):
        equivariance_errors(jnp.tanh, jnp.ones((1, 8, 1)), group=mirror(1), angles=[0.3])
    with pytest.raises(ValueError, match="`input_action` cannot be a function of elements"):
        equivariance_errors(stack, x, group=cyclic(8), angles=[0.3], input_action=lambda x, g: x)


def test_a_fine_group_is_built_quickly(x64):
    """No more than a table of 16 x 49 x 20 numbers: the smoke test of the second it may take."""
    shapes = jax.eval_shape(lambda: nnx.state(Stack(cyclic(16), "harmonic"), nnx.Param))
    assert shapes["conv"]["kernel"].shape == (20, 16, 4, 4)
