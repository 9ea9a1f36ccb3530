"""Lie derivatives: zero for equivariant functions, and their closed forms for others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gconv_jax import (
    P4,
    Fields,
    Harmonic,
    cyclic,
    group_conv,
    group_pool,
    lift_conv,
    rotate,
    to_irreps,
)
from gconv_jax.lattice.flow import GENERATORS, affine_generator, move_tangent
from gconv_jax.lattice.lie_derivative import find_spacing, lie_derivative
from gconv_jax.testing import smooth_images
from tests.lattice.test_flow import blobs, moved_points, points

C16 = cyclic(16)
ROTATIONS = ("rotation", "translation_rows", "translation_columns")


@pytest.fixture
def x(x64):
    return jnp.asarray(smooth_images((2, 48, 48, 2), length=5.0))


def size(y):
    return float(jnp.sqrt((y**2).mean()))


def relative(f, x, generator="rotation", **options):
    return size(lie_derivative(f, x, generator, **options)) / size(f(x))


def radius(n, center=0.0):
    positions = np.arange(n) - (n - 1) / 2 - center
    return np.hypot(positions[:, None], positions)[None, :, :, None]


def blur(x, rows=2.0, columns=2.0):
    """Return images that are blurred by a Gaussian, exactly where it is round."""
    for axis, sigma in ((1, rows), (2, columns)):
        taps = jnp.asarray(np.exp(-((np.arange(-12, 13) / sigma) ** 2) / 2))
        shape = [1] * 4
        shape[axis - 1] = 25
        kernel = jnp.tile((taps / taps.sum()).reshape(shape), (1, 1, 1, x.shape[-1]))
        x = lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=x.shape[-1],
        )  # fmt: skip
    return x


def gradient(x):
    """Return the gradients of one-channel images, components along rows and columns."""
    wide = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows = (wide[:, 2:, 1:-1] - wide[:, :-2, 1:-1]) / 2
    return jnp.concatenate([rows, (wide[:, 1:-1, 2:] - wide[:, 1:-1, :-2]) / 2], -1)


@pytest.mark.parametrize("generator", ROTATIONS)
def test_invariant_functions(x, generator):
    """Means of pointwise functions are invariant where images vanish at the border."""
    assert relative(lambda x: (x**2).mean((1, 2)), x, generator) < 1e-4
    assert relative(lambda x: jnp.log1p(jnp.exp(2 * x)).mean((1, 2)), x, generator) < 1e-4
    assert relative(lambda x: (x[..., 0] * x[..., 1]).mean(), x, generator) < 1e-3


def test_radial_functions_are_invariant_under_rotations_alone(x):
    def central(x, center=0.0):
        return (jnp.exp(-((radius(48, center) / 8) ** 2)) * x).sum((1, 2))

    assert relative(central, x) < 1e-3
    assert relative(lambda x: central(x, 3.0), x) > 0.3
    assert relative(central, x, "translation_rows") > 0.05
    assert relative(central, x, "scaling") > 0.1


@pytest.mark.parametrize("generator", GENERATORS)
def test_a_linear_function_has_the_tangent_of_its_argument(x, generator):
    a = jnp.asarray(np.random.default_rng(1).normal(size=x.shape[1:]))
    derivative = lie_derivative(lambda x: (a * x).sum((1, 2)), x, generator)
    expected = (a * move_tangent(x, generator)).sum((1, 2))
    np.testing.assert_allclose(derivative, expected, rtol=1e-10)
    assert size(expected) > 1e-3
    # Means of scaled and sheared images change by the trace, since the divergence does.
    total = lie_derivative(lambda x: (x**2).sum((1, 2)), x, generator)
    trace = np.trace(affine_generator(generator)[:, :2])
    np.testing.assert_allclose(total, trace * (x**2).sum((1, 2)), atol=2e-3 * float((x**2).sum()))


def test_finite_rotations_have_the_same_derivative(x64):
    """Images in closed form at turned points converge to first order in the angle, and central
    differences of `rotate` up to its bilinear interpolation."""
    ramp = jnp.asarray(np.arange(48.0))[None, :, None, None] / 10
    matrix, p = affine_generator("rotation"), points(48, 48)

    def f(x):
        return jnp.tanh(ramp * blur(x)).mean((1, 2))

    x = jnp.asarray(blobs(p, 48)[None])
    derivative = lie_derivative(f, x)
    errors = []
    for t in (0.2, 0.1, 0.01):
        turned = jnp.asarray(blobs(moved_points(matrix, t, p), 48)[None])
        errors.append(size((f(turned) - f(x)) / t - derivative) / size(derivative))
    assert errors[1] < 0.6 * errors[0] and errors[2] < 0.15 * errors[1] < 0.05
    central = (f(rotate(x, 1e-4)) - f(rotate(x, -1e-4))) / 2e-4
    np.testing.assert_allclose(derivative, central, atol=0.03 * size(derivative))


def test_images_out(x):
    """A round blur is equivariant under isometries, an oblong one under translations alone."""
    assert relative(blur, x) < 0.01
    assert relative(blur, x, "translation_rows") < 2e-3
    assert relative(lambda x: blur(x, columns=4.0), x) > 0.1
    assert relative(lambda x: blur(x, columns=4.0), x, "translation_columns") < 4e-3
    assert relative(blur, x, "scaling") > 0.1
    assert relative(lambda x: x**2, x, "shear_rows") < 5e-3
    # The law would be broken if the output did not move.
    assert relative(blur, x, output_action="invariant") > 1


@pytest.mark.parametrize("generator", ROTATIONS)
def test_vectors_out_and_in(x, generator):
    vectors, one = Fields(vectors=1), x[..., :1]
    assert relative(gradient, one, generator, output_action=vectors) < 0.03
    if generator == "rotation":
        assert relative(gradient, one, generator) > 0.5
        flipped = relative(lambda x: gradient(x)[..., ::-1], one, generator, output_action=vectors)
        assert flipped > 0.5

    def force(x):
        return ((x**2).sum(-1, keepdims=True) * x).mean((1, 2))

    options = {"input_action": vectors, "output_action": vectors}
    assert relative(force, x, generator, **options) < 2e-4
    if generator == "rotation":
        assert relative(force, x, generator, input_action=vectors) > 0.5
        assert relative(lambda x: force(x[..., :1] * x), x, generator, **options) > 0.1


def pool(x):
    """Return means over squares of four pixels, which keep the center of an image."""
    return x.reshape(2, 24, 2, 24, 2, 2).mean((2, 4))


def repeat(x):
    return jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)


def test_strides_and_upsampling(x):
    for generator in ("translation_rows", "translation_columns"):
        assert relative(pool, x, generator) < 5e-3
        assert relative(pool, x, generator, spacing=1) > 0.1
        assert relative(lambda x: blur(repeat(x)), x, generator) < 0.01
        assert relative(lambda x: blur(repeat(x)), x, generator, spacing=1) > 0.05
    for generator, allowed in [("rotation", 0.03), ("scaling", 0.06)]:
        assert relative(pool, x, generator) < allowed
        np.testing.assert_allclose(
            lie_derivative(pool, x, generator, spacing=1), lie_derivative(pool, x, generator)
        )


def test_spacing_is_read_off_the_sizes():
    for before, after, step in [(28, 14, 2), (27, 9, 3), (33, 17, 2), (28, 24, 1), (14, 28, 0.5)]:
        assert find_spacing(None, (before, 28), (after, 28)) == (step, 1)
    assert find_spacing(3, (28, 28), (14, 14)) == (3, 3)
    assert find_spacing((3, 2.5), (28, 28), (14, 14)) == (3, 2.5)
    for wrong in (0, (1, 2, 3), "two", float("nan")):
        with pytest.raises(ValueError, match="`spacing` must be a positive number or two of them"):
            find_spacing(wrong, (28, 28), (14, 14))


def features(rng, group, *, steerable, orientations=1):
    """Return filters for images, or for feature maps with so many orientations, and the options."""
    if not steerable:
        return jnp.asarray(rng.normal(size=(7, 7, 2, 2))), {"group": group}
    basis = Harmonic(max_frequency=3)
    count = basis(np.stack(np.indices((7, 7)), -1) - 3.0, 7).shape[-1]
    shape = (count, *((orientations,) if orientations > 1 else ()), 2, 2)
    return jnp.asarray(rng.normal(size=shape)), {
        "group": group, "filters": basis, "kernel_size": 7,
    }  # fmt: skip


@pytest.mark.parametrize("generator", ROTATIONS[:2])
def test_feature_maps_of_many_rotations(x, rng, generator):
    """Steerable filters respond with few angular frequencies, so that features on C16 are samples
    of functions of the angle, which turn by any angle."""
    w, options = features(rng, C16, steerable=True)
    v, _ = features(rng, C16, steerable=True, orientations=16)

    def lift(x):
        return lift_conv(x, w, **options)

    def two(x):
        return group_conv(jnp.tanh(lift(x) / 30), v, **options)

    assert relative(lift, x, generator, group=C16) < 0.02
    assert relative(two, x, generator, group=C16) < 0.03
    pooled = relative(lambda x: group_pool(two(x)).mean((1, 2)), x, generator, group=C16)
    assert pooled < 0.03
    if generator == "rotation":
        # Were the orientations to stay, or to turn the other way, the law would be broken.
        flipped = relative(lambda x: lift(x)[..., ::-1, :], x, group=C16)
        assert flipped > 0.3
        assert relative(lambda x: lift(x)[..., 0, :], x) > 0.3
    else:
        assert relative(two, x, generator) < 0.03, "no group is needed"
    maps = lift(x)
    conv = relative(lambda y: group_conv(y, v, **options), maps, generator, group=C16)
    assert conv < 0.02


def test_feature_maps_of_four_rotations(x, rng):
    """Four samples do not resolve what filters of pixels see."""
    w, options = features(rng, P4, steerable=False)
    p4 = relative(lambda x: lift_conv(x, w, **options), x, group=P4)
    v, options = features(rng, C16, steerable=True)
    c16 = relative(lambda x: lift_conv(x, v, **options), x, group=C16)
    assert c16 < 0.02 and p4 > 0.2


def test_orientations_without_space(x, rng):
    w, options = features(rng, C16, steerable=True)

    def tokens(x):
        return (lift_conv(x, w, **options) ** 2).mean((1, 2))

    assert relative(tokens, x, group=C16, output_action="orientations") < 0.01
    assert relative(tokens, x, output_action="invariant") > 0.1


def test_compiled_and_differentiated(x):
    def penalty(a):
        return jnp.sum(lie_derivative(lambda x: a * x[..., :1], x, "rotation") ** 2)

    a = jnp.asarray(np.random.default_rng(0).normal(size=(48, 48, 1)))
    loss, slope = jax.jit(jax.value_and_grad(penalty))(a)
    np.testing.assert_allclose(loss, penalty(a), rtol=1e-10)
    step = 1e-6 * slope
    change = penalty(a + step) - penalty(a - step)
    np.testing.assert_allclose(change, 2 * (step * slope).sum(), rtol=1e-6)
    assert penalty(jnp.ones_like(a)) < 1e-20


def test_trees_and_float32():
    x = jnp.asarray(smooth_images((2, 32, 32, 1)), jnp.float32)
    found = lie_derivative(lambda x: {"mean": x.mean((1, 2)), "same": [x], "row": x[:, 8, :, 0]}, x)
    assert found["mean"].dtype == jnp.float32 and found["mean"].shape == (2, 1)
    assert not found["same"][0].any(), "the identity obeys the law exactly"
    assert jnp.abs(found["row"]).max() > 1e-4


def test_bad_arguments(x):
    maps = jnp.ones((1, 8, 8, 4, 1))

    def f(x):
        return x

    for group, name in [(None, "None"), (C16, r"cyclic\(16\)")]:
        match = rf"`group` must be .* 4 elements the orientations .* \(1, 8, 8, 4, 1\).* got {name}"
        with pytest.raises(ValueError, match=match):
            lie_derivative(f, maps, group=group)
    with pytest.raises(ValueError, match="must turn all directions alike"):
        lie_derivative(f, maps, "shear_rows", group=P4)
    with pytest.raises(ValueError, match=r"`x` must be floating images .*, got shape \(8, 8, 1\)"):
        lie_derivative(f, maps[0, ..., 0, :])
    with pytest.raises(ValueError, match=r"`x` must be floating images .* of int"):
        lie_derivative(f, x.astype(int))
    with pytest.raises(ValueError, match=r"`output_action` must be given for .*\(2, 48, 48\)"):
        lie_derivative(lambda x: x[..., 0], x)
    with pytest.raises(ValueError, match=r"`output_action` must be one of image, .*, got 'logits'"):
        lie_derivative(f, x, output_action="logits")
    with pytest.raises(ValueError, match=r"`output_action` must not be 'image' for .*\(2, 2\)"):
        lie_derivative(lambda x: x.mean((1, 2)), x, output_action="image")
    with pytest.raises(
        ValueError, match=r"must not be a Fields for an array of shape \(2, 48, 2\)"
    ):
        lie_derivative(lambda x: x[:, 0], x, output_action=Fields(vectors=1))
    with pytest.raises(ValueError, match="`channels of the output` must be 3"):
        lie_derivative(f, x, output_action=Fields(scalars=1, vectors=1))
    with pytest.raises(ValueError, match="must be of rotations and translations"):
        lie_derivative(f, x, "scaling", output_action=Fields(vectors=1))
    with pytest.raises(TypeError, match=r"`f` must return .* floating numbers .*, got int\d+ in"):
        lie_derivative(lambda x: x.argmax(-1), x)
    with pytest.raises(TypeError, match=r"`f` must return .*, got float\d+ in a IrrepFeatures"):
        lie_derivative(lambda y: to_irreps(y, group=P4), maps, group=P4)
    with pytest.raises(TypeError, match="`group` must be a FiniteGroup"):
        lie_derivative(f, x, group="P4")
