"""Relaxed group convolutions, against the equation written out, and the law that weights break."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.test_util import check_grads

import gconv_jax.linen.relaxed as linen_relaxed
from gconv_jax import P4, P4M, P6, Fields, cyclic, group_conv, lift_conv, octahedral
from gconv_jax.adapt.relaxed import (
    relaxed_departure,
    relaxed_group_conv,
    relaxed_lift_conv,
    symmetry_breaking,
)
from gconv_jax.filters.kernel_transforms import standardize_weights
from gconv_jax.nnx import GroupConv, LiftConv
from gconv_jax.nnx.relaxed import RelaxedGroupConv, RelaxedLiftConv
from gconv_jax.testing import assert_equivariant

from ..helpers import assert_close, feature_map, image, law_error, some_cases

GEOMETRIES = {
    "odd": (3, {}),
    "even": (2, {"padding": "VALID"}),
    "stride": (3, {"strides": 2, "padding": 1}),
}
geometries = pytest.mark.parametrize(("kernel", "options"), GEOMETRIES.values(), ids=GEOMETRIES)


def float32(a) -> jax.Array:
    return jnp.asarray(a, jnp.float32)


def equal_for_all_elements(rng, banks: int, group) -> np.ndarray:
    return np.repeat(rng.normal(size=(banks, 1)), group.order, 1)


@geometries
@pytest.mark.parametrize("algorithm", ["auto", "dense", "fourier"])
@pytest.mark.parametrize("group", [P4, P4M], ids=str)
def test_one_bank_and_weights_of_ones_are_a_group_conv(group, algorithm, kernel, options, rng):
    x = float32(rng.normal(size=(2, 7, 7, group.order, 3)))
    w = float32(rng.normal(size=(1, kernel, kernel, group.order, 3, 5)))
    options = {"group": group, "bias": float32(rng.normal(size=5)), **options}
    y = relaxed_group_conv(x, w, jnp.ones((1, group.order)), algorithm=algorithm, **options)
    np.testing.assert_array_equal(y, group_conv(x, w[0], algorithm=algorithm, **options))


@geometries
@pytest.mark.parametrize("group", [P4, P4M], ids=str)
def test_one_bank_and_weights_of_ones_are_a_lift_conv(group, kernel, options, rng):
    x = float32(rng.normal(size=(2, 7, 7, 3)))
    w = float32(rng.normal(size=(1, kernel, kernel, 3, 5)))
    options = {"group": group, "bias": float32(rng.normal(size=5)), **options}
    y = relaxed_lift_conv(x, w, jnp.ones((1, group.order)), **options)
    np.testing.assert_array_equal(y, lift_conv(x, w[0], **options))


def test_weights_of_ones_on_other_lattices_and_in_other_bases(rng):
    """The border of a hexagon stays zero with a bias, fields turn, and harmonics have no taps."""
    ones, bias = jnp.ones((1, 6)), float32(rng.normal(size=3))
    x, w = float32(rng.normal(size=(1, 7, 7, 2))), float32(rng.normal(size=(1, 7, 2, 3)))
    y = relaxed_lift_conv(x, w, ones, group=P6, bias=bias)
    np.testing.assert_array_equal(y, lift_conv(x, w[0], group=P6, bias=bias))
    x, w = float32(rng.normal(size=(5, 5, 3))), float32(rng.normal(size=(1, 3, 3, 3, 2)))
    options = {"group": P4, "fields": Fields(scalars=1, vectors=1), "padding": "CIRCULAR"}
    y = relaxed_lift_conv(x, w, jnp.ones((1, 4)), **options)
    np.testing.assert_array_equal(y, lift_conv(x, w[0], **options))
    options = {"group": cyclic(8), "filters": "harmonic", "kernel_size": 3}
    layer = GroupConv(2, 3, 3, group=cyclic(8), filters="harmonic", rngs=nnx.Rngs(0))
    x, w = float32(rng.normal(size=(1, 5, 5, 8, 2))), layer.kernel[...]
    y = relaxed_group_conv(x, w[None], jnp.ones((1, 8)), **options)
    np.testing.assert_array_equal(y, group_conv(x, w, **options))


def test_integers_stay_integers(rng):
    x, w = rng.integers(-3, 3, size=(1, 5, 5, 4, 2)), rng.integers(-3, 3, size=(2, 3, 3, 4, 2, 3))
    weights = rng.integers(-3, 3, size=(2, 4))
    y = relaxed_group_conv(x, w, weights, group=P4)
    expected = sum(
        group_conv(x * weights[bank][:, None], w[bank], group=P4) for bank in range(len(w))
    )
    assert jnp.issubdtype(y.dtype, jnp.integer)
    np.testing.assert_array_equal(y, expected)


def neighbours(case, h: int, tap, kernel: int, size: int) -> tuple[np.ndarray, ...]:
    """Return the pixels p + h t for all p of a circular image, t counted from the center."""
    offset = case.matrices[h] @ (np.array(tap) - kernel // 2)
    return tuple((np.indices((size, size)) + offset.reshape(2, 1, 1)) % size)


@pytest.mark.parametrize("algorithm", ["dense", "fourier"])
@some_cases("p4", "p4m")
def test_group_conv_is_the_equation(case, algorithm, rng, x64):
    """``sum_h sum_l f(h) weights[l, h] psi_l(g^-1 h)``, by loops over elements and taps."""
    x, weights = feature_map(rng, case, 4), rng.normal(size=(2, case.order))
    w = rng.normal(size=(2, 3, 3, case.order, 2, 3))
    expected = np.zeros((1, 4, 4, case.order, 3))
    for g, h in np.ndindex(case.order, case.order):
        for bank, *tap in np.ndindex(2, 3, 3):
            row, column = neighbours(case, g, tap, 3, 4)
            psi = w[(bank, *tap, case.divide(g, h))]
            expected[..., g, :] += weights[bank, h] * x[:, row, column, h] @ psi
    y = relaxed_group_conv(x, w, weights, group=case.group, padding="CIRCULAR", algorithm=algorithm)
    assert_close(np.asarray(y), expected, atol=1e-12)


@some_cases("p4", "p4m")
def test_lift_conv_is_the_equation(case, rng, x64):
    x, weights = image(rng, case, 4), rng.normal(size=(2, case.order))
    w, bias = rng.normal(size=(2, 3, 3, 2, 3)), rng.normal(size=3)
    expected = np.zeros((1, 4, 4, case.order, 3)) + bias
    for g, bank, *tap in np.ndindex(case.order, 2, 3, 3):
        row, column = neighbours(case, g, tap, 3, 4)
        expected[..., g, :] += weights[bank, g] * x[:, row, column] @ w[(bank, *tap)]
    y = relaxed_lift_conv(x, w, weights, group=case.group, padding="CIRCULAR", bias=bias)
    assert_close(np.asarray(y), expected, atol=1e-12)


@pytest.mark.parametrize("algorithm", ["auto", "dense", "fourier"])
def test_it_is_a_sum_of_group_convs_of_weighted_inputs(algorithm, rng, x64):
    """The same holds in space, with even filters and dilation, for each algorithm."""
    group = octahedral()
    x, weights = rng.normal(size=(1, 4, 4, 4, 24, 1)), rng.normal(size=(3, 24))
    w, bias = rng.normal(size=(3, 2, 2, 2, 24, 1, 2)), rng.normal(size=2)
    options = {"group": group, "padding": "VALID", "dilation": 2}
    y = relaxed_group_conv(x, w, weights, bias=bias, algorithm=algorithm, **options)
    parts = [
        group_conv(x * weights[bank][:, None], w[bank], algorithm="dense", **options)
        for bank in range(3)
    ]
    assert_close(y, sum(parts) + bias, atol=1e-11)


@geometries
@pytest.mark.parametrize("lifting", [True, False], ids=["lifting", "group"])
@some_cases("diagonal", "p4", "p4m")
def test_the_law_holds_for_weights_that_do_not_depend_on_the_element(
    case, lifting, kernel, options, rng, x64
):
    weights = equal_for_all_elements(rng, 3, case.group)
    axes = () if lifting else (case.order,)
    w = rng.normal(size=(3, kernel, kernel, *axes, 2, 3))
    conv = relaxed_lift_conv if lifting else relaxed_group_conv
    x = image(rng, case, 5) if lifting else feature_map(rng, case, 5)

    def fn(weights):
        return lambda x: conv(x, w, weights, group=case.group, **options)

    assert law_error(fn(weights), case, x, lifted=(not lifting, True)) < 1e-10
    weights[1, -1] += 0.1
    assert law_error(fn(weights), case, x, lifted=(not lifting, True)) > 1e-3


@pytest.mark.parametrize("layer", [RelaxedLiftConv, RelaxedGroupConv])
def test_negative_control_unequal_weights_break_the_law(layer, rng, x64):
    lifting = layer is RelaxedLiftConv
    x = rng.normal(size=(1, 5, 5, *([] if lifting else [8]), 2))
    conv = layer(2, 3, 3, group=P4M, filter_banks=2, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    assert_equivariant(conv, x, group=P4M, perturb=False)
    conv.weights[...] = conv.weights[...].at[0, 5].add(0.01)
    with pytest.raises(AssertionError, match="not equivariant under"):
        assert_equivariant(conv, x, group=P4M, perturb=False)


@pytest.mark.parametrize("banks", [1, 3])
@pytest.mark.parametrize("layer", [RelaxedLiftConv, RelaxedGroupConv])
def test_variance_of_the_output_does_not_depend_on_the_banks(layer, banks, rng):
    lifting = layer is RelaxedLiftConv
    conv = layer(16, 64, 3, padding="VALID", group=P4, filter_banks=banks, rngs=nnx.Rngs(0))
    x = float32(rng.normal(size=(16, 9, 9, *([] if lifting else [4]), 16)))
    assert abs(float(conv(x).var()) - 1) < 0.1


@pytest.mark.parametrize(
    ("plain", "relaxed"), [(LiftConv, RelaxedLiftConv), (GroupConv, RelaxedGroupConv)]
)
def test_a_new_layer_with_one_bank_is_the_plain_layer(plain, relaxed, rng):
    """The kernels are those of the same key, so the layer can replace the other in a model."""
    options = {"group": P4, "bias_init": nnx.initializers.normal()}
    one, other = (layer(2, 3, 3, **options, rngs=nnx.Rngs(7)) for layer in (plain, relaxed))
    np.testing.assert_array_equal(other.kernel[...][0], one.kernel[...])
    x = float32(rng.normal(size=(1, 5, 5, *([] if plain is LiftConv else [4]), 2)))
    np.testing.assert_array_equal(other(x), one(x))


@pytest.mark.parametrize("name", ["RelaxedLiftConv", "RelaxedGroupConv"])
def test_nnx_is_linen(name, rng):
    lifting = name == "RelaxedLiftConv"
    options = {"strides": 2, "group": P4M, "filter_banks": 2, "kernel_transform": jnp.tanh}
    layer = (RelaxedLiftConv if lifting else RelaxedGroupConv)(2, 3, 3, rngs=nnx.Rngs(0), **options)
    module = getattr(linen_relaxed, name)(3, 3, **options)
    x = float32(rng.normal(size=(2, 7, 7, *([] if lifting else [8]), 2)))
    layer.weights[...] = float32(rng.normal(size=(2, 8)))
    layer.bias[...] = float32(rng.normal(size=3))
    params = nnx.to_pure_dict(nnx.state(layer, nnx.Param))
    made = module.init(jax.random.key(0), x)["params"]
    assert jax.tree.map(jnp.shape, made) == jax.tree.map(jnp.shape, params)
    np.testing.assert_array_equal(made["weights"], 1)
    np.testing.assert_array_equal(module.apply({"params": params}, x), layer(x))


def test_gradients_are_those_of_finite_differences(rng, x64):
    """The weights enter the filters (dense) or the input (fourier)."""
    x, w = rng.normal(size=(1, 4, 4, 4, 1)), rng.normal(size=(2, 3, 3, 4, 1, 2))
    weights = rng.normal(size=(2, 4))
    for algorithm in ("dense", "fourier"):

        def fn(weights, algorithm=algorithm):
            return relaxed_group_conv(x, w, weights, group=P4, algorithm=algorithm)

        check_grads(fn, (weights,), order=1, modes=["rev"], atol=1e-6, rtol=1e-6)
    check_grads(
        lambda v: relaxed_lift_conv(x[..., 0, :], w[:, :, :, 0], v, group=P4),
        (weights,),
        order=1,
        modes=["rev"],
    )
    check_grads(lambda v: relaxed_departure(w, v), (weights,), order=1, modes=["rev"])


def test_half_precision_and_jit(rng):
    options = {"group": P4, "filter_banks": 2, "dtype": jnp.bfloat16}
    layer = RelaxedGroupConv(2, 3, 3, **options, rngs=nnx.Rngs(0))
    x = float32(rng.normal(size=(1, 5, 5, 4, 2)))
    y = nnx.jit(lambda layer, x: layer(x))(layer, x)
    assert y.dtype == jnp.bfloat16
    layer.dtype = None
    assert_close(y.astype(jnp.float32), layer(x), atol=0.1)


# Departures from the mean.


def orthogonal(*lengths: float) -> np.ndarray:
    """Filters [L, 1, 2, L, 1] of these lengths, each on a channel of its own."""
    w = np.zeros((len(lengths), 1, 2, len(lengths), 1))
    for bank, length in enumerate(lengths):
        w[bank, 0, :, bank] = length / np.sqrt(2)
    return w


def test_departures_of_orthogonal_filters(x64):
    """``|d weights[h] * lengths| / |mean * lengths|`` by Pythagoras."""
    weights = np.array([[1.0, 1, 1, 1], [0, 2, 0, 6]])
    d = relaxed_departure(orthogonal(2.0, 0.5), weights)
    mean = np.sqrt(2.0**2 + (2 * 0.5) ** 2)
    np.testing.assert_allclose(d, 0.5 * np.array([2, 0, 2, 4]) / mean, rtol=1e-14)
    weights = np.array([[1.0, 4], [1, -1]])  # means 2.5 and 0
    d = relaxed_departure(orthogonal(2.0, 4.0), weights)
    np.testing.assert_allclose(d, np.hypot(1.5 * 2, 1 * 4) / 5, rtol=1e-14)


def test_departure_is_zero_if_and_only_if_the_filters_are_equal(rng):
    w = float32(rng.normal(size=(2, 3, 3, 6, 2, 3)))
    equal = float32(equal_for_all_elements(rng, 2, P6))
    assert (relaxed_departure(w, equal) == 0).all()
    assert (relaxed_departure(w, equal.at[1, 2].add(1e-3)) > 0).all()
    # Filters that depend on one another may cancel what their weights differ by.
    opposite = jnp.array([[1.0, 2, 3, 4], [0, 1, 2, 3]])
    np.testing.assert_allclose(relaxed_departure(jnp.stack([w[0], -w[0]]), opposite), 0, atol=1e-6)
    gradient = jax.grad(lambda weights: relaxed_departure(w, weights).sum())(equal)
    np.testing.assert_array_equal(gradient, 0)


def test_departure_from_a_mean_of_zero_is_infinite():
    d = relaxed_departure(jnp.ones((1, 3)), jnp.array([[1.0, -1.0, 0.0, 0.0]]))
    np.testing.assert_array_equal(d, [np.inf, np.inf, 0, 0])
    np.testing.assert_array_equal(relaxed_departure(jnp.zeros((1, 3)), jnp.ones((1, 4))), 0)


def test_departure_is_of_the_transformed_filters(rng):
    layer = RelaxedGroupConv(
        2, 3, 3, group=P4, filter_banks=2, kernel_transform=standardize_weights, rngs=nnx.Rngs(0)
    )
    layer.weights[...] = float32(rng.normal(size=(2, 4)))
    expected = relaxed_departure(standardize_weights(layer.kernel[...]), layer.weights[...])
    assert list(symmetry_breaking(layer).values()) == expected.tolist()
    params = nnx.to_pure_dict(nnx.state(layer, nnx.Param))
    plain = relaxed_departure(layer.kernel[...], layer.weights[...])
    assert list(symmetry_breaking(params, group=P4).values()) == plain.tolist()
    assert list(symmetry_breaking(params, group=P4)) == ["e", "r90", "r180", "r270"]


@pytest.mark.parametrize("broken", [("r90",), ("e", "r270·m"), ()], ids=" ".join)
@pytest.mark.parametrize("lifting", [True, False], ids=["lifting", "group"])
def test_the_broken_elements_are_recovered_from_data(lifting, broken, rng, x64):
    """The output is linear in the weights, so least squares find those of a layer from random
    images; `symmetry_breaking` of them names the elements whose weights were changed."""
    layer = (RelaxedLiftConv if lifting else RelaxedGroupConv)(
        1, 2, 3, group=P4M, filter_banks=2, param_dtype=jnp.float64, rngs=nnx.Rngs(0)
    )
    true = np.tile([[1.0], [0.2]], 8)
    true[1, [P4M.check_element(name) for name in broken]] = 1.5
    x = rng.normal(size=(2, 6, 6, *([] if lifting else [8]), 1))

    @nnx.jit
    def output(layer, weights):
        layer.weights[...] = weights
        return layer(x).ravel()

    units = jnp.eye(16).reshape(16, 2, 8)
    columns = jnp.stack([output(layer, unit) for unit in units], -1)
    fitted = jnp.linalg.lstsq(columns, output(layer, jnp.asarray(true)))[0]
    assert_close(np.asarray(fitted).reshape(2, 8), true, atol=1e-10)
    layer.weights[...] = fitted.reshape(2, 8)
    departures = symmetry_breaking(layer)
    assert list(departures) == [P4M.element_name(g) for g in P4M.elements]
    middle = (min(departures.values()) + max(departures.values())) / 2
    found = {name for name, d in departures.items() if d > max(middle, 1e-6)}
    assert found == set(broken)


def test_bad_input():
    x, w, weights = jnp.ones((1, 5, 5, 4, 2)), jnp.ones((2, 3, 3, 4, 2, 3)), jnp.ones((2, 4))
    for wrong in (jnp.ones((1, 4)), jnp.ones((2, 8)), jnp.ones(4)):
        with pytest.raises(ValueError, match=r"`weights` must be \[L, \|G\|=4\] for P4, with as"):
            relaxed_group_conv(x, w, wrong, group=P4)
    with pytest.raises(ValueError, match=r"`w\[0\]` must be \[\*kernel, \|G\|, C_in, C_out\]"):
        relaxed_group_conv(x, w[:, 0], weights, group=P4)
    with pytest.raises(ValueError, match="for an image use lift_conv"):
        relaxed_group_conv(x[..., 0, :], w, weights, group=P4)
    with pytest.raises(ValueError, match="`algorithm` must be one of auto, dense, fourier"):
        relaxed_group_conv(x, w, weights, group=P4, algorithm="fast")
    with pytest.raises(ValueError, match="for a feature map on the group use group_conv"):
        relaxed_lift_conv(x, w[:, :, :, 0], weights, group=P4)
    with pytest.raises(ValueError, match="`bias` must have shape"):
        relaxed_lift_conv(x[..., 0, :], w[..., 0, :, :], weights, group=P4, bias=jnp.ones(4))
    with pytest.raises(TypeError, match="`group` must be a FiniteGroup"):
        relaxed_group_conv(x, w, weights, group="P4")
    with pytest.raises(ValueError, match=r"`w` must be \[L, ...\] and `weights` \[L, \|G\|\]"):
        relaxed_departure(w, weights[:1])
    with pytest.raises(ValueError, match="`filter_banks` must be at least 1, got 0"):
        RelaxedGroupConv(2, 3, 3, group=P4, filter_banks=0, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="`filter_banks` must be at least 1, got 0"):
        linen_relaxed.RelaxedGroupConv(3, 3, group=P4, filter_banks=0).init(jax.random.key(0), x)


def test_bad_input_of_symmetry_breaking():
    params = {"kernel": jnp.ones((2, 3, 3, 4, 2, 3)), "weights": jnp.ones((2, 4))}
    with pytest.raises(ValueError, match="`group` must be given with the parameters"):
        symmetry_breaking(params)
    with pytest.raises(ValueError, match="`group` must be that of the layer, got P4M of order 8"):
        symmetry_breaking(params, group=P4M)
    with pytest.raises(TypeError, match=r"`layer` must be a relaxed .*got a mapping with layer$"):
        symmetry_breaking({"layer": params}, group=P4)
    with pytest.raises(TypeError, match=r"`layer` must be a relaxed layer .*got GroupConv"):
        symmetry_breaking(GroupConv(2, 3, 3, group=P4, rngs=nnx.Rngs(0)))
    layer = RelaxedGroupConv(2, 3, 3, group=P4, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="over P4"):
        symmetry_breaking(layer, group=P4M.subgroup(2, 5))
