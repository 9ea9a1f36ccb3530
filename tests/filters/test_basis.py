"""Filters that turn by any angle, against the definition written out with Python's own numbers."""

import cmath
import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gconv_jax import (
    Harmonic,
    InexactEquivarianceWarning,
    Interpolated,
    cyclic,
    dihedral,
    filter_bank,
    group_conv,
    lift_conv,
    linen as glinen,
    nnx as gnnx,
)
from gconv_jax.filters.bank import basis_table, filter_axes
from tests.helpers import assert_close

FILTERS = ("harmonic", "bilinear", "bicubic")
SLOW = pytest.mark.slow
every_filters = pytest.mark.parametrize("filters", FILTERS)


def matrix(n: int, element: int) -> np.ndarray:
    """The element of C_n or D_n on (row, column): mirror left-right if it is n or more, and then
    turn counter-clockwise."""
    angle = 2 * math.pi * (element % n) / n
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return turn @ np.diag([1, -1 if element >= n else 1])


def tent(x: float) -> float:
    return max(0.0, 1 - abs(x))


def keys(x: float) -> float:
    """The cubic through 0 and 1 with slopes by central differences: R. Keys 1981."""
    x = abs(x)
    if x < 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def interpolated(h, point, k: int) -> list[float]:
    row, column = point
    if row**2 + column**2 > k**2 / 4:
        return [0.0] * sum(a**2 + b**2 <= k**2 / 4 for a in axis(k) for b in axis(k))
    return [h(row - a) * h(column - b) for a in axis(k) for b in axis(k) if a**2 + b**2 <= k**2 / 4]


# The ring of each radius, and the largest frequency of its default.
FREQUENCIES = {0: 0, 0.5: 1, 1: 2, 1.5: 3, 2: 3, 2.5: 5, 3: 6, 3.5: 7, 4: 7}


def harmonics(point, k: int) -> dict[tuple[float, int, str], float]:
    """Return the harmonics by ring, frequency and kind, without their norms."""
    row, column = point
    radius, angle = cmath.polar(complex(column, -row))
    rings = [mu for mu in axis(k) if mu >= 0]
    values = {}
    for mu in rings:
        outer = mu == rings[-1] and len(rings) > 1
        place, sigma = (mu - 0.25, 0.5) if outer else (mu, 0.6)
        bell = math.exp(-((radius - place) ** 2) / (2 * sigma**2))
        values[mu, 0, "cos"] = bell
        last = min(FREQUENCIES[mu], 2) if mu == rings[-1] else FREQUENCIES[mu]
        for m in range(1, last + 1):
            somewhere = bell if radius > 1e-9 else 0.0
            values[mu, m, "cos"] = somewhere * math.cos(m * angle)
            values[mu, m, "sin"] = somewhere * math.sin(m * angle)
    return values


def axis(k: int) -> list[float]:
    return [i - (k - 1) / 2 for i in range(k)]


@functools.cache
def harmonic_norms(k: int) -> np.ndarray:
    """The cosine and the sine of one frequency have one norm, the root of their mean square."""
    taps = [harmonics((a, b), k) for a in axis(k) for b in axis(k)]
    squares = {key: sum(tap[key] ** 2 for tap in taps) for key in taps[0]}
    pairs = [(squares[mu, m, "cos"], squares.get((mu, m, "sin"))) for mu, m, _ in squares]
    return np.sqrt([c if s is None else (c + s) / 2 for c, s in pairs])


def functions(filters: str, point, k: int) -> np.ndarray:
    if filters == "harmonic":
        return np.array(list(harmonics(point, k).values())) / harmonic_norms(k)
    return np.array(interpolated({"bilinear": tent, "bicubic": keys}[filters], point, k))


def expected_bank(filters: str, k: int, n: int, order: int, w: np.ndarray) -> np.ndarray:
    """``psi_r(x, s) = sum_p b_p(r^-1 x) w[p, r^-1 s]``: ``[k, k, s, C_in, r, C_out]``."""
    elements = [matrix(n, g) for g in range(order)]
    bank = np.zeros((k, k, order, w.shape[-2], order, w.shape[-1]))
    for r, turn in enumerate(elements):
        source = [
            min(range(order), key=lambda u: np.abs(turn.T @ move - elements[u]).max())
            for move in elements
        ]
        for i, j in np.ndindex(k, k):
            b = functions(filters, turn.T @ (axis(k)[i], axis(k)[j]), k)
            bank[i, j, :, :, r] = np.tensordot(b, w, axes=1)[source]
    return bank


