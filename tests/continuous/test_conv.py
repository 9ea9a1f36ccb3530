"""Monte-Carlo convolutions against loops over the definition and `group_conv`, and the law."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gconv_jax import (
    O2,
    P4,
    P4M,
    SO2,
    Elements,
    InexactEquivarianceWarning,
    SampledFeatures,
    all_elements,
    continuous_group_conv,
    continuous_lift_conv,
    dihedral,
    group_conv,
    instance_norm,
    lift_conv,
    mirror,
    sample_elements,
    sampled_pool,
    transform,
    trivial,
)
from gconv_jax.continuous.conv import scaled_kernel

GROUPS = [trivial(), mirror(), P4, P4M, SO2(), O2()]
FLIP = np.diag([1.0, -1.0])


def smooth_kernel(seed: int, d: int, c_in: int, c_out: int):
    """Some smooth function of the coordinates without any symmetry."""
    rng = np.random.default_rng(seed)
    frequency, phase = rng.normal(size=(d, c_in, c_out)), rng.normal(size=(c_in, c_out))

    def kernel(at):
        xp = np if isinstance(at, np.ndarray) else jnp  # the oracle is NumPy's alone
        return xp.sin(xp.tensordot(at, frequency, 1) + phase)

    return kernel


def coordinates_by_hand(group, u, x, v, size):
    """`kernel_coordinates`, one point at a time."""
    turns = group in (P4, P4M, SO2(), O2())
    flips = group in (mirror(), P4M, O2())
    inverse = np.linalg.inv(u)
    at = list(inverse @ x / ((size - 1) / 2)) if size > 1 else []
    if v is not None:
        relative = inverse @ v
        angle = np.arctan2(relative[1, 0], relative[0, 0])
        at += [np.cos(angle), np.sin(angle)] if turns else []
        at += [np.linalg.det(relative)] if flips else []
    return np.array(at)


def convolution_by_hand(group, x, kernel, elements, inputs, size):
    """Loops over the definition, zero outside the image; ``x[H, W, S, C]``."""
    height, width = x.shape[:2]
    share = np.ones(1) if inputs is None else np.asarray(inputs.weights / inputs.weights.sum())
    center = (size - 1) / 2
    y = None
    for r, u in enumerate(np.asarray(elements.matrices)):
        for s in range(x.shape[2]):
            v = None if inputs is None else np.asarray(inputs.matrices)[s]
            for i in range(size):
                for j in range(size):
                    tap = np.array([i, j]) - center
                    if np.hypot(*tap) > size / 2:
                        continue
                    at = coordinates_by_hand(group, u, tap, v, size)
                    psi = share[s] * kernel(at)
                    if y is None:
                        y = np.zeros((height, width, len(elements.matrices), psi.shape[-1]))
                    for p in range(height):
                        for q in range(width):
                            row, column = p + i - (size - 1) // 2, q + j - (size - 1) // 2
                            if 0 <= row < height and 0 <= column < width:
                                y[p, q, r] += x[row, column, s] @ psi
    return y


def some_elements(group, count=4, seed=0):
    samples = count if group in (SO2(), O2()) else None
    return sample_elements(jax.random.key(seed), group, samples)


@pytest.mark.one_in(16)
@pytest.mark.parametrize(
    ("group", "size"), [*((group, 3) for group in GROUPS), (O2(), 1), (SO2(), 5)], ids=repr
)
def test_convolutions_are_their_definition(x64, rng, group, size):
    d = len(coordinates_by_hand(group, np.eye(2), np.zeros(2), None, size))
    lifting = smooth_kernel(1, d, 2, 3)
    image, elements = rng.normal(size=(3, 4, 2)), some_elements(group)
    y = continuous_lift_conv(image, lifting, group=group, elements=elements, kernel_size=size)
    expected = convolution_by_hand(group, image[:, :, None], lifting, elements, None, size)
    np.testing.assert_allclose(y.values, expected, atol=1e-12)

    d = len(coordinates_by_hand(group, np.eye(2), np.zeros(2), np.eye(2), size))
    kernel, others = smooth_kernel(2, d, 3, 2), some_elements(group, 6, seed=1)
    weights = jnp.where(jnp.arange(len(elements.weights)) == 1, 0.0, 1.0)
    y = SampledFeatures(y.values, elements._replace(weights=weights))
    z = continuous_group_conv(y, kernel, group=group, elements=others, kernel_size=size)
    expected = convolution_by_hand(group, y.values, kernel, others, y.elements, size)
    np.testing.assert_allclose(z.values, expected, atol=1e-12)


@pytest.mark.one_in(10)
@pytest.mark.parametrize("group", [trivial(), P4M, dihedral(3)], ids=repr)
def test_over_a_finite_group_it_is_its_group_convolution(x64, rng, group):
    """The oracle has the filter psi / |G| at the taps and shares nothing with our code but the
    planar convolution. Finer rotations go by the identity's filter alone."""
    size, elements = 3, all_elements(group)
    flips = any(np.linalg.det(m) < 0 for m in group.matrices)
    turns = group.order > 1 + flips
    taps = np.stack(np.indices((size, size)), -1) - 1.0
    kernel = smooth_kernel(3, 2 + 2 * turns + flips, 2, 3)
    at = np.zeros((size, size, group.order, 2 + 2 * turns + flips))
    at[..., :2] = taps[:, :, None]
    between = [m[:, 0] for m in group.matrices]
    if turns:
        at[..., 2:4] = between
    if flips:
        at[..., -1] = [np.linalg.det(m) for m in group.matrices]
    w = kernel(jnp.asarray(at)) / group.order
    x = rng.normal(size=(2, 7, 7, group.order, 2))
    y = continuous_group_conv(
        SampledFeatures(jnp.asarray(x), elements),
        kernel,
        group=group,
        elements=elements,
        kernel_size=size,
    ).values
    if group.is_lattice:
        np.testing.assert_allclose(y, group_conv(x, w, group=group), atol=1e-12)
        image = x[..., 0, :]
        lifting = smooth_kernel(4, 2, 2, 3)
        lifted = continuous_lift_conv(
            image, lifting, group=group, elements=elements, kernel_size=size
        )
        base = lifting(jnp.asarray(taps))
        np.testing.assert_allclose(lifted.values, lift_conv(image, base, group=group), atol=1e-12)
    else:
        plain = jnp.asarray(np.asarray(w).reshape(size, size, -1, 3))
        merged = x.reshape(2, 7, 7, -1)
        expected = lift_conv(merged, plain, group=trivial())[..., 0, :]
        np.testing.assert_allclose(y[..., 0, :], expected, atol=1e-12)


