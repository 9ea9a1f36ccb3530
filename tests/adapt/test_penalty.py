"""Penalties measure the deviation from the law, and vanish where it holds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from gconv_jax import (
    P4,
    P4M,
    P6,
    Fields,
    cyclic,
    equivariance_penalty,
    group_pool,
    layer_penalties,
    lift_conv,
    mirror,
    octahedral,
    symmetrize,
    to_irreps,
    transform,
)
from gconv_jax.nnx import GroupConv, LiftConv

from ..helpers import act, every_case

KEY = jax.random.key(3)


@every_case
def test_it_is_the_mean_over_the_drawn_elements(x64, rng, case):
    """Against moves by hand of the elements that the key draws."""
    group, spatial = case.group, case.dimension * (5,)
    x = rng.normal(size=(12, *spatial, 2))
    weights = rng.normal(size=(*spatial, 1))
    elements = np.asarray(jax.random.randint(KEY, (12,), 0, group.order))
    if case.order > 1:
        assert len(set(elements.tolist())) > 1

    def f(x):
        return jnp.cumsum(x * weights, 1)

    found = equivariance_penalty(f, x, group=group, key=KEY)
    squares = []
    for n, g in enumerate(elements):
        turned = f(jnp.asarray(act(case, x[n : n + 1], g, lifted=False)))
        squares.append(np.square(turned - act(case, f(x[n : n + 1]), g, lifted=False)).mean())
    np.testing.assert_allclose(found, np.mean(squares), rtol=1e-12)
    known = equivariance_penalty(f, x, group=group, key=KEY, y=f(x))
    np.testing.assert_allclose(known, found, rtol=1e-12)


@pytest.mark.parametrize("group", [P4M, octahedral()], ids=repr)
def test_it_vanishes_for_what_obeys_the_law(x64, rng, group):
    spatial = group.dimension * (4,)
    x, w = rng.normal(size=(6, *spatial, 2)), rng.normal(size=(*group.dimension * (3,), 2, 3))

    def features(x):
        return lift_conv(x, w, group=group)

    for f in (
        features,
        lambda x: to_irreps(features(x), group=group),
        lambda x: group_pool(features(x)).mean(tuple(range(1, group.dimension + 1))),
        symmetrize(lambda x: jnp.cumsum(x, 1), group=group),
    ):
        assert equivariance_penalty(f, x, group=group, key=KEY) < 1e-24
    assert equivariance_penalty(lambda x: jnp.cumsum(x, 1), x, group=group, key=KEY) > 1e-2


def test_trees_vectors_and_functions(x64, rng):
    x = rng.normal(size=(6, 5, 5, 2))
    flow = Fields(vectors=1)

    def permuted(y, g):
        return y[..., P4.cayley[P4.inverse[g]]]

    def f(x):
        corners = x[:, [0, -1, -1, 0], [0, 0, -1, -1], :].sum(-1)  # they follow quarter turns
        return {"flow": x, "corners": corners}

    actions = {"flow": flow, "corners": permuted}
    found = equivariance_penalty(f, x, group=P4, key=KEY, input_action=flow, output_action=actions)
    expected = equivariance_penalty(
        lambda x: f(x)["corners"], x, group=P4, key=KEY, input_action=flow, output_action=permuted
    )
    np.testing.assert_allclose(found, expected)
    assert found > 0  # vectors turn, so sums of their components do not
    one = x[..., :1]
    assert (
        equivariance_penalty(
            f, one, group=P4, key=KEY, output_action={"flow": "image", "corners": permuted}
        )
        < 1e-24
    )


def test_gradients_lead_to_an_equivariant_function(x64, rng):
    """Descent on the penalty alone ends in the space of functions that obey the law."""
    x = rng.normal(size=(32, 3, 3, 1))

    @jax.jit
    def step(w, key):
        f = lambda x: jnp.tensordot(x, w, 3)  # noqa: E731
        slope = jax.grad(
            lambda w: equivariance_penalty(lambda x: jnp.tensordot(x, w, 3), x, group=P4M, key=key)
        )(w)
        return w - 0.1 * slope, f(x)

    w = jnp.asarray(rng.normal(size=(3, 3, 1, 2)))
    even = np.mean(
        [
            transform(jnp.moveaxis(w, -1, 0), group=P4M, element=g, lifted=False)
            for g in P4M.elements
        ],
        0,
    )
    for i in range(300):
        w, _ = step(w, jax.random.fold_in(KEY, i))
    np.testing.assert_allclose(jnp.moveaxis(w, -1, 0), even, atol=1e-6)


class Net(nnx.Module):
    def __init__(self, lift, rngs):
        self.lift = lift
        self.norm = nnx.BatchNorm(3, use_running_average=True, rngs=rngs)

    def __call__(self, x):
        return self.norm(nnx.relu(self.lift(x))).mean((1, 2))


def test_layers_of_models(rng):
    rngs = nnx.Rngs(0)
    x = jnp.asarray(rng.normal(size=(6, 8, 8, 1)), jnp.float32)
    plain = Net(nnx.Conv(1, 3, (3, 3), rngs=rngs), rngs)
    found = layer_penalties(plain, x, group=P4, key=KEY)
    assert list(found) == ["lift", "norm", "output"]
    assert all(value > 1e-4 for value in found.values()), found
    even = nnx.Sequential(
        LiftConv(1, 3, 3, group=P4, rngs=rngs), nnx.relu, GroupConv(3, 2, 3, group=P4, rngs=rngs)
    )
    found = layer_penalties(even, x, group=P4, key=KEY)
    assert list(found) == ["layers.0", "layers.2", "output"]
    assert all(value < 1e-10 for value in found.values())
    slopes = nnx.grad(lambda model: sum(layer_penalties(model, x, group=P4, key=KEY).values()))(
        plain
    )
    assert all(np.isfinite(a).all() for a in jax.tree.leaves(slopes))
    assert np.abs(slopes["lift"]["kernel"][...]).max() > 0

    module = linen.Conv(3, (3, 3))
    bound = linen.Sequential([module]).bind(linen.Sequential([module]).init(KEY, x))
    assert list(layer_penalties(bound, x, group=P4, key=KEY)) == ["layers_0", "output"]
    zero = layer_penalties(lambda x: 0 * x, x, group=P4, key=KEY)
    assert zero["output"] == 0


def test_modules_are_left_as_they_are(rng):
    """The same masks and statistics for both poses; nothing of it stays."""
    rngs = nnx.Rngs(0, dropout=1)
    x = jnp.asarray(rng.normal(size=(6, 8, 8, 1)), jnp.float32)
    model = nnx.Sequential(
        LiftConv(1, 3, 3, group=P4, rngs=rngs),
        nnx.BatchNorm(3, rngs=rngs),
        nnx.Dropout(0.5, broadcast_dims=(1, 2, 3), rngs=rngs),
    )
    before = jax.tree.map(jnp.copy, nnx.state(model))
    found = layer_penalties(model, x, group=P4, key=KEY)
    assert all(value < 1e-9 for value in found.values()), found
    jax.tree.map(
        lambda a, b: (
            None
            if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key)
            else np.testing.assert_array_equal(a, b)
        ),
        before,
        nnx.state(model),
    )


def test_hexagons_and_lines(x64, rng):
    """Pixels outside the hexagon do not count; fields on a line are no logits."""
    x = rng.normal(size=(4, 7, 7, 1))
    assert equivariance_penalty(lambda x: x.sum((1, 2)), x, group=P6, key=KEY) < 1e-24
    fields = Fields(scalars=1, pseudoscalars=2)
    options = {"group": mirror(dimension=1), "key": KEY, "input_action": fields}
    x = rng.normal(size=(8, 7, 3))
    weights = jnp.arange(7.0)[:, None]
    assert equivariance_penalty(lambda x: x * weights, x, output_action=fields, **options) > 0.1
    found = equivariance_penalty(lambda x: x[..., :1], x, output_action="image", **options)
    assert found < 1e-24


def test_finer_rotations_half_precision_and_jit(rng):
    x = jnp.asarray(rng.normal(size=(4, 8, 8, 1)), jnp.bfloat16)
    for group in (cyclic(8), P4):
        penalty = jax.jit(
            lambda x, key, group=group: equivariance_penalty(
                lambda x: x[:, 0, 0], x, group=group, key=key
            )
        )
        found = penalty(x, KEY)
        assert found.dtype == jnp.float32
        assert 0 < found < 10


def test_a_key_for_each_image(rng):
    """Devices that share a batch draw what one device draws."""
    x = jnp.asarray(rng.normal(size=(8, 5, 5, 1)), jnp.float32)
    keys = jax.random.split(KEY, 8)

    def f(x):
        return x[:, 0, 0]

    whole = equivariance_penalty(f, x, group=P4, key=keys)
    parts = [equivariance_penalty(f, x[i : i + 4], group=P4, key=keys[i : i + 4]) for i in (0, 4)]
    np.testing.assert_allclose(whole, np.mean(parts), rtol=1e-6)
    with pytest.raises(ValueError, match="`key` must be a random key, or one for each of 8 images"):
        equivariance_penalty(f, x, group=P4, key=keys[:3])
    assert equivariance_penalty(f, x, group=P4, key=jax.random.PRNGKey(0)) >= 0


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"group": 4}, TypeError, "`group`"),
        ({"x": np.ones((2, 4, 6, 1))}, ValueError, "equal sides"),
        ({"x": np.ones((2, 4))}, ValueError, "a batch of images"),
        ({"output_action": "tokens"}, ValueError, "`output_action` must be one of"),
        ({"y": np.ones((2, 3))}, ValueError, r"`output_action` must move an output \(2, 3\)"),
    ],
)
def test_bad_input(change, error, message):
    options = {"group": P4, "x": np.ones((2, 5, 5, 1)), "key": KEY} | change
    with pytest.raises(error, match=message):
        equivariance_penalty(lambda x: x.mean((1, 2)), **options)
