"""Linear maps of features on the group, against a sum written out over the matrices by hand."""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.test_util import check_grads

import gconv_jax.linen
from gconv_jax import (
    P4,
    P4M,
    P6M,
    cyclic,
    dihedral,
    from_irreps,
    group_linear,
    octahedral,
    to_irreps,
)
from gconv_jax.export import onnx, stablehlo
from gconv_jax.groups.irreps import fourier_matrix
from gconv_jax.nnx import GroupLinear
from tests.helpers import Case, assert_close, every_case

SHAPES = [(), (5,), (2, 3), (2, 1, 3, 2)]


def by_hand(x: np.ndarray, w: np.ndarray, case: Case) -> np.ndarray:
    """Return ``y(g) = sum_h x(h) w(g^-1 h)``."""
    y = np.zeros((*x.shape[:-1], w.shape[-1]))
    for g in range(case.order):
        for h in range(case.order):
            y[..., g, :] += x[..., h, :] @ w[case.divide(g, h)]
    return y


def in_order(case: Case, x: np.ndarray, axis: int) -> np.ndarray:
    """Return an array over the elements by hand as one over those of the library."""
    places = [case.index(np.rint(m).astype(int)) for m in case.group.matrices]
    return np.take(x, places, axis)


@every_case
@pytest.mark.parametrize("algorithm", ["auto", "dense", "fourier"])
def test_values(case, algorithm, rng, x64):
    for shape in SHAPES:
        x = rng.normal(size=(*shape, case.order, 3))
        w, b = rng.normal(size=(case.order, 3, 2)), rng.normal(size=2)
        y = group_linear(
            in_order(case, x, -2), in_order(case, w, 0), bias=b, group=case.group,
            algorithm=algorithm,
        )  # fmt: skip
        assert_close(y, in_order(case, by_hand(x, w, case) + b, -2), atol=1e-12)


@pytest.mark.parametrize("group", [cyclic(8), dihedral(5), P6M, octahedral()], ids=str)
@pytest.mark.parametrize("algorithm", ["dense", "fourier"])
def test_the_law_of_other_groups(group, algorithm, rng, x64):
    x, w = rng.normal(size=(4, group.order, 3)), rng.normal(size=(group.order, 3, 2))
    y = np.asarray(group_linear(x, w, group=group, algorithm=algorithm))
    for g in group.elements:
        moved = group.cayley[group.inverse[g]]  # h -> g^-1 h
        of_moved = group_linear(x[:, moved], w, group=group, algorithm=algorithm)
        assert_close(of_moved, y[:, moved], atol=1e-12)
    any_matrix = rng.normal(size=(group.order * 3, group.order * 2))
    moved = group.cayley[group.inverse[1]]
    of_x, of_moved = ((a.reshape(4, -1) @ any_matrix).reshape(y.shape) for a in (x, x[:, moved]))
    assert np.abs(of_moved - of_x[:, moved]).max() > 1, "negative control"


def test_every_map_that_commutes_is_one(x64):
    """There are as many as elements: the dimension of the commutant of the regular action."""
    for group in (P4, P4M, dihedral(3)):
        filters = np.eye(group.order).reshape(-1, group.order, 1, 1)
        features = np.eye(group.order)[..., None]
        maps = [group_linear(features, w, group=group) for w in filters]
        permutations = [np.eye(group.order)[group.cayley[group.inverse[g]]] for g in group.elements]
        one = np.eye(group.order)
        commutator = np.concatenate([np.kron(p, one) - np.kron(one, p.T) for p in permutations])
        commutant = group.order**2 - np.linalg.matrix_rank(commutator)
        rank = np.linalg.matrix_rank(np.reshape(maps, (group.order, -1)))
        assert rank == commutant == group.order


@pytest.mark.parametrize("algorithm", ["dense", "fourier"])
def test_derivatives(algorithm, rng, x64):
    x, w = rng.normal(size=(3, 8, 2)), rng.normal(size=(8, 2, 3))

    def loss(x, w):
        return jnp.sin(group_linear(x, w, group=P4M, algorithm=algorithm)).sum()

    check_grads(loss, (x, w), order=2, rtol=1e-6)
    stacked = jnp.stack([w, 2 * w])
    each = jax.vmap(lambda w: group_linear(x, w, group=P4M, algorithm=algorithm))(stacked)
    assert_close(each[1], 2 * each[0], atol=1e-12)


OPTIONS = [
    {},
    {"use_bias": False},
    {"dtype": jnp.bfloat16},
    {"param_dtype": jnp.bfloat16},
    {"dtype": jnp.float32, "param_dtype": jnp.float16, "precision": "highest"},
    {"algorithm": "fourier"},
    {"kernel_basis": "irreps"},
    {"kernel_basis": "irreps", "dtype": jnp.bfloat16, "param_dtype": jnp.bfloat16},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(o) or "defaults")
def test_nnx_is_linen_is_the_pure_function(options, rng):
    layer = GroupLinear(3, 4, group=P4M, rngs=nnx.Rngs(0), **options)
    module = gconv_jax.linen.GroupLinear(4, group=P4M, **options)
    x = jnp.asarray(rng.normal(size=(2, 5, 8, 3)), jnp.float32)
    params = {"kernel": layer.kernel[...]}
    if options.get("use_bias", True):
        layer.bias[...] = jnp.asarray(rng.normal(size=4), layer.bias[...].dtype)
        params["bias"] = layer.bias[...]
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)["params"]
    assert {k: v.shape for k, v in shapes.items()} == {k: v.shape for k, v in params.items()}
    passed = {k: v for k, v in options.items() if k not in ("use_bias", "param_dtype")}
    pure = group_linear(x, params["kernel"], bias=params.get("bias"), group=P4M, **passed)
    for y in (layer(x), module.apply({"params": params}, x)):
        assert y.dtype == pure.dtype == options.get("dtype", jnp.float32)
        assert_close(y.astype(jnp.float32), pure.astype(jnp.float32), atol=1e-6)


