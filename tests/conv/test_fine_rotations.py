"""The law at angles that move pixels between pixels, and how the checks measure it."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gconv_jax import cyclic, dihedral, group_pool, mirror
from gconv_jax.nnx import GroupConv, LiftConv
from gconv_jax.testing import assert_equivariant, equivariance_errors, smooth_images
from gconv_jax.testing.moves import input_transforms, resample


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


@pytest.mark.one_in(16)
@pytest.mark.parametrize("group", [cyclic(8), cyclic(16), dihedral(8)], ids=str)
def test_harmonic_filters_keep_the_law_between_pixels(group, x64):
    """The invariants are below 1 %, and below a third of bilinear ones, in the mean over networks;
    maps are within 5 %. A plain CNN is far off."""
    errors = {"harmonic": [], "bilinear": []}
    for seed in range(4):
        x = smooth_images((4, 33, 33, 1), seed=seed)
        moves = [move for move in input_transforms(group) if not move.exact][:2]
        for filters, found in errors.items():
            stack = Stack(group, filters, seed=seed)
            y = stack(x)
            found.append(
                max(m.distance(stack(m.image(x)), y, None) / m.size(y, None) for m in moves)
            )
    harmonic, bilinear = np.mean(errors["harmonic"]), np.mean(errors["bilinear"])
    assert max(errors["harmonic"]) < 0.01
    assert harmonic < bilinear / 3


def test_every_layer_and_element(x64):
    group, x = cyclic(16), smooth_images((1, 33, 33, 1))
    report = equivariance_errors(Stack(group, "harmonic"), x, group=group, perturb=False)
    between = off_lattice(group)
    assert np.delete(report.errors["output"], between).max() < 1e-12
    assert 1e-3 < report.errors["conv"][between].max() < 0.05
    plain = equivariance_errors(Plain(32), x, group=group, perturb=False).errors
    assert plain["output"].max() > 0.05 and plain["two"].max() > 0.5


@pytest.mark.slow
def test_the_error_shrinks_with_the_pixels(x64):
    """The rest of the error is sampling: it goes away on finer images, unlike a wrong turn."""
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
        # Between the elements of the group, no permutation of the orientations is right.
        assert np.isnan(report.errors["conv"]).tolist() == [False, n < 8, True]
        errors[n] = report.errors["output"]
    assert all(e[0] == 0 for e in errors.values())
    assert errors[8][1] < 0.01 < errors[4][1]
    assert errors[8].max() < errors[4].max() < errors[1].max()
    lines = str(report).splitlines()
    assert lines[0].split() == ["layer", "0°", "45°", "22.5°"]


def test_assertion_between_pixels(x64):
    group = cyclic(8)
    x = smooth_images((2, 33, 33, 1))
    stack = Stack(group, "harmonic", kernel=5)
    assert_equivariant(stack, x, group=group, rtol_resampled=0.01)
    assert_equivariant(stack.maps, x, group=group, rtol_resampled=0.06)
    with pytest.raises(ValueError, match=r"`rtol_resampled` must be given for cyclic.* r45, r135"):
        assert_equivariant(stack, x, group=group)
    with pytest.raises(
        AssertionError, match=r"\(r.*root mean square error .*first layer .* 'lift'"
    ):
        assert_equivariant(Stack(group, "bilinear"), x, group=group, rtol_resampled=0.01)

    def reversed_orientations(x):  # as no turn but the half one takes it
        return jnp.flip(stack.maps(x), -2)

    with pytest.raises(AssertionError, match="is not equivariant under 6 of the 8 elements"):
        assert_equivariant(reversed_orientations, x, group=group, rtol_resampled=0.06)


def test_the_layer_to_blame_is_found_on_the_pixels(x64):
    """Sampling between the pixels is no fault of the layers before the one that breaks the law."""

    class Broken(Stack):
        def __init__(self, group):
            super().__init__(group, "harmonic", kernel=3)
            self.slope = Slope()

        def __call__(self, x):
            return group_pool(self.slope(self.maps(x))).mean((1, 2))

    class Slope(nnx.Module):
        def __call__(self, x):
            return x * (1 + 0.01 * jnp.arange(x.shape[1]).reshape(-1, 1, 1, 1))

    with pytest.raises(AssertionError, match=r"first layer that breaks the law is 'slope'"):
        assert_equivariant(
            Broken(cyclic(8)), smooth_images((1, 25, 25, 1)), group=cyclic(8), rtol_resampled=0.01
        )


def test_resampling_is_accurate(x64):
    """Eight turns by 45 degrees are none, and a quarter turn is that of the pixels."""
    x = smooth_images((2, 33, 33, 2), seed=1)
    turned = jnp.asarray(x)
    move = input_transforms(cyclic(8))[1]
    assert not move.exact
    for _ in range(8):
        turned = move.image(turned)
    np.testing.assert_allclose(turned, x, atol=2e-3)
    quarter = resample(jnp.asarray(x), input_transforms(cyclic(8))[2].matrix, channel_axes=1)
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


def test_integers_and_complex_numbers_are_resampled_as_numbers():
    x = smooth_images((1, 25, 25, 1))
    quarter = input_transforms(cyclic(8))[1].matrix
    expected = resample(x, quarter, channel_axes=1)
    np.testing.assert_allclose(
        resample(x + 2j * x, quarter, channel_axes=1), (1 + 2j) * expected, atol=1e-5
    )
    steps = resample((100 * x).astype(int), quarter, channel_axes=1)
    np.testing.assert_allclose(steps, 100 * expected, atol=3)
    assert steps.dtype == jnp.float32
