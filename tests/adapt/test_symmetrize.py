"""Symmetrized functions obey the law, whatever they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from jax import export

from gconv_jax import (
    P4,
    P4M,
    P6,
    Fields,
    cyclic,
    dihedral,
    from_irreps,
    mirror,
    octahedral,
    symmetrize,
    to_irreps,
)
from gconv_jax.export import freeze, stablehlo
from gconv_jax.hexagonal import hexagon_mask
from gconv_jax.testing import assert_equivariant

from ..helpers import act, every_case, random_float64, some_cases


class Plain(nnx.Module):
    """A CNN with three kinds of outputs, none of which obeys the law."""

    def __init__(self, rank: int, rngs: nnx.Rngs, channels: int = 6):
        self.conv = nnx.Conv(2, channels, rank * (3,), padding="VALID", rngs=rngs)
        self.norm = nnx.BatchNorm(channels, rngs=rngs)
        self.top = nnx.Linear(channels, 4, rngs=rngs)

    def __call__(self, x):
        y = nnx.tanh(self.norm(self.conv(x)))
        weights = jnp.linspace(0.0, 1.0, y.shape[1]).reshape(-1, *(y.ndim - 2) * [1])
        return self.top((y * weights).mean(tuple(range(1, y.ndim - 1))))

    def image(self, x):
        return self.conv(x)

    def features(self, x, order):
        y = self.conv(x)
        return y.reshape(*y.shape[:-1], order, -1)


@pytest.mark.one_in(10)
@every_case
@pytest.mark.parametrize("size", [5, 6])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_every_element_and_kind_of_output(x64, rng, case, size, mode):
    group = case.group
    model = random_float64(lambda: Plain(case.dimension, nnx.Rngs(0), 2 * case.order), rng)
    getattr(model, mode)()
    x = rng.normal(size=(3, *case.dimension * (size,), 2))
    functions = {
        "invariant": lambda x: nnx.clone(model)(x),
        "image": model.image,
        "feature_map": lambda x: model.features(x, case.order),
    }
    for action, f in functions.items():
        even = symmetrize(f, group=group, output_action=action)
        assert_equivariant(even, x, group=group, output_action=action, rtol=1e-12)
        if case.order > 1:
            with pytest.raises(AssertionError, match="not equivariant"):
                assert_equivariant(f, x, group=group, output_action=action)
    # The definition, with the moves by hand.
    y = symmetrize(model.image, group=group)(x)
    parts = [
        act(
            case,
            model.image(jnp.asarray(act(case, x, case.divide(g, 0), lifted=False))),
            g,
            lifted=False,
        )
        for g in range(case.order)
    ]
    np.testing.assert_allclose(y, np.mean(parts, 0), atol=1e-13)


@some_cases("p4", "p4m")
def test_vectors_trees_irreps_and_functions(x64, rng, case):
    group = case.group
    model = random_float64(lambda: Plain(2, nnx.Rngs(0), 2 * case.order), rng)
    flow, logits = Fields(vectors=case.order), Fields(scalars=2, vectors=1)

    def f(x):
        return {
            "flow": model.image(x),
            "force": model(x),
            "irreps": to_irreps(model.features(x, case.order), group=group),
        }

    actions = {"flow": flow, "force": logits, "irreps": None}
    model.eval()
    x = rng.normal(size=(2, 8, 8, 2))
    even = symmetrize(f, group=group, output_action=actions)
    assert_equivariant(even, x, group=group, output_action=actions, rtol=1e-12)
    y = even(x)["irreps"]
    expected = symmetrize(lambda x: model.features(x, case.order), group=group)(x)
    np.testing.assert_allclose(from_irreps(y), expected, atol=1e-13)

    # Labels that the moves exchange: which border of the image is the brightest?
    def permuted(y, g):
        return y[..., case.group.cayley[case.group.inverse[g]]]

    def borders(x):
        return jax.nn.one_hot(model(x).argmax(-1), group.order) + x[:, 0, : group.order, 0]

    even = symmetrize(borders, group=group, output_action=permuted)
    assert_equivariant(even, x, group=group, output_action=permuted, rtol=1e-12)


def test_vector_inputs(x64, rng):
    velocity = Fields(vectors=1)
    model = random_float64(lambda: Plain(2, nnx.Rngs(0), 2), rng)
    actions = {"input_action": velocity, "output_action": velocity}
    x = rng.normal(size=(2, 6, 6, 2))
    even = symmetrize(model.image, group=P4M, **actions)
    assert_equivariant(even, x, group=P4M, rtol=1e-12, **actions)


def test_voxels_and_hexagons(x64, rng):
    model = random_float64(lambda: Plain(3, nnx.Rngs(0)), rng)
    model.eval()
    x = rng.normal(size=(1, 4, 4, 4, 2))
    assert_equivariant(symmetrize(model, group=octahedral()), x, group=octahedral(), rtol=1e-12)
    x = rng.normal(size=(2, 7, 7, 1)) * np.asarray(hexagon_mask(7))[..., None]
    weights = rng.normal(size=(7, 7, 1))
    even = symmetrize(lambda x: (x * weights).sum((1, 2)), group=P6)
    assert_equivariant(even, x, group=P6, rtol=1e-12)


@pytest.mark.parametrize("sequential", [False, True])
def test_foreign_programs(x64, rng, sequential, tmp_path):
    """A frozen program, and a function of NumPy arrays outside JAX."""
    model = random_float64(lambda: Plain(2, nnx.Rngs(0)), rng)
    model.eval()
    x = rng.normal(size=(2, 6, 6, 2))
    path = stablehlo(model, (None, 6, 6, 2), tmp_path / "plain.jax", dtype=jnp.float64)
    program = export.deserialize(path.read_bytes()).call
    weights = rng.normal(size=(6, 6, 2))

    def numpy_function(x):
        return np.einsum("nhwc,hwc->n", x, weights)

    def foreign(x):
        shape = jax.ShapeDtypeStruct(x.shape[:1], x.dtype)
        return jax.pure_callback(numpy_function, shape, x)

    for f in (program, freeze(model), foreign):
        even = symmetrize(f, group=P4M, sequential=sequential)
        assert_equivariant(even, x, group=P4M, rtol=1e-12)
        with pytest.raises(AssertionError, match="not equivariant"):
            assert_equivariant(f, x, group=P4M)


def test_gradients_are_those_of_the_mean(x64, rng):
    w = rng.normal(size=(5, 5, 1, 3))
    x = rng.normal(size=(2, 5, 5, 1))

    def f(x, w):
        return jnp.tanh(jnp.einsum("nhwc,hwco->no", x, w))

    even = symmetrize(f, group=P4M)
    jax.test_util.check_grads(lambda x, w: even(x, w), (x, w), order=2, modes=("fwd", "rev"))


def test_linen_sequential_and_maximum(x64, rng):
    module = linen.Conv(3, (3, 3), padding="VALID", param_dtype=jnp.float64)
    x = rng.normal(size=(2, 6, 6, 2))
    variables = module.init(jax.random.key(0), x)

    def f(x):
        return module.apply(variables, x)

    together, one_by_one = (symmetrize(f, group=P4M, sequential=s)(x) for s in (False, True))
    np.testing.assert_allclose(together, one_by_one, atol=1e-13)
    largest = symmetrize(f, group=P4M, reduce="max")
    assert_equivariant(largest, x, group=P4M, rtol=1e-12)
    assert (largest(x) >= together - 1e-12).all()


def test_finer_rotations_come_closer(rng):
    """At 45 degrees the law holds as far as images are smooth, and better than without."""
    from gconv_jax.testing import equivariance_errors, smooth_images

    x = jnp.asarray(smooth_images((2, 33, 33, 1)), jnp.float32)
    weights = jnp.asarray(rng.normal(size=(33, 33, 1, 4)), jnp.float32)

    def f(x):
        return jnp.einsum("nhwc,hwco->no", jnp.tanh(x), weights)

    for group in (cyclic(8), dihedral(8)):
        before, after = (
            equivariance_errors(g, x, group=group).errors["output"]
            for g in (f, symmetrize(f, group=group))
        )
        assert before[1:].min() > 0.5
        assert after.max() < 0.05


def test_integers_half_precision_and_names():
    x = jnp.arange(2 * 3 * 3).reshape(2, 3, 3, 1)
    mean = symmetrize(lambda x: x[:, 0, 0], group=P4)(x)
    np.testing.assert_array_equal(
        mean[:, 0], np.asarray(x)[:, [0, 0, -1, -1], [0, -1, 0, -1], 0].mean(-1)
    )
    assert mean.dtype == jnp.float32
    half = symmetrize(lambda x: x[:, 0, 0], group=P4)(x.astype(jnp.bfloat16))
    assert half.dtype == jnp.bfloat16
    assert symmetrize(Plain(2, nnx.Rngs(0)), group=P4).__name__ == "symmetrize(Plain)"


def test_no_maximum_of_coefficients(rng):
    x = jnp.asarray(rng.normal(size=(2, 5, 5, 1)), jnp.float32)

    def f(x):
        return to_irreps(jnp.stack(4 * [x], -2), group=P4)

    with pytest.raises(ValueError, match='`reduce` must be "mean" for IrrepFeatures'):
        symmetrize(f, group=P4, reduce="max")(x)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"group": "p4"}, TypeError, "`group`"),
        ({"f": 3}, TypeError, "`f` must be a function of images, got 3 of type int"),
        ({"reduce": "median"}, ValueError, "`reduce` must be mean or max, got 'median'"),
        (
            {"x": np.ones((2, 4, 6, 1))},
            ValueError,
            r"equal sides, since r\d+ .* got shape \(2, 4, 6, 1\)",
        ),
        ({"x": np.ones(4)}, ValueError, r"a batch of images .* got shape \(4,\), which"),
        (
            {"f": lambda x: x.mean()},
            ValueError,
            r"one entry for each of the 8 images .* got shape \(\)",
        ),
        ({"f": lambda x: x[:3]}, ValueError, r"one entry for each of the 8 images"),
        (
            {
                "f": lambda x: jnp.concatenate([x, x], -1),
                "reduce": "max",
                "output_action": Fields(vectors=1),
            },
            ValueError,
            '`reduce` must be "mean" .* got max for Fields',
        ),
    ],
)
def test_bad_input(change, error, message):
    options = {"f": lambda x: x.mean((1, 2)), "group": P4} | change
    x = options.pop("x", np.ones((2, 5, 5, 1)))
    f = options.pop("f")
    with pytest.raises(error, match=message):
        symmetrize(f, **options)(x)


def test_a_mirror_needs_no_equal_sides(x64, rng):
    x, weights = rng.normal(size=(2, 4, 6, 1)), rng.normal(size=(4, 6, 1))
    even = symmetrize(lambda x: (x * weights).sum((1, 2)), group=mirror())
    assert_equivariant(even, x, group=mirror(), rtol=1e-12)