@pytest.mark.one_in(16)
@pytest.mark.parametrize(
    ("group", "samples"), [(mirror(), None), (P4M, None), (SO2(), 4), (SO2(), 8), (O2(), 16)]
)
@pytest.mark.parametrize("size", [2, 3, 7])
def test_the_law_on_the_grid(x64, rng, group, samples, size):
    """Turning the image turns the features of a lifting and a group convolution and permutes their
    elements. Rotations keep that for a grid turned by any one angle, as in training."""
    lattice = group.finite(samples) if samples else group
    acting = group.lattice if samples else group
    turns, flips = lattice.order > 2, any(np.linalg.det(m) < 0 for m in lattice.matrices)
    lifting, kernel = smooth_kernel(1, 2, 1, 2), smooth_kernel(2, 2 + 2 * turns + flips, 2, 2)

    @jax.jit
    def network(x, elements):
        options = {"group": group, "elements": elements, "kernel_size": size, "padding": size // 2}
        y = continuous_lift_conv(x, lifting, **options)
        return continuous_group_conv(y.map(jax.nn.relu), kernel, **options).values

    x = jnp.asarray(rng.normal(size=(6, 6, 1)))
    turned = jnp.stack(
        [transform(x, group=acting, element=g, lifted=False) for g in acting.elements]
    )
    grid = all_elements(group, samples)
    for random in (False, True) if samples else (False,):
        if random:
            grid = sample_elements(jax.random.key(5), group, samples)
        values = network(turned, grid)
        for g in acting.elements:
            rotation = np.linalg.det(acting.matrices[g]) > 0
            if random and not rotation:
                continue
            (element,) = np.flatnonzero(
                np.isclose(lattice.matrices, acting.matrices[g]).all((1, 2))
            )
            # Rotations commute with the one that turned the grid; mirrorings do not.
            source = lattice.cayley[lattice.inverse[element]]
            np.testing.assert_allclose(
                values[g], _move(values[0], acting, g)[..., source, :], atol=1e-12
            )


def _move(values, acting, g):
    """Space alone: the group axis and channels go along."""
    merged = values.reshape(*values.shape[:-2], -1)
    return transform(merged, group=acting, element=g, lifted=False).reshape(values.shape)


def test_random_elements_keep_the_law_on_average(rng):
    """The error of a mean over draws falls as one over the square root of their number, since the
    offsets of each layer are independent."""
    lifting, kernel = smooth_kernel(1, 2, 1, 2), smooth_kernel(2, 4, 2, 2)
    group = SO2()

    @jax.jit
    @jax.vmap
    def network(key, x):
        first, second = (sample_elements(k, group, 3) for k in jax.random.split(key))
        y = continuous_lift_conv(x, lifting, group=group, elements=first, kernel_size=3)
        y = y.map(jax.nn.relu)
        y = continuous_group_conv(y, kernel, group=group, elements=second, kernel_size=3)
        return sampled_pool(y.map(jax.nn.relu), reduce="mean").mean((-3, -2))

    x = jnp.asarray(rng.normal(size=(7, 7, 1)), jnp.float32)
    keys = jax.random.split(jax.random.key(0), 8192)
    differences = []
    for turned, part in ((x, keys[:4096]), (jnp.rot90(x), keys[4096:])):
        differences.append(network(part, jnp.broadcast_to(turned, (4096, *x.shape))))
    difference = np.asarray(differences[0] - differences[1])  # independent draws on both sides
    rms = {n: np.sqrt(np.square(difference.reshape(-1, n, 2).mean(1)).mean()) for n in (1, 16, 256)}
    assert (
        rms[1] > 1e-2 * np.abs(np.asarray(differences[0])).mean()
    )  # there is something to average
    assert rms[1] / rms[16] == pytest.approx(4, rel=0.3)
    assert rms[1] / rms[256] == pytest.approx(16, rel=0.5)


@pytest.mark.one_in(10)
@pytest.mark.parametrize(("size", "c_in", "samples"), [(3, 2, 4), (7, 4, 2), (5, 2, 8)])
def test_white_features_keep_unit_variance(rng, size, c_in, samples):
    """Whatever the number of samples, channels and taps."""
    group, c_out = SO2(), 16
    elements = all_elements(group, samples)
    x = jnp.asarray(rng.normal(size=(2, 12, 12, samples, c_in)), jnp.float32)

    def white(at):
        return jnp.asarray(rng.normal(size=(*at.shape[:-1], c_in * c_out)), jnp.float32)

    options = {"in_features": c_in, "out_features": c_out, "kernel_size": size}
    options_of_conv = {
        "group": group,
        "elements": elements,
        "kernel_size": size,
        "padding": "VALID",
    }
    y = continuous_group_conv(
        SampledFeatures(x, elements),
        scaled_kernel(white, samples=samples, **options),
        **options_of_conv,
    )
    assert float(y.values.var()) == pytest.approx(1, abs=0.15)
    image = x[..., 0, :]
    y = continuous_lift_conv(image, scaled_kernel(white, samples=1, **options), **options_of_conv)
    assert float(y.values.var()) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("reduce", ["max", "mean"])
def test_pooling_and_normalization_leave_out_what_is_not_there(rng, reduce):
    values = rng.normal(size=(2, 3, 3, 4, 5)).astype(np.float32) - 3
    elements = Elements(all_elements(SO2(), 4).matrices, jnp.array([1.0, 0.0, 1.0, 0.0]))
    x, there = SampledFeatures(jnp.asarray(values), elements), values[..., ::2, :]
    np.testing.assert_allclose(
        sampled_pool(x, reduce=reduce), getattr(there, reduce)(-2), rtol=1e-5
    )
    mean, var = there.mean((1, 2, 3), keepdims=True), there.var((1, 2, 3), keepdims=True)
    np.testing.assert_allclose(
        instance_norm(x).values, (values - mean) / np.sqrt(var + 1e-5), rtol=1e-4, atol=1e-4
    )
    # A gradient says whether taking an element in would help.
    slope = jax.grad(
        lambda w: sampled_pool(
            x._replace(elements=elements._replace(weights=w)), reduce=reduce
        ).sum()
    )(elements.weights)
    assert (np.abs(slope) > 0).any()


def test_sizes_that_break_the_law_warn(rng):
    x, options = rng.normal(size=(8, 8, 1)), {"kernel_size": 3, "strides": 2, "padding": 1}
    kernel = smooth_kernel(0, 2, 1, 1)
    for group, elements in ((SO2(), all_elements(SO2(), 4)), (P4, all_elements(P4))):
        with pytest.warns(InexactEquivarianceWarning, match=r"continuous_lift_conv over"):
            continuous_lift_conv(x, kernel, group=group, elements=elements, **options)
    continuous_lift_conv(x, kernel, group=trivial(), elements=all_elements(trivial()), **options)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"kernel_size": (3, 5)}, ValueError, "`kernel_size` must be equal on both axes"),
        ({"group": "p4"}, TypeError, "`group` must be SO2"),
        ({"bias": jnp.ones(3)}, ValueError, r"`bias` must have shape \(2,\)"),
        ({"kernel": lambda at: at}, ValueError, r"`kernel` must return \[..., C_in, C_out\]"),
        ({"x": jnp.ones((7, 7, 3))}, ValueError, "`x` must have the C_in=1 channels"),
    ],
)
def test_bad_input_to_lifting(change, error, message):
    arguments = {"x": jnp.ones((7, 7, 1)), "kernel": smooth_kernel(0, 2, 1, 2), "kernel_size": 3}
    arguments |= {"group": SO2(), "elements": all_elements(SO2(), 4)} | change
    with pytest.raises(error, match=message):
        continuous_lift_conv(**arguments)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (jnp.ones((7, 7, 4, 1)), TypeError, "`x` must be SampledFeatures, from continuous_lift"),
        (
            SampledFeatures(jnp.ones((7, 7, 3, 1)), all_elements(SO2(), 4)),
            ValueError,
            "at its 4 elements, got shape",
        ),
    ],
)
def test_bad_input_to_a_group_convolution(x, error, message):
    with pytest.raises(error, match=message):
        continuous_group_conv(
            x,
            smooth_kernel(0, 4, 1, 2),
            group=SO2(),
            elements=all_elements(SO2(), 4),
            kernel_size=3,
        )


@pytest.mark.parametrize(
    ("group", "samples", "message"),
    [
        (SO2(), None, r"`samples` must be given for SO2\(\), e.g. samples=8"),
        (P4, 8, r"`samples` must be left out for P4, all of whose 4 elements"),
        (O2(), 3, "`samples` must be even"),
    ],
)
def test_bad_numbers_of_samples(group, samples, message):
    with pytest.raises(ValueError, match=message):
        all_elements(group, samples)


def test_an_unknown_reduction():
    x = SampledFeatures(jnp.ones((7, 7, 4, 1)), all_elements(P4))
    with pytest.raises(ValueError, match="`reduce` must be 'max' or 'mean', got 'sum'"):
        sampled_pool(x, reduce="sum")