@pytest.mark.parametrize("group", [P4, P4M, P6M, cyclic(8), octahedral()], ids=str)
def test_a_kernel_in_the_fourier_basis_is_the_same_map(group, rng, x64):
    """And its gradient is the transform of the other's, since the basis is orthonormal."""
    x, w = rng.normal(size=(4, group.order, 3)), rng.normal(size=(group.order, 3, 2))
    coefficients = np.einsum("au,uio->aio", fourier_matrix(group), w)

    def both(x, w, **how):
        y, pull = jax.vjp(lambda w: group_linear(x, w, group=group, **how), w)
        return y, pull(jax.tree.map(jnp.cos, y))[0]

    expected, gradient = both(x, w)
    for algorithm in ("auto", "dense", "fourier"):
        y, dw = both(x, coefficients, kernel_basis="irreps", algorithm=algorithm)
        assert_close(y, expected, atol=1e-12)
        assert_close(dw, np.einsum("au,uio->aio", fourier_matrix(group), gradient), atol=1e-11)
    y = group_linear(to_irreps(x, group=group), coefficients, group=group, kernel_basis="irreps")
    assert_close(from_irreps(y), expected, atol=1e-12)
    wrong = group_linear(x, coefficients, group=group)  # negative control
    assert np.abs(np.asarray(wrong) - np.asarray(expected)).max() > 0.1


def test_short_coefficients_are_not_rounded_before_they_are_computed_with(rng):
    x = jnp.asarray(rng.normal(size=(4, 4, 32)), jnp.float32)
    w = jnp.asarray(rng.normal(size=(4, 32, 32)), jnp.bfloat16)
    options = {"group": P4, "kernel_basis": "irreps", "dtype": jnp.float32}
    y = group_linear(x, w, **options)
    assert_close(y, from_irreps(group_linear(to_irreps(x, group=P4), w, **options)), atol=1e-4)
    assert_close(y, group_linear(x, w.astype(jnp.float32), **options), atol=1e-4)


@pytest.mark.parametrize("kernel_basis", ["regular", "irreps"])
def test_new_weights_have_unit_gain(kernel_basis, rng):
    layer = GroupLinear(64, 64, group=P4M, kernel_basis=kernel_basis, rngs=nnx.Rngs(0))
    y = layer(jnp.asarray(rng.normal(size=(200, 8, 64)), jnp.float32))
    assert 0.9 < float(y.std()) < 1.1


def test_exported_for_batches_of_any_size(rng, tmp_path):
    class Head(nnx.Module):
        def __init__(self):
            self.first = GroupLinear(3, 3, group=P4M, kernel_basis="irreps", rngs=nnx.Rngs(1))
            self.linear = GroupLinear(3, 4, group=P4M, rngs=nnx.Rngs(0))

        def __call__(self, x):
            return nnx.relu(self.linear(self.first(x.reshape(*x.shape[:-1], 8, 3)))).max(-2)

    onnxruntime = pytest.importorskip("onnxruntime")
    model, x = Head(), rng.normal(size=(5, 6, 24)).astype(np.float32)
    stablehlo(model, (None, 6, 24), tmp_path / "head.jax")
    program = jax.export.deserialize((tmp_path / "head.jax").read_bytes())
    assert_close(program.call(x), model(x), atol=1e-5)
    onnx(model, (None, 6, 24), tmp_path / "head.onnx")
    (y,) = onnxruntime.InferenceSession(tmp_path / "head.onnx").run(None, {"x": x})
    assert_close(y, model(x), atol=1e-5)


def test_bad_input():
    x, w = jnp.ones((2, 5, 8, 3)), jnp.ones((8, 3, 4))
    with pytest.raises(ValueError, match=r"`w` must be \[\|G\|=4, C_in, C_out\], got .* \(8, 3, 4"):
        group_linear(x, w, group=P4)
    with pytest.raises(ValueError, match=r"`x` must be \[\.\.\., \|G\|=8, C_in=3\] for P4M, got"):
        group_linear(x[..., :4, :], w, group=P4M)
    with pytest.raises(ValueError, match=r"`x` must be \[\.\.\., \|G\|=8, C_in=3\]"):
        group_linear(jnp.ones(3), w, group=P4M)
    with pytest.raises(ValueError, match="`algorithm` must be one of auto, dense, fourier"):
        group_linear(x, w, group=P4M, algorithm="fast")
    with pytest.raises(ValueError, match="`kernel_basis` must be one of regular, irreps, got 'dct"):
        GroupLinear(2, 3, group=P4, kernel_basis="dct", rngs=nnx.Rngs(0))
    for features in (x.astype(int), to_irreps(x, group=P4M)):
        with pytest.raises(ValueError, match="`dtype` must be floating, got int"):
            group_linear(features, w.astype(int), group=P4M, kernel_basis="irreps", dtype=int)
    with pytest.raises(ValueError, match="`in_features` must be at least 1"):
        GroupLinear(0, 3, group=P4M, rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match="`group` must be"):
        GroupLinear(2, 3, group="p4", rngs=nnx.Rngs(0))
