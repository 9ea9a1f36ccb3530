"""The layers under transformations of JAX (jit, vmap, grad, remat) and in every floating dtype."""

import functools

import chex
import jax
import jax.experimental
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from gconv_jax import (
    P4,
    P4M,
    avg_pool,
    coset_pool,
    cyclic,
    dihedral,
    group_conv,
    group_pool,
    lift_conv,
    max_pool,
    restrict,
    transform,
    upsample,
)
from tests.helpers import BY_NAME, assert_close, law_error

FLOATS = [jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64]


def arrays(rng, *shapes, dtype=None):
    return [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]


def network(x, w1, w2, bias, group=P4):
    """Return a network that has every kind of layer once."""
    x = lift_conv(x, w1, group=group)
    x = jax.nn.gelu(max_pool(x, group=group, window_shape=2, lifted=True))
    x = group_conv(x, w2, group=group, bias=bias, padding="VALID")
    x = upsample(x, group=group, scale=2, method="bilinear", lifted=True)
    x = avg_pool(x, group=group, window_shape=3, strides=1, lifted=True)
    x = coset_pool(x, group=group, subgroup=cyclic(2), reduce="mean")
    return group_pool(x).sum(axis=(-3, -2))


def parameters(rng):
    return arrays(rng, (2, 8, 8, 1), (3, 3, 1, 2), (2, 2, 4, 2, 3), (3,))


def test_jit(rng, x64):
    args = parameters(rng)
    assert_close(jax.jit(network)(*args), network(*args), atol=1e-12)


def test_group_as_static_argument_is_traced_once(rng):
    @functools.partial(jax.jit, static_argnames="group")
    @chex.assert_max_traces(n=1)
    def traced(x, w1, w2, bias, group):
        return network(x, w1, w2, bias, group)

    args = parameters(rng)
    for group in (P4, cyclic(4), P4M.subgroup(1), P4):
        traced(*args, group=group)


def test_vmap_over_images_weights_and_both(rng, x64):
    x, w = arrays(rng, (3, 2, 5, 5, 4, 2), (3, 3, 3, 4, 2, 2))
    conv = functools.partial(group_conv, group=P4)

    @jax.jit
    def mapped(x, w):
        return (
            jax.vmap(conv, in_axes=(0, None))(x, w[0]),
            jax.vmap(conv, in_axes=(None, 0))(x[0], w),
            jax.vmap(conv)(x, w),
        )

    each, single = mapped(x, w), jax.jit(conv)
    x, w = np.asarray(x), np.asarray(w)
    for i in range(3):
        expected = (single(x[i], w[0]), single(x[0], w[i]), single(x[i], w[i]))
        assert_close(tuple(np.asarray(y)[i] for y in each), expected, atol=1e-13)


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: lift_conv(x[..., 0, :], jnp.ones((3, 3, 2, 1)), group=P4),
        lambda x: max_pool(x, group=P4, window_shape=2, lifted=True),
        lambda x: avg_pool(x, group=P4, window_shape=2, lifted=True),
        lambda x: upsample(x, group=P4, scale=2, lifted=True),
        lambda x: coset_pool(x, group=P4, subgroup=cyclic(2)),
        lambda x: restrict(x, group=P4, subgroup=cyclic(2)),
    ],
)
def test_vmap_of_unbatched_images_is_the_batch(fn, rng, x64):
    (x,) = arrays(rng, (3, 4, 4, 4, 2))
    assert_close(*jax.jit(lambda x: (jax.vmap(fn)(x), fn(x)))(x), atol=1e-13)


@pytest.mark.parametrize(
    "fn",
    [
        lambda x, w: lift_conv(x[..., 0, :], w[..., 0, :, :], group=P4, padding=1),
        lambda x, w: group_conv(x, w, group=P4, strides=2, padding="VALID", dilation=2),
        lambda x, w: group_conv(x, w, group=P4, padding="CIRCULAR"),
        lambda x, w: (
            max_pool(x, group=P4, window_shape=3, strides=1, padding=1, lifted=True) * w.sum()
        ),
        lambda x, w: avg_pool(x, group=P4, window_shape=3, strides=2, lifted=True) * w.sum(),
        lambda x, w: coset_pool(x, group=P4, subgroup=cyclic(2)) * w.sum(),
        lambda x, w: restrict(x, group=P4, subgroup=cyclic(2)) * w.sum(),
        lambda x, w: upsample(x, group=P4, scale=2, method="bilinear", lifted=True) * w.sum(),
        lambda x, w: transform(x, group=P4, element=1, lifted=True) * w.sum(),
    ],
)
def test_gradients(fn, rng, x64):
    """Gradients to images and weights, forward and backward, equal finite differences."""
    args = arrays(rng, (1, 5, 5, 4, 1), (3, 3, 4, 1, 2))
    loss = jax.jit(lambda x, w: jnp.sin(fn(x, w)).sum())
    chex.assert_numerical_grads(loss, args, order=1, atol=1e-6)


def test_remat_changes_nothing(rng, x64):
    def loss(*args):
        return (network(*args) ** 2).sum()

    @jax.jit
    def both(*args):
        return [jax.grad(f, argnums=(0, 1, 2, 3))(*args) for f in (loss, jax.checkpoint(loss))]

    plain, remat = both(*parameters(rng))
    assert_close(remat, plain, atol=1e-10)


