"""Features in the Fourier basis: the transform, the action on each part, products and functions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import gconv_jax
from gconv_jax import (
    P4,
    P4M,
    P6M,
    IrrepFeatures,
    cyclic,
    dihedral,
    from_irreps,
    full_octahedral,
    group_attention,
    group_linear,
    octahedral,
    to_irreps,
    transform,
)
from gconv_jax.groups.irrep_features import irrep_names, named_irreps
from gconv_jax.models import ConvNeXtBlock
from gconv_jax.nnx import BatchNorm
from tests.helpers import act, assert_close, every_case, feature_map

GROUPS = [P4, P4M, P6M, cyclic(5), cyclic(32), dihedral(3), octahedral(), full_octahedral()]
every_group = pytest.mark.parametrize("group", GROUPS, ids=str)


@every_group
def test_coefficients_are_sums_over_the_elements(group, rng, x64):
    x = rng.normal(size=(2, 3, group.order, 4))
    parts = to_irreps(x, group=group).parts
    assert list(parts) == list(irrep_names(group))
    for name, irrep in named_irreps(group):
        expected = np.zeros((2, 3, len(irrep.rows), irrep.dimension, 4))
        for s in group.elements:
            for n, i in enumerate(irrep.rows):
                for k in range(irrep.dimension):
                    expected[:, :, n, k] += x[:, :, s] * irrep.matrices[s, i, k]
        expected *= np.sqrt(irrep.dimension / group.order)
        assert_close(parts[name], expected, atol=1e-12)


@every_group
def test_there_and_back_is_orthonormal(group, rng, x64):
    x, y = rng.normal(size=(2, 5, group.order, 3))
    there, other = to_irreps(x, group=group), to_irreps(y, group=group)
    assert_close(from_irreps(there), x, atol=1e-12)
    products = [(there.parts[n] * other.parts[n]).sum() for n in there.parts]
    assert abs(sum(products) - (x * y).sum()) < 1e-11
    assert sum(part[0].size for part in there.parts.values()) == x[0].size


@every_group
def test_each_part_is_moved_by_its_own_matrices(group, rng, x64):
    """``[L_g f]^ = rho(g) f^`` on the left index i, where all rows are stored (real type)."""
    x = rng.normal(size=(4, group.order, 2))
    before = to_irreps(x, group=group)
    for g in group.elements:
        after = to_irreps(x[:, group.cayley[group.inverse[g]]], group=group)
        for name, irrep in named_irreps(group):
            norms = [np.linalg.norm(f.parts[name]) for f in (before, after)]
            assert abs(norms[0] - norms[1]) < 1e-11, "a part mixes with another"
            if irrep.endomorphisms == 1:
                expected = np.einsum("ij,njkc->nikc", irrep.matrices[g], before.parts[name])
                assert_close(after.parts[name], expected, atol=1e-12)
        assert_close(after.parts["1a"], before.parts["1a"], atol=1e-12)


@every_case
def test_transform_acts_on_them(case, rng, x64):
    by_hand = feature_map(rng, case, 4)
    places = [case.index(np.rint(m).astype(int)) for m in case.group.matrices]
    features = to_irreps(by_hand[..., places, :], group=case.group)
    for element in case.group.elements:
        moved = transform(features, group=case.group, element=int(element), lifted=True)
        expected = act(case, by_hand, places[element], lifted=True)[..., places, :]
        assert_close(from_irreps(moved), expected, atol=1e-12)


@every_group
def test_linear_maps_need_no_transform_in_between(group, rng, x64):
    x, b = rng.normal(size=(3, group.order, 5)), rng.normal(size=(2, 4))
    w, v = rng.normal(size=(group.order, 5, 4)), rng.normal(size=(group.order, 4, 4))
    y = group_linear(to_irreps(x, group=group), w, group=group, bias=b[0])
    z = from_irreps(group_linear(y, v, group=group, bias=b[1]))
    dense = group_linear(x, w, group=group, bias=b[0], algorithm="dense")
    dense = group_linear(dense, v, group=group, bias=b[1], algorithm="dense")
    assert_close(z, np.asarray(dense), atol=1e-10)


@every_group
def test_pointwise_is_the_function_at_each_element(group, rng, x64):
    x = rng.normal(size=(2, 3, group.order, 4))
    y = to_irreps(x, group=group).pointwise(jnp.tanh)
    assert_close(from_irreps(y), np.tanh(x), atol=1e-12)


def test_a_pytree_under_every_transformation(rng, x64):
    x = jnp.asarray(rng.normal(size=(6, 8, 3)))

    def loss(x):
        y = to_irreps(x, group=P4M).pointwise(jax.nn.gelu)
        return sum(jnp.square(part).sum() for part in jax.tree.leaves(y + y))

    expected = jax.grad(lambda x: 4 * jnp.square(jax.nn.gelu(x)).sum())(x)
    assert_close(jax.jit(jax.grad(loss))(x), expected, atol=1e-12)
    mapped = jax.vmap(lambda x: to_irreps(x, group=P4M))(x)
    assert isinstance(mapped, IrrepFeatures) and mapped.group == P4M and mapped.batch == (6,)
    assert_close(from_irreps(mapped), x, atol=1e-12)
    assert_close(from_irreps(jax.tree.map(lambda p: 2 * p, mapped)), 2 * x, atol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_dtypes_are_kept(dtype, rng):
    x = jnp.asarray(rng.normal(size=(2, 8, 3)), dtype)
    y = to_irreps(x, group=P4M)
    assert y.dtype == y.pointwise(jax.nn.relu).dtype == from_irreps(y).dtype == dtype
    error = jnp.abs(from_irreps(y).astype(jnp.float32) - x.astype(jnp.float32)).max()
    assert error < 8 * jnp.finfo(dtype).eps
    assert to_irreps(jnp.ones((8, 2), int), group=P4M).dtype == jnp.float32


def test_the_order_in_which_jax_sorts_dictionaries(rng):
    """2aa comes before 2b in a tree, and after 2z among the irreps."""
    group = cyclic(60)
    x = jnp.asarray(rng.normal(size=(2, 60, 4)), jnp.float32)
    features = to_irreps(x, group=group)
    again = jax.tree.map(lambda part: part, features)
    assert list(again.parts) != list(features.parts)
    for y in (from_irreps(again), jax.jit(from_irreps)(features), from_irreps(features)):
        assert_close(y, x, atol=1e-5)
    attended = [
        from_irreps(group_attention(f, features, f, group=group, heads=2))
        for f in (features, again)
    ]
    assert_close(attended[0], attended[1], atol=1e-6)
    w = jnp.asarray(rng.normal(size=(60, 4, 3)), jnp.float32)
    results = [from_irreps(group_linear(f, w, group=group)) for f in (features, again)]
    assert_close(results[0], results[1], atol=1e-5)


def test_no_positions():
    w = jnp.ones((8, 3, 2))
    empty = group_linear(to_irreps(jnp.ones((0, 8, 3)), group=P4M), w, group=P4M)
    assert from_irreps(empty).shape == (0, 8, 2)
    assert from_irreps(to_irreps(jnp.ones((0, 8, 3)), group=P4M)).shape == (0, 8, 3)
    assert from_irreps(to_irreps(jnp.ones((8, 3)), group=P4M).pointwise(jnp.sin)).shape == (8, 3)


def test_bad_input():
    x = to_irreps(jnp.ones((2, 8, 3)), group=P4M)
    with pytest.raises(ValueError, match=r"`x` must be \[\.\.\., \|G\|=4, C\] for P4, got shape"):
        to_irreps(jnp.ones((2, 8, 3)), group=P4)
    with pytest.raises(TypeError, match="in this basis already"):
        to_irreps(x, group=P4M)
    with pytest.raises(TypeError, match=r"`x` must be IrrepFeatures, .* got ndarray"):
        from_irreps(np.ones((2, 8, 3)))
    with pytest.raises(ValueError, match="on the same group to be added, got P4M and P4"):
        x + to_irreps(jnp.ones((2, 4, 3)), group=P4)
    with pytest.raises(TypeError, match="got IrrepFeatures: use from_irreps"):
        x + jnp.ones((2, 8, 3))
    with pytest.raises(ValueError, match=r"`x` must be features on P4 .* got IrrepFeatures on P4M"):
        group_linear(x, jnp.ones((4, 3, 3)), group=P4)
    with pytest.raises(ValueError, match=r"on P4M with 5 channels, got .* with 3 channels"):
        group_linear(x, jnp.ones((8, 5, 3)), group=P4M)
    with pytest.raises(ValueError, match="`lifted` must be True for IrrepFeatures"):
        transform(x, group=P4M, element=1, lifted=False)
    with pytest.raises(ValueError, match="`parts` must have the irreps 1a, 1b, 2a of P4, got 1a"):
        IrrepFeatures({"1a": jnp.ones((2, 1, 1, 3))}, P4)
    with pytest.raises(ValueError, match=r"`bias` must have shape \(2,\), got \(1,\)"):
        group_linear(x, jnp.ones((8, 3, 2)), group=P4M, bias=jnp.ones(1))
    with pytest.raises(ValueError, match="`dtype` must be floating, got int32"):
        group_linear(x, jnp.ones((8, 3, 2)), group=P4M, dtype=jnp.int32)


ARRAYS_ONLY = {
    "group_conv": lambda x: gconv_jax.group_conv(x, jnp.ones((3, 3, 8, 3, 2)), group=P4M),
    "group_pool": gconv_jax.group_pool,
    "coset_pool": lambda x: gconv_jax.coset_pool(x, group=P4M, subgroup=P4M),
    "max_pool": lambda x: gconv_jax.max_pool(x, group=P4M, window_shape=2, lifted=True),
    "upsample": lambda x: gconv_jax.upsample(x, group=P4M, scale=2, lifted=True),
    "BatchNorm": lambda x: BatchNorm(3, rngs=nnx.Rngs(0))(x),
    "ConvNeXtBlock": lambda x: ConvNeXtBlock(3, group=P4M, rngs=nnx.Rngs(0))(x),
    "tanh": jnp.tanh,
    "relu": nnx.relu,
    "numpy": np.abs,
}


@pytest.mark.parametrize("name", ARRAYS_ONLY)
def test_functions_of_arrays_say_what_to_do(name):
    x = to_irreps(jnp.ones((2, 8, 8, 8, 3)), group=P4M)
    with pytest.raises(TypeError, match=r"\|G\|=8, C\] here, got IrrepFeatures: use from_irreps"):
        ARRAYS_ONLY[name](x)