GROUPS = [(cyclic(n), n) for n in range(1, 25)] + [(dihedral(n), n) for n in range(1, 13)]


@pytest.mark.parametrize("filters", ["harmonic", "bilinear"])
@pytest.mark.parametrize(("group", "n"), GROUPS, ids=lambda value: str(value))
def test_bank_is_the_definition_for_every_pair_of_elements(group, n, filters, rng, x64):
    """No pair may lose its filter to a product of angles that is 2 pi in place of 0."""
    k = 3
    (parameters,) = filter_axes(filters, group, (k, k))
    w = rng.normal(size=(parameters, group.order, 1, 1))
    bank = np.asarray(filter_bank(w, group=group, filters=filters, kernel_size=k))
    bank = bank.reshape(k, k, group.order, 1, group.order, 1)
    assert_close(bank, expected_bank(filters, k, n, group.order, w), atol=1e-13)
    assert (np.abs(bank).max(axis=(0, 1)) > 1e-3).all(), "a pair without a filter"


@pytest.mark.one_in(10)
@every_filters
@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, *(pytest.param(k, marks=SLOW) for k in (6, 7, 8, 9))])
def test_every_kernel_size(filters, k, rng, x64):
    """Odd sizes turn about a pixel, even ones about a corner of four."""
    for group, n in ((cyclic(8), 8), (dihedral(3), 3)):
        (parameters,) = filter_axes(filters, group, (k, k))
        w = rng.normal(size=(parameters, group.order, 2, 3))
        bank = np.asarray(filter_bank(w, group=group, filters=filters, kernel_size=k))
        expected = expected_bank(filters, k, n, group.order, w)
        assert_close(bank.reshape(expected.shape), expected, atol=1e-13)
        plane = w[:, 0]
        lifted = filter_bank(plane, group=group, lifting=True, filters=filters, kernel_size=k)
        one = np.broadcast_to(plane[:, None], w.shape)
        expected = expected_bank(filters, k, n, group.order, one)[:, :, 0]
        assert_close(np.asarray(lifted).reshape(expected.shape), expected, atol=1e-13)


@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
@pytest.mark.parametrize("k", range(1, 8))
def test_identity_sees_the_raw_weights(method, k, rng, x64):
    """A law holds whatever the parameters mean; this says that they are the taps."""
    disc = np.array([[a**2 + b**2 <= k**2 / 4 for a in axis(k)] for b in axis(k)])
    w = rng.normal(size=(disc.sum(), 1, 1))
    bank = filter_bank(w, group=cyclic(6), lifting=True, filters=method, kernel_size=k)
    raw = np.zeros((k, k))
    raw[disc] = w[:, 0, 0]
    assert_close(np.asarray(bank)[..., 0, 0], raw, atol=0)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 8, 12, 16])
@every_filters
def test_multiples_of_90_degrees_and_mirrorings_are_exact(filters, n, rng, x64):
    for group in (cyclic(n), dihedral(n)):
        for k in (2, 3, 5, 6):
            for r in group.elements:
                if not group.isometries[r].is_lattice:
                    continue
                for g in group.elements:
                    turned = operator_of(filters, group, k)[group.cayley[r, g]]
                    quarter = round(float(4 * group.isometries[r].turn))
                    original = operator_of(filters, group, k)[g]
                    if group.isometries[r].mirrored:
                        original = original[:, ::-1]
                    assert_close(turned, np.rot90(original, quarter), atol=1e-14)


def operator_of(filters: str, group, k: int) -> np.ndarray:
    """Return the values of the basis, turned by each g: ``[g, row, column, p]``."""
    basis = {"harmonic": Harmonic()}.get(filters) or Interpolated(filters)
    table = basis_table(basis, group, (k, k))
    return table.reshape(group.order, k, k, -1)


def network(group, filters, k, rng, activation=jax.nn.relu, **options):
    """Lifting and group convolution with a non-linearity between."""
    (parameters,) = filter_axes(filters, group, (k, k))
    w = rng.normal(size=(parameters, 1, 3))
    v = rng.normal(size=(parameters, group.order, 3, 2))
    options |= {"group": group, "filters": filters, "kernel_size": k}
    return jax.jit(lambda x: group_conv(activation(lift_conv(x, w, **options)), v, **options))


