"""Finer groups through the elements that are exact: the numbers of the definition, and the law."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gconv_jax import (
    P4,
    P6M,
    FiniteGroup,
    Harmonic,
    Interpolated,
    cyclic,
    dihedral,
    group_conv,
    linen as glinen,
    nnx as gnnx,
    separable_group_conv,
    transform,
)
from gconv_jax.conv.algorithm import auto_algorithm
from gconv_jax.conv.exact_subgroup import exact_subgroup
from gconv_jax.filters.bank import filter_axes
from tests.helpers import assert_close, quick_jit

GROUPS = (cyclic(8), cyclic(16), cyclic(6), dihedral(8), dihedral(6), dihedral(5), P4)


@dataclasses.dataclass(frozen=True)
class Ramp:
    """Functions that no element maps onto each other."""

    def __call__(self, points, kernel_size):
        bell = np.exp(-(points**2).sum(-1) / 4)
        return np.stack([bell, bell * points[..., 0], bell * (points[..., 1] + 0.3) ** 2], -1)


def operands(rng, group, filters, kernel, size, c_in=2, c_out=3, batch=2):
    (parameters,) = filter_axes(filters, group, (kernel, kernel))
    x = rng.normal(size=(batch, size, size, group.order, c_in))
    return x, rng.normal(size=(parameters, group.order, c_in, c_out))


def conv(group, filters, kernel, algorithm, **options):
    return functools.partial(
        group_conv, group=group, filters=filters, kernel_size=kernel, algorithm=algorithm, **options
    )


def by_the_definition(x, w, group: FiniteGroup, basis, kernel: int) -> np.ndarray:
    """``y(p, r) = sum_q sum_s x(p + q, s) sum_p b_p(r^-1 q) w_p(r^-1 s)``, on pixels that the
    filter covers; products of elements are products of matrices."""
    matrices = group.matrices.astype(float)
    size = x.shape[1] - kernel + 1
    taps = np.stack(np.indices((kernel, kernel)), -1) - (kernel - 1) / 2
    y = np.zeros((len(x), size, size, group.order, w.shape[-1]))
    for r, turn in enumerate(matrices):
        values = basis(taps @ turn, kernel)  # rows are points: r^-1 q = r^T q
        for s, other in enumerate(matrices):
            (source,) = np.flatnonzero(np.abs(matrices - turn.T @ other).max((1, 2)) < 1e-9)
            psi = np.einsum("abp,pio->abio", values, w[:, source])
            for a, b in np.ndindex(kernel, kernel):
                y[..., r, :] += x[:, a : a + size, b : b + size, s] @ psi[a, b]
    return y


@pytest.mark.one_in(16)
@pytest.mark.parametrize("group", GROUPS, ids=str)
@pytest.mark.parametrize(
    ("filters", "basis"),
    [("harmonic", Harmonic()), ("bicubic", Interpolated("bicubic")), (Ramp(), Ramp())],
    ids=["harmonic", "bicubic", "ramp"],
)
@pytest.mark.parametrize(("size", "kernel"), [(6, 3), (7, 3), (6, 4), (5, 5)])
def test_by_the_definition(group, filters, basis, size, kernel, rng, x64):
    x, w = operands(rng, group, filters, kernel, size)
    y = quick_jit(conv(group, filters, kernel, "fourier", padding="VALID"))(x, w)
    assert_close(np.asarray(y), by_the_definition(x, w, group, basis, kernel), atol=1e-11)


OPTIONS = {
    "same": {},
    "strides": {"strides": 2, "padding": 1},
    "dilation": {"dilation": 2, "padding": 2},
    "circular": {"padding": "CIRCULAR"},
    "bias": {"bias": np.arange(3.0)},
}


@pytest.mark.one_in(13)
@pytest.mark.parametrize("group", GROUPS, ids=str)
@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("inner", ["dense", "fourier"])
def test_values_and_gradients_are_those_of_the_whole_bank(group, name, inner, rng, x64):
    """Over the subgroup by its own filter bank, and by the Fourier transform."""
    x, w = operands(rng, group, "harmonic", 3, 7)
    results = []
    for algorithm in ("auto", "dense"):
        f = conv(group, "harmonic", 3, algorithm, **OPTIONS[name])

        @quick_jit
        def values_and_gradients(x, w, f=f):
            y, pull = jax.vjp(f, x, w)
            return y, *pull(jnp.cos(y))

        with auto_algorithm(inner):
            results.append(values_and_gradients(x, w))
    for actual, expected in zip(*results, strict=True):
        assert_close(actual, expected, atol=1e-11)


@pytest.mark.one_in(10)
@pytest.mark.parametrize("group", [cyclic(8), dihedral(6)], ids=str)
def test_second_derivatives(group, rng, x64):
    x, w = operands(rng, group, "harmonic", 3, 3, c_in=1, c_out=1, batch=1)
    directions = rng.normal(size=x.shape), rng.normal(size=w.shape)

    def curvature(algorithm):
        f = conv(group, "harmonic", 3, algorithm)

        def slope(x, w):
            return jax.grad(lambda x, w: jnp.sin(f(x, w)).sum(), (0, 1))(x, w)

        return jax.jit(lambda: jax.jvp(slope, (x, w), directions)[1])()

    jax.tree.map(
        lambda a, b: assert_close(a, b, atol=1e-10), curvature("fourier"), curvature("dense")
    )


@pytest.mark.one_in(10)
@pytest.mark.parametrize("group", [cyclic(8), cyclic(16), dihedral(8)], ids=str)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_short_types(group, dtype, rng):
    x, w = operands(rng, group, "harmonic", 5, 9, 8, 8)
    x, w = jnp.asarray(x, dtype), jnp.asarray(w, dtype) / 30
    y, expected = (jax.jit(conv(group, "harmonic", 5, a))(x, w) for a in ("fourier", "dense"))
    assert y.dtype == expected.dtype == dtype
    y, expected = y.astype(jnp.float32), expected.astype(jnp.float32)
    error = 1e-5 if dtype == jnp.float32 else 2e-2
    assert_close(y, expected, atol=error * float(jnp.abs(expected).max()))


@pytest.mark.one_in(10)
@pytest.mark.parametrize("group", GROUPS, ids=str)
@pytest.mark.parametrize(("size", "kernel"), [(6, 4), (7, 5), (6, 3)])
def test_the_law_at_every_exact_element(group, size, kernel, rng, x64):
    x, w = operands(rng, group, "harmonic", kernel, size)
    layer = quick_jit(conv(group, "harmonic", kernel, "fourier", padding="VALID"))
    y = layer(x, w)
    exact = [g for g in group.elements if group.isometries[g].is_lattice]
    assert len(exact) == exact_subgroup(group).subgroup.order > 1
    for g in exact:
        move = functools.partial(transform, group=group, element=g, lifted=True)
        assert_close(layer(move(x), w), move(y), atol=1e-12)


def test_negative_control_left_cosets_are_others(rng, x64):
    """The law over H needs right cosets; left ones differ where the group does not commute."""
    group = dihedral(8)
    right = exact_subgroup(group)
    left = right._replace(elements=group.cosets(right.subgroup, "left").T)
    assert (right.elements != left.elements).any()
    w = operands(rng, group, "harmonic", 3, 5)[1]
    bank = right.filter(w, Harmonic(), (3, 3))
    assert bank.shape == (3, 3, 8, 2 * 2, 2 * 3), "|H| times smaller than the whole bank"
    assert float(jnp.abs(bank - left.filter(w, Harmonic(), (3, 3))).max()) > 0.1


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_a_feature_map_comes_back(group, rng):
    exact = exact_subgroup(group)
    x = rng.normal(size=(2, 3, group.order, 5))
    restricted = exact.restrict(jnp.asarray(x))
    assert restricted.shape == (2, 3, exact.subgroup.order, 5 * exact.cosets)
    np.testing.assert_array_equal(exact.extend(restricted), x.astype(np.float32))
    assert exact.permutes == bool(len(group.isometries) > 2 and any(
        g.mirrored for g in group.isometries
    ))  # fmt: skip


def test_layers_take_the_algorithm(rng):
    x = jnp.asarray(rng.normal(size=(2, 9, 9, 8, 2)), jnp.float32)
    options = {"group": cyclic(8), "filters": "harmonic"}
    fourier, dense = (
        gnnx.GroupConv(2, 3, 5, algorithm=a, rngs=nnx.Rngs(0), **options)
        for a in ("fourier", "dense")
    )
    assert_close(fourier(x), dense(x), atol=1e-5)
    layer = glinen.GroupConv(3, 5, algorithm="fourier", **options)
    parameters = layer.init(jax.random.key(0), x)
    other = layer.clone(algorithm="dense")
    assert_close(layer.apply(parameters, x), other.apply(parameters, x), atol=1e-5)


def test_separable_filters(rng, x64):
    (parameters,) = filter_axes("harmonic", cyclic(8), (5, 5))
    x = rng.normal(size=(1, 7, 7, 8, 2))
    w_spatial, w_pointwise = rng.normal(size=(parameters, 2, 3)), rng.normal(size=(8, 2, 3))
    fourier, dense = (
        separable_group_conv(
            x, w_spatial, w_pointwise, group=cyclic(8), filters="harmonic", kernel_size=5,
            algorithm=algorithm,
        )
        for algorithm in ("fourier", "dense")
    )  # fmt: skip
    assert_close(fourier, dense, atol=1e-11)


def test_groups_without_exact_elements_say_so(rng):
    for group in (cyclic(5), P6M):
        assert exact_subgroup(group).is_trivial
    x, w = operands(rng, cyclic(5), "harmonic", 3, 5)
    group_conv(x, w, group=cyclic(5), filters="harmonic", kernel_size=3)
    with pytest.raises(ValueError, match=r"'auto' or 'dense' for these filters over cyclic\(5\)"):
        group_conv(
            x, w, group=cyclic(5), filters="harmonic", kernel_size=3, algorithm="fourier"
        )  # fmt: skip
    with pytest.raises(ValueError, match="`algorithm` must be 'auto' or 'dense' for these filters"):
        gnnx.GroupConv(1, 1, 3, group=P6M, algorithm="fourier", rngs=nnx.Rngs(0))