def test_gradient_is_invariant(rng, x64):
    """A turned image gives the same gradient of an invariant loss: weights see all poses."""
    x, *weights = parameters(rng)

    def loss(weights, x):
        return (network(x, *weights) ** 2).sum()

    gradient = jax.jit(jax.grad(loss))
    turned = transform(x, group=P4, element=1, lifted=False)
    expected = gradient(weights, x)
    largest = max(float(jnp.abs(g).max()) for g in expected)
    assert_close(gradient(weights, turned), expected, atol=1e-12 * largest)


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: dtype.__name__)
def test_every_float_in_is_the_same_out(dtype, rng, x64):
    args = parameters(rng)

    @jax.jit
    def both(args):
        half = [a.astype(dtype) for a in args]
        gradient = jax.grad(lambda args: network(*args).sum())(half)
        return network(*half), gradient, network(*[a.astype(jnp.float64) for a in half])

    result, gradient, exact = both(args)
    assert result.dtype == dtype
    assert all(g.dtype == dtype for g in gradient)
    chex.assert_tree_all_finite([np.asarray(g, np.float64) for g in gradient])
    atol = float(jnp.finfo(dtype).eps) * 20 * float(np.abs(exact).max())
    assert_close(np.asarray(result, np.float64), exact, atol=atol)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_low_precision_keeps_the_law(dtype, rng):
    x, w = arrays(rng, (1, 7, 7, 4, 3), (3, 3, 4, 3, 3), dtype=dtype)
    case = BY_NAME["p4"]

    def layer(x):
        return group_conv(x.astype(dtype), w, group=P4)

    error = law_error(jax.jit(layer), case, np.asarray(x, np.float32), lifted=(True, True))
    assert error < 10 * float(jnp.finfo(dtype).eps)


@pytest.mark.parametrize("first", [False, True])
def test_float32_and_float64_in_one_process(first):
    """Index tables are shared between both modes; jax 0.10 remembers the width of an array of
    int64 for as long as a jitted function that uses it lives."""
    enable_x64 = (jax if hasattr(jax, "enable_x64") else jax.experimental).enable_x64
    group = dihedral(2)  # whose tables no other test has made
    conv = jax.jit(functools.partial(group_conv, group=group, padding=1))
    for double in (first, not first):
        with enable_x64(double):
            dtype = jnp.float64 if double else jnp.float32
            x, w = jnp.ones((1, 4, 4, 4, 1), dtype), jnp.ones((3, 3, 4, 1, 1), dtype)
            jitted = conv(x, w)
            assert jitted.dtype == dtype
            assert_close(group_conv(x, w, group=group, padding=1), jitted, atol=0)


def test_dtype_argument_rules_the_computation(rng):
    x, w, bias = arrays(rng, (1, 5, 5, 2), (3, 3, 2, 2), (2,), dtype=jnp.float32)
    half = [a.astype(jnp.bfloat16) for a in (x, w, bias)]
    by_argument = lift_conv(x, w, group=P4, bias=bias, dtype=jnp.bfloat16)
    assert_close(by_argument, lift_conv(*half[:2], group=P4, bias=half[2]), atol=0)


def test_dtype_by_default_is_what_the_operands_promote_to(rng):
    x, w, bias = arrays(rng, (1, 5, 5, 2), (3, 3, 2, 2), (2,), dtype=jnp.float32)
    half = [a.astype(jnp.bfloat16) for a in (x, w, bias)]

    def dtype_of(x, w, bias):
        return jax.eval_shape(functools.partial(lift_conv, group=P4), x, w, bias=bias).dtype

    assert dtype_of(*half) == jnp.bfloat16
    assert dtype_of(x, *half[1:]) == jnp.float32
    assert dtype_of(half[0], w, half[2]) == jnp.float32
    assert dtype_of(*half[:2], bias) == jnp.float32
    assert dtype_of(half[0], w.astype(jnp.float16), None) == jnp.float32
    assert dtype_of((x > 0).astype(jnp.uint8), *half[1:]) == jnp.bfloat16


def test_precision_argument(rng):
    x, w = arrays(rng, (1, 5, 5, 2), (3, 3, 2, 2), dtype=jnp.float32)
    layer = jax.jit(functools.partial(lift_conv, group=P4, precision="highest"))
    exported = jax.export.export(layer, platforms=["tpu"])(x, w)
    assert "HIGHEST" in exported.mlir_module()


@pytest.mark.parametrize("precision", ["high", ["highest", "default"], ("high", "high")], ids=str)
def test_forms_of_precision(precision, rng):
    x, w = arrays(rng, (1, 5, 5, 4, 2), (3, 3, 4, 2, 2), dtype=jnp.float32)
    assert group_conv(x, w, group=P4, precision=precision).shape == x.shape


def test_unknown_precision_is_refused(rng):
    x, w = arrays(rng, (1, 5, 5, 4, 2), (3, 3, 4, 2, 2), dtype=jnp.float32)
    with pytest.raises(ValueError, match="bogus"):
        group_conv(x, w, group=P4, precision="bogus")


def test_weights_are_not_constants_of_the_program(rng):
    """One program serves all weights; the bank is part of it, and only index tables are in it."""
    traces = chex.assert_max_traces(lambda x, w: group_conv(x, w, group=P4M), n=1)
    layer = jax.jit(traces)
    for _ in range(3):
        layer(*arrays(rng, (1, 5, 5, 8, 1), (3, 3, 8, 1, 1)))