@pytest.mark.one_in(10)
@pytest.mark.parametrize(
    ("size", "k"),
    [(11, 3), (12, 4), *(pytest.param(*sk, marks=SLOW) for sk in [(12, 3), (11, 4), (11, 5)])],
)
@every_filters
def test_law_on_the_lattice(filters, size, k, rng, x64):
    for group, turn in ((cyclic(8), 2), (dihedral(8), 2), (cyclic(4), 1), (cyclic(6), 3)):
        fn = network(group, filters, k, rng, padding="VALID")
        x = rng.normal(size=(1, size, size, 1))
        y = np.asarray(fn(x))
        quarters = {2: 1, 1: 1, 3: 2}[turn]
        moved = np.asarray(fn(np.rot90(x, quarters, (1, 2))))
        n = group.order if group == cyclic(group.order) else group.order // 2
        source = [n * (h // n) + (h % n - turn) % n for h in range(group.order)]
        unpermuted = np.rot90(y, quarters, (1, 2))
        atol = 1e-13 * np.abs(y).max()
        assert_close(moved, unpermuted[..., source, :], atol=atol)
        with pytest.raises(AssertionError):  # the orientations move as well
            assert_close(moved, unpermuted, atol=1e10 * atol)
        if group.order > n:  # mirrored: m r^a = r^-a m
            moved = np.asarray(fn(x[:, :, ::-1]))
            source = [n * (1 - h // n) + (-h) % n for h in range(group.order)]
            assert_close(moved, y[:, :, ::-1][..., source, :], atol=atol)


@every_filters
def test_gradients(filters, rng, x64):
    group = cyclic(8)
    fn = network(group, filters, 5, rng, jnp.sin)  # finite differences want no kinks
    x = rng.normal(size=(1, 8, 8, 1))
    (parameters,) = filter_axes(filters, group, (5, 5))
    w = rng.normal(size=(parameters, 8, 2, 2))

    def bank(w):
        return filter_bank(w, group=group, filters=filters, kernel_size=5)

    jax.test_util.check_grads(lambda x: fn(x).sum(), (x,), order=1, modes=("fwd", "rev"))
    jax.test_util.check_grads(bank, (w,), order=1, modes=("fwd", "rev"))


@pytest.mark.one_in(16)
@pytest.mark.parametrize("group", [cyclic(8), cyclic(16), dihedral(5)], ids=str)
@pytest.mark.parametrize("k", [3, 4, 5, *(pytest.param(k, marks=SLOW) for k in (7, 9))])
def test_harmonic_layers_keep_the_variance(group, k):
    """Noise of unit variance becomes noise of unit variance, for every orientation, with the usual
    initializer: the mean over the parameters of the squared norm of their functions is 1."""
    (parameters,) = filter_axes("harmonic", group, (k, k))
    squares = (basis_table(Harmonic(), group, (k, k)) ** 2).sum(1)  # [r, p]
    np.testing.assert_allclose(squares[0].mean(), 1, atol=1e-12)
    np.testing.assert_allclose(squares.mean(1), 1, atol=0.06)
    layer = gnnx.LiftConv(
        64, 64, k, group=group, filters="harmonic", padding="VALID", rngs=nnx.Rngs(0)
    )
    y = layer(jax.random.normal(jax.random.key(1), (4, 12, 12, 64)))
    assert layer.kernel.shape == (parameters, 64, 64)
    np.testing.assert_allclose(jnp.var(y), 1, atol=0.1)


def test_basis_of_ones_own(rng, x64):
    @dataclasses.dataclass(frozen=True)
    class Bell:
        sigma: float = 1.0

        def __call__(self, points, kernel_size):
            return np.exp(-(points**2).sum(-1, keepdims=True) / (2 * self.sigma**2))

    w = rng.normal(size=(1, 8, 2, 2))
    bank = filter_bank(w, group=cyclic(8), filters=Bell(), kernel_size=3)
    for r in range(8):  # turning does nothing to a bell
        one = np.asarray(bank).reshape(3, 3, 8, 2, 8, 2)[:, :, :, :, r]
        bell = np.exp(-np.add.outer([1, 0, 1], [1, 0, 1]) / 2)
        expected = bell[..., None, None, None] * w[0, [(s - r) % 8 for s in range(8)]]
        assert_close(one, expected, atol=1e-15)


def test_options_of_harmonics():
    basis = Harmonic(rings=[0, 1.5], sigma=np.array([0.5, 0.7]), max_frequency=[0, np.int64(3)])
    assert basis(np.zeros((2, 2)), 5).shape == (2, 8)
    assert hash(basis) == hash(Harmonic((0, 1.5), (0.5, 0.7), (0, 3)))
    # One number lowers what the rings can show: 1 + 3 + 3.
    assert Harmonic(max_frequency=1)(np.zeros((1, 2)), 5).shape == (1, 7)
    assert Harmonic(max_frequency=9)(np.zeros((1, 2)), 5).shape == (1, 11)
    assert Harmonic(max_frequency=1)(np.zeros((1, 2)), 1).shape == (1, 1)


@every_filters
def test_adapters_are_the_function(filters, rng):
    x = jnp.asarray(rng.normal(size=(2, 9, 9, 8, 3)), jnp.float32)
    options = {"group": cyclic(8), "filters": filters}
    layer = gnnx.GroupConv(3, 4, 5, strides=2, **options, rngs=nnx.Rngs(0))
    kernel, bias = layer.kernel[...], layer.bias[...] + 1
    layer.bias[...] = bias
    expected = group_conv(x, kernel, bias=bias, strides=2, kernel_size=5, **options)
    assert_close(layer(x), expected, atol=1e-6)
    module = glinen.GroupConv(4, 5, strides=2, **options)
    assert_close(module.apply({"params": {"kernel": kernel, "bias": bias}}, x), expected, atol=1e-6)
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)["params"]
    assert shapes["kernel"].shape == kernel.shape


def test_one_tap_does_not_turn(rng, x64):
    """Pointwise layers over any group can have pixels, and the Fourier transform."""
    x, w = rng.normal(size=(1, 4, 4, 12, 2)), rng.normal(size=(1, 1, 12, 2, 3))
    y = {a: group_conv(x, w, group=cyclic(12), algorithm=a) for a in ("dense", "fourier")}
    expected = np.zeros((1, 4, 4, 12, 3))
    for r in range(12):
        expected[..., r, :] = sum(x[..., s, :] @ w[0, 0, (s - r) % 12] for s in range(12))
    assert_close(np.asarray(y["dense"]), expected, atol=1e-12)
    assert_close(np.asarray(y["fourier"]), expected, atol=1e-12)


def test_half_precision_and_integers(rng):
    w = jnp.asarray(rng.normal(size=(11, 1, 2)), jnp.float32)
    options = {"group": cyclic(8), "filters": "harmonic", "kernel_size": 5}
    x = jnp.asarray(rng.normal(size=(1, 9, 9, 1)), jnp.float32)
    exact, half = lift_conv(x, w, **options), lift_conv(x, w, dtype=jnp.bfloat16, **options)
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(exact, half.astype(jnp.float32), atol=0.1)
    whole = lift_conv(jnp.ones((1, 9, 9, 1), int), jnp.ones((11, 1, 2), int), **options)
    ones = lift_conv(jnp.ones((1, 9, 9, 1)), jnp.ones((11, 1, 2)), **options)
    assert_close(whole, ones, atol=0)


def test_windows_are_checked_for_fine_groups(rng):
    """Rounding in the matrices of a fine group is not taken for a reflection of an axis."""
    w = jnp.ones((6, 1, 1))
    options = {"filters": "harmonic", "kernel_size": 3, "strides": 2}
    x = jnp.ones((1, 8, 8, 1))
    lift_conv(x, w, group=cyclic(1), padding=1, **options)
    for n in (3, 5, 8):
        with pytest.warns(InexactEquivarianceWarning, match=rf"cyclic\({n}\).*nearest sizes"):
            lift_conv(x, w, group=cyclic(n), padding=1, **options)


def test_operators_are_computed_once():
    assert basis_table(Harmonic(), cyclic(16), (7, 7)) is basis_table(
        Harmonic(), cyclic(16), (7, 7)
    )
    assert not basis_table(Harmonic(), cyclic(16), (7, 7)).flags.writeable
