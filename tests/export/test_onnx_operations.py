"""Functions of JAX and layers of Flax give the same in onnxruntime as in JAX.

Batches have several sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from gconv_jax.export import onnx
from tests.export.test_onnx import assert_same, run

pytest.importorskip("onnx", reason="pip install 'gconv_jax[onnx]'")
pytest.importorskip("onnxruntime", reason="pip install onnxruntime")

PADS = ((2, 1), (1, 2), (0, 0))


def first(x):
    """A place along the first spatial axis, which the image decides."""
    return x[0, :, 0, 0].argmax()


def i32(x):
    return (x * 9).astype(jnp.int32)


def pads(*modes):
    return lambda x: [jax.vmap(lambda x, m=m: jnp.pad(x, PADS, mode=m))(x) for m in modes]


def polynomial(x, coefficients):
    """``lax.polynomial`` where there is one: since jax 0.12."""
    if hasattr(lax, "polynomial"):
        return lax.polynomial(x, coefficients)
    return sum(a * x**i for i, a in enumerate(coefficients)) + 0 * x


def each(*functions):
    return lambda x: tuple(function(x) for function in functions)


# Functions of x [N, 4, 5, 4]. Most have many results, since writing and compiling a function takes
# the time of a test.
FUNCTIONS = {
    "slices of the batch": lambda x: (
        x[:1], x[1:], x[::2], x[1::2], x[::-1], x[-1:], x[:-1], x[0], x[-1],
        x[: x.shape[0] // 2 + 1], x[:3],
    ),
    "parts of the batch": lambda x: (
        jnp.flip(x, 0), jnp.roll(x, 1, 0), jnp.concatenate([x, x]), jnp.split(x, [1]),
        jnp.concatenate([x[1:], x[:1]]), jnp.tile(x, (2, 1, 1, 1)), jnp.repeat(x, 2, 0),
    ),
    "entries of the batch": lambda x: (
        x[jnp.array([0, 0])], jnp.take(x, jnp.array([0, -1, 2]), 0), x[x[:, 0, 0, 0].argmax()],
        jnp.take(x, jnp.array([0, 5]), 0, mode="clip"), jnp.sort(x, 0), jnp.cumsum(x, 0),
        x[jnp.arange(x.shape[0]), x[..., 0, 0].argmax(1)], jnp.arange(x.shape[0]) * 2,
        jnp.eye(4)[jnp.arange(x.shape[0]) % 4],
    ),
    "set": lambda x: (
        x.at[:, 0].set(1.0), x.at[0].set(2.0), x.at[1:].add(1.0), x.at[:, 1:3, 2:4].multiply(2.0),
        x.at[:, ::2].min(0.0), x.at[..., jnp.array([2, 0])].max(0.0), x.at[:].set(3.0),
        x.at[:, -1, 0].subtract(x[:, 0, 0]), x.at[:, jnp.array([[0, 1], [2, 3]])].set(4.0),
        (x > 0).at[:, 1].set(True), x.at[:, jnp.array([0, 0])].add(1.0),
    ),
    "set at computed places": lambda x: (
        x.at[jnp.arange(x.shape[0]), x[..., 0, 0].argmax(1)].set(0.0), x.at[:, first(x)].add(1.0),
        x.at[:, jnp.array([0, 1]) + first(x) * 3].add(1.0), x.at[:, first(x) + 4].set(1.0),
        x.at[:, jnp.array([0, 1]) + first(x) * 3].set(1.0, mode="clip"),
        jax.vmap(lambda a: a.at[a[:, 0, 0].argmax(), 1:3].add(1.0))(x),
    ),
    "windows at computed places": lambda x: (
        lax.dynamic_slice_in_dim(x, first(x), 2, 1), lax.dynamic_index_in_dim(x, first(x), 1),
        lax.dynamic_slice(x, (0, 7, 1, 0), (1, 2, 3, 4)),
        lax.dynamic_update_slice(x, jnp.ones((1, 2, 3, 4)), (0, 1, 1, 0)),
        lax.dynamic_update_slice(x, jnp.ones((1, 2, 3, 4)), (0, first(x), 5, 0)),
        jax.vmap(lambda a: lax.dynamic_slice_in_dim(a, a[:, 0, 0].argmax(), 2, 0))(x),
        jax.vmap(lambda a: lax.dynamic_update_slice_in_dim(a, a[:2], a[:, 0, 0].argmax(), 0))(x),
    ),
    "entries at computed places": lambda x: (
        x[:, first(x)], x[:, first(x) + 5], x[:, jnp.array([0, 1]), jnp.array([2, 3])],
        x[:, jnp.array([0, 1]), :, jnp.array([2, 3])], jnp.take(x, i32(x[:, 0, 0]), 1),
        jnp.take_along_axis(x, x.argmax(1, keepdims=True), 1),
        jnp.take_along_axis(x, jnp.argsort(x, 2), 2), jax.vmap(lambda a: a[a[:, 0, 0].argmax()])(x),
    ),
    "sorted": lambda x: (
        jnp.sort(x, 1), jnp.argsort(x, 2), jnp.sort(x, 1, descending=True), jnp.sort(x > 0, 1),
        lax.sort((jnp.round(x), x), dimension=1, num_keys=2), lax.top_k(x, 2),
        lax.sort((jnp.round(x), x), dimension=1, num_keys=1), jnp.sort(i32(x).astype("int8"), 1),
        jnp.argsort(jnp.round(x), 1), jnp.lexsort((x[..., 0], jnp.round(x[..., 1])), 1),
    ),
    "quantiles": lambda x: (
        jnp.median(x, (1, 2)), jnp.quantile(x, 0.3, 1), jnp.percentile(x, 25.0),
    ),
    "running": lambda x: (
        jnp.cumsum(x, 1), jnp.cumprod(x, 2), lax.cummax(x, 1), lax.cummin(x, 2, reverse=True),
        lax.cumlogsumexp(x, 2), lax.cumsum(x, 1, reverse=True), lax.cummax(x, 2, reverse=True),
        lax.cumprod(x, 1, reverse=True), jnp.cumsum(x > 0, 1),
    ),
    "quantifiers": lambda x: (
        jnp.any(x > 0, (1, 2)), jnp.all(x > -1, 1), lax.reduce_xor(x > 0, (1,)), jnp.any(x > 3),
        jnp.count_nonzero(x > 0, 1), (x > 0).max(1), (x > 0).argmax(1),
    ),
    "truth": lambda x: (
        jnp.where(x > 0, x > 1, x < -1), jnp.maximum(x > 0, x > 1), (x > 0) < (x > 1),
        (x > 0) == (x > 1), jnp.select([x > 1, x > 0], [x, 2 * x], 3 * x),
        lax.select_n((x > 0).astype(jnp.int32) + (x > 1), x, x * 2, x * 3),
    ),
    "integers": lambda x: (
        i32(x) & 3, i32(x) | 8, ~i32(x), i32(x) ^ 5, i32(x) % 4, divmod(i32(x), -4), i32(x) ** 2,
        jnp.sign(i32(x)), i32(x).max(1),
    ),
    "short integers": lambda x: (
        i32(x).astype("int8") + jnp.int8(1), i32(x).astype("int8").max(1),
        (i32(x) * 9).astype("int8") * jnp.int8(3), jnp.abs(i32(x).astype("int16")),
        i32(x).astype("int8") @ jnp.ones((4, 2), "int8"), (x * 300).astype("uint8"),
        jnp.where(x > 0, i32(x).astype("int8"), jnp.int8(1)), x.astype(jnp.float16) * 2,
    ),
    "quotients": lambda x: (
        jnp.mod(x, -0.7), jnp.fmod(x, 0.3), x // 0.7, jnp.nan_to_num(x), jnp.isclose(x, 1.0),
        jnp.logaddexp(x, x * 2), jnp.hypot(x, x), jnp.trunc(x), jnp.round(x, 1), jnp.sinc(x),
    ),
    "polynomials": lambda x: (
        polynomial(x, (1.0, -2.0, 0.5)), polynomial(x, (jnp.ones((1, 1, 1, 4)), 3.0)),
        polynomial(x, (0.5,)),
    ),
    "borders": pads("constant", "reflect", "symmetric", "wrap", "edge"),
    "more borders": pads("linear_ramp", "maximum", "mean", "median", "minimum"),
    "zeros between": lambda x: (
        lax.pad(x, 1.0, [(0, 0, 0), (1, 2, 2), (-1, 0, 1), (0, -1, 1)]),
        lax.pad(x, 0.0, [(1, 0, 0), (0, 0, 0), (0, 0, 0), (0, 0, 0)]),
        lax.reshape(x, (x.shape[0], 20, 4), (0, 3, 2, 1)),
    ),
    "resized": lambda x: [
        jax.image.resize(x, (x.shape[0], 7, 3, 4), method)
        for method in ("nearest", "linear", "cubic")
    ],
    "norms": lambda x: (
        jnp.linalg.norm(x, axis=-1), jnp.linalg.norm(x, 1, axis=2), jnp.std(x, 1), jnp.ptp(x, 1),
        x / jnp.linalg.norm(x, axis=-1, keepdims=True), jnp.average(x, 1, weights=jnp.arange(4.0)),
        jax.nn.logsumexp(x, 1), (x - x.mean(0)) / jnp.sqrt(x.var(0) + 1),
    ),
    "matrices": lambda x: (
        jax.nn.one_hot(x[..., 0, 0].argmax(1), 4), jnp.tril(x), jnp.triu(x, 1),
        jnp.diagonal(x, axis1=1, axis2=3), jnp.trace(x, axis1=1, axis2=3),
        jnp.kron(x[0, 0], x[0, 1]), jnp.einsum("nhwh->nhw", x), jnp.cross(x[..., :3], x[..., 1:]),
        jnp.vecdot(x, x),
    ),
    "differences": lambda x: (
        jnp.diff(x, axis=1), jnp.stack(jnp.gradient(x, axis=(1, 2))), jnp.array_split(x, 2, 2),
        jnp.convolve(x[0, 0, :, 0], jnp.ones(3)), jnp.hstack([x, x]),
        jnp.bincount(i32(x[0, 0, 0]) % 4, length=4),
    ),
    "activations": each(
        *(getattr(jax.nn, name) for name in (
            "relu", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "mish",
            "softplus", "softmax", "log_softmax", "log_sigmoid", "squareplus", "hard_tanh",
            "hard_silu", "soft_sign", "standardize", "glu", "hard_sigmoid",
        )),
    ),
    "attention": lambda x: (
        jax.nn.dot_product_attention(x, x, x),
        jax.nn.dot_product_attention(x, x, x, is_causal=True),
    ),
    "poolings": lambda x: (
        nnx.avg_pool(x, (2, 2), (2, 2)), nnx.max_pool(x, (2, 3), padding="SAME"),
        nnx.min_pool(x, (2, 2)), nnx.avg_pool(x, (2, 2), padding="SAME", count_include_pad=False),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name, rng, tmp_path):
    function = FUNCTIONS[name]
    path = onnx(function, (None, 4, 5, 4), tmp_path / "x")
    x = rng.normal(size=(3, 4, 5, 4)).astype(np.float32)
    for n in (3, 1) if "batch" in name or "computed" in name else (3,):
        expected = jax.tree.leaves(jax.jit(function)(x[:n]))
        for actual, wanted in zip(run(path, x[:n]), expected, strict=True):
            assert_same(actual, wanted)


class Around(nnx.Module):
    """A network of one layer, with the way in which it is called."""

    def __init__(self, layer, call=lambda layer, x: layer(x)):
        self.layer, self.function = layer, call

    def __call__(self, x):
        return self.function(self.layer, x)


LAYERS = {
    "LayerNorm": lambda r: nnx.LayerNorm(4, rngs=r),
    "GroupNorm": lambda r: nnx.GroupNorm(4, num_groups=2, rngs=r),
    "RMSNorm": lambda r: nnx.RMSNorm(4, rngs=r),
    "InstanceNorm": lambda r: nnx.InstanceNorm(4, rngs=r),
    "BatchNorm": lambda r: nnx.BatchNorm(4, rngs=r),
    "WeightNorm": lambda r: nnx.WeightNorm(nnx.Linear(4, 3, rngs=r), rngs=r),
    "SpectralNorm": lambda r: Around(
        nnx.SpectralNorm(nnx.Linear(4, 3, rngs=r), rngs=r), lambda f, x: f(x, update_stats=False)
    ),
    "MultiHeadAttention": lambda r: Around(
        nnx.MultiHeadAttention(2, 4, rngs=r, decode=False, deterministic=True),
        lambda f, x: f(x[:, 0], mask=nnx.make_causal_mask(x[:, 0, :, 0])),
    ),
    "Embed": lambda r: Around(
        nnx.Embed(12, 3, rngs=r), lambda f, x: f(jnp.abs(x * 4).astype(jnp.int32))
    ),
    "strided": lambda r: nnx.Conv(4, 3, (3, 3), strides=2, rngs=r),
    "circular": lambda r: nnx.Conv(4, 4, (3, 3), padding="CIRCULAR", feature_group_count=2, rngs=r),
    "reflected": lambda r: nnx.Conv(4, 3, (3, 3), padding="REFLECT", rngs=r),
    "causal": lambda r: Around(
        nnx.Conv(4, 3, (3,), padding="CAUSAL", rngs=r), lambda f, x: f(x[:, 0])
    ),
    "ConvTranspose": lambda r: nnx.ConvTranspose(4, 3, (3, 3), strides=(2, 2), rngs=r),
    "Einsum": lambda r: nnx.Einsum("nhwc,cd->nhwd", (4, 3), (3,), rngs=r),
    "LinearGeneral": lambda r: nnx.LinearGeneral((5, 4), (2, 3), axis=(-2, -1), rngs=r),
    "PReLU": lambda r: nnx.PReLU(),
    "Dropout": lambda r: nnx.Dropout(0.5, rngs=r),
    "LSTMCell": lambda r: Around(
        nnx.LSTMCell(4, 3, rngs=r),
        lambda f, x: f((jnp.zeros((x.shape[0], 3)), jnp.ones((x.shape[0], 3))), x[:, 0, 0]),
    ),
    "GRUCell": lambda r: Around(
        nnx.GRUCell(4, 3, rngs=r), lambda f, x: f(jnp.ones((x.shape[0], 3)), x[:, 0, 0])[1]
    ),
}
QUICK = ("GroupNorm", "MultiHeadAttention", "Embed", "SpectralNorm")


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in LAYERS]
)
def test_layers_of_flax(name, rng, tmp_path):
    if name == "SpectralNorm" and not hasattr(nnx, name):
        pytest.skip("this version of Flax has no nnx.SpectralNorm")
    model = LAYERS[name](nnx.Rngs(0))
    path = onnx(model, (None, 4, 5, 4), tmp_path / "x")
    model.eval()
    for n in (3, 1):
        x = rng.normal(size=(n, 4, 5, 4)).astype(np.float32)
        expected = jax.tree.leaves(nnx.jit(lambda model, x: model(x))(model, x))
        for actual, wanted in zip(run(path, x), expected, strict=True):
            assert_same(actual, wanted)


SPECIAL = np.array(
    [-np.inf, -3e38, -2.5, -1.5, -1, -0.5, -0.49999997, -1e-30, -0.0, 0, 1e-30, 0.3, 0.49999997,
     0.5, 1, 1.5, 2.5, 3.5, 88, 3e38, np.inf, np.nan], np.float32,
)[None]  # fmt: skip
OF_ONE = (
    "neg", "abs", "sign", "floor", "ceil", "exp", "log", "sqrt", "tanh", "logistic", "sin", "cos",
    "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "cbrt", "erf", "erfc",
    "square", "exp2", "rsqrt", "expm1", "log1p", "is_finite", "round",
)  # fmt: skip
OF_TWO = (
    "add", "sub", "mul", "div", "max", "min", "pow", "eq", "ne", "lt", "le", "gt", "ge", "rem",
    "atan2",
)  # fmt: skip


def test_infinities_zeros_and_nan(tmp_path):
    """Every function of a number has the values of JAX at them, and on both sides of halves."""

    def function(x):
        other = jnp.roll(x, 3, 1)
        results = {name: getattr(lax, name)(x) for name in OF_ONE}
        results |= {name: getattr(lax, name)(x, other) for name in OF_TWO}
        results |= {f"x**{n}": lax.integer_pow(x, n) for n in (3, 0, -1)}
        results |= {"even": jnp.round(x), "clamp": lax.clamp(-1.0, x, 1.0), "relu": jax.nn.relu(x)}
        return results | {"sort": jnp.sort(x[:, 1:-2]), "short": jnp.nan_to_num(x).astype("int8")}

    path = onnx(function, (None, SPECIAL.shape[1]), tmp_path / "x")
    expected = jax.jit(function)(SPECIAL)
    for name, actual in zip(sorted(expected), run(path, SPECIAL), strict=True):
        wanted = np.asarray(expected[name])
        assert actual.dtype == wanted.dtype
        np.testing.assert_allclose(actual, wanted, rtol=2e-6, atol=1e-6, err_msg=name)


def test_a_sign_of_what_is_nearly_zero(rng, tmp_path):
    """Frozen networks round otherwise than the model: where it is less than that from 0, the sign
    may be another. Everywhere else it is the same."""
    kernel = rng.normal(size=(4, 8)).astype(np.float32)
    scale = rng.normal(size=8).astype(np.float32)

    def before(x):
        return (x @ kernel - scale) * scale

    def function(x):
        return jnp.sign(before(x))

    x = rng.normal(size=(20000, 4)).astype(np.float32)
    x[:10] = 0
    (actual,) = run(onnx(function, (None, 4), tmp_path / "x"), x)
    expected, size = np.asarray(jax.jit(function)(x)), np.abs(jax.jit(before)(x))
    sure = size > 1e-6 * size.max()
    assert sure.mean() > 0.999
    np.testing.assert_array_equal(actual[sure], expected[sure])


def test_a_file_is_not_larger_than_it_must_be(tmp_path):
    """Places that are constants are not computed when the file runs."""
    import onnx as onnx_

    def kinds(function):
        path = onnx(function, (None, 4, 5, 4), tmp_path / "x")
        return sorted(node.op_type for node in onnx_.load(path).graph.node)

    assert kinds(lambda x: x[:1]) == ["Identity", "Slice"]
    assert kinds(lambda x: x[0]) == ["Identity", "Reshape", "Slice"]
    assert kinds(lambda x: x[..., jnp.array([2, 0])]) == ["Gather", "Identity"]
    assert kinds(lambda x: x.at[:, 1:3].set(x[:, :2])) == sorted(
        ["Slice", "Transpose", "ScatterND", "Transpose", "Transpose", "Identity"]
    )


REFUSED = {
    "scan": lambda x: lax.scan(lambda c, a: (c + a, c), x[0], x[0][None])[0],
    "while": lambda x: lax.while_loop(lambda x: x.sum() < 0, lambda x: x + 1, x),
    "cond": lambda x: lax.cond(x.sum() > 0, jnp.sin, jnp.cos, x),
    "select_and_scatter_add": jax.grad(lambda x: nnx.max_pool(x, (2, 2)).sum()),
    "lu": lambda x: jnp.linalg.inv(x[0, 0, :4]),
    "lgamma": lax.lgamma,
    "erf_inv": lax.erf_inv,
    "scatter": lambda x: x.at[:, 0].apply(jnp.sin),
    "cummax": lambda x: lax.cummax(x, 0),
    "reduce_or": lambda x: lax.reduce_or(x.astype(jnp.int32), (1,)),
    "reduce_precision": lambda x: lax.reduce_precision(x, 5, 3),
    "shift_right_arithmetic": lambda x: x.astype(jnp.int32) >> 1,
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused_is_named(kind, tmp_path):
    with pytest.raises(ValueError, match=f"`model` has the operation '{kind}'.*stablehlo"):
        onnx(REFUSED[kind], (None, 4, 5, 4), tmp_path / "x")
    assert not list(tmp_path.iterdir())
