"""ONNX files give what the network gives, in onnxruntime, for batches of any size."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from gconv_jax import P4, P4M, group_conv, group_conv_transpose, group_pool, lift_conv, models
from gconv_jax.export import onnx
from tests.export.test_frozen import NETWORKS, Linen, every_network

onnx_ = pytest.importorskip("onnx", reason="pip install 'gconv_jax[onnx]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="pip install onnxruntime")


def run(path, x) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.asarray(x)})


def assert_same(actual: np.ndarray, expected) -> None:
    expected = np.asarray(expected)
    assert actual.shape == expected.shape and actual.dtype == expected.dtype
    scale = max(1.0, float(np.abs(expected.astype(float)).max(initial=0)))
    np.testing.assert_allclose(actual, expected, atol=1e-5 * scale, rtol=0)


def some_statistics(model, rng):
    """Biases and batch statistics that are not the gentle default, and filters that keep the
    variance: a network whose own are for a hundred channels hardly sees the image with three."""

    def draw(leaf):
        if leaf.ndim == 0 or not jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf
        if leaf.ndim > 1:
            scale = (2 / np.prod(leaf.shape[:-1])) ** 0.5
            return jnp.asarray(scale * rng.normal(size=leaf.shape), leaf.dtype)
        return jnp.asarray(np.abs(leaf + 0.3 * rng.normal(size=leaf.shape)), leaf.dtype)

    nnx.update(model, jax.tree.map(draw, nnx.state(model)))


@every_network("P4CNN", "separable", "voxels")
def test_a_network_in_onnxruntime(name, rng, tmp_path):
    build, options, shape = NETWORKS[name]
    model = build(**options, rngs=nnx.Rngs(0))
    some_statistics(model, rng)
    path = onnx(model, (None, *shape), tmp_path / "model.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]
    x = rng.normal(size=(3, *shape)).astype(np.float32)
    model.eval()
    expected = np.asarray(nnx.jit(lambda model, x: model(x))(model, x))
    assert np.abs(expected[0] - expected[1]).max() > 1e-3, "the result depends on the image"
    assert_same(run(path, x)[0], expected)
    assert_same(run(path, x[:1])[0], expected[:1])


def test_linen_and_a_fixed_batch(rng, tmp_path):
    x = jnp.asarray(rng.normal(size=(2, 9, 9, 3)), jnp.float32)
    bound = Linen().bind(Linen().init(jax.random.key(0), x, train=False))
    path = onnx(bound, x.shape, tmp_path / "model.onnx", train=False)
    assert_same(run(path, x)[0], bound(x, train=False))
    (given,) = onnx_.load(path).graph.input
    assert given.name == "x" and given.type.tensor_type.shape.dim[0].dim_value == 2


def test_what_is_in_a_file(rng, tmp_path):
    """One convolution for each layer, with nothing but its bias and ReLU between; two transposes,
    of the image and of what comes out."""
    model = models.P4CNN(rngs=nnx.Rngs(0))
    some_statistics(model, rng)
    loaded = onnx_.load(onnx(model, (None, 28, 28, 1), tmp_path / "x"))
    kinds = [node.op_type for node in loaded.graph.node]
    assert kinds.count("Conv") == kinds.count("Add") == 7 and kinds.count("Transpose") <= 2
    assert not {"Mul", "Sub", "Expand", "Gather"} & set(kinds)
    assert loaded.producer_name == "gconv_jax" and loaded.ir_version == 8
    assert [(o.domain, o.version) for o in loaded.opset_import] == [("", 18)]
    dims = loaded.graph.output[0].type.tensor_type.shape.dim
    assert dims[0].dim_param == loaded.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "n"


W = np.random.default_rng(1).normal(size=(3, 3, 3, 3)).astype(np.float32)
ROW = np.arange(1.0, 4, dtype=np.float32)
# Functions of x [N, 5, 6, 3], or of a convolution of x, whose layout in the file is another.
FUNCTIONS = {
    "signs": lambda x: (jnp.sign(x), -x, jnp.abs(x), jnp.floor(x), jnp.ceil(x)),
    "exponentials": lambda x: (jnp.exp(x), jnp.expm1(x), jnp.log1p(x * x), jnp.log(x * x + 1)),
    "powers": lambda x: (x**3, jnp.square(x), lax.rsqrt(x * x + 1), jnp.sqrt(x * x), 2.0**x),
    "waves": lambda x: (jnp.sin(x), jnp.cos(x), jnp.tan(jnp.tanh(x)), jnp.tanh(x), jnp.arctan(x)),
    "inverse waves": lambda x: (jnp.arcsin(jnp.sin(x) / 2), jnp.arccos(jnp.sin(x) / 2)),
    "activations": lambda x: (jax.nn.relu(x), jax.nn.elu(x), jax.nn.silu(x), jax.nn.softplus(x)),
    "gelu": lambda x: (jax.nn.gelu(x), jax.nn.gelu(x, approximate=False), lax.erfc(x)),
    "softmax": lambda x: (jax.nn.softmax(x), jax.nn.log_softmax(x.mean((1, 2)))),
    "arithmetic": lambda x: (x + 1, 2 - x, x / 3, x * x, x - x.mean(), 1 / (x * x + 1)),
    "by the channel": lambda x: (x * ROW + ROW, jnp.maximum(x, ROW), x - ROW[:1]),
    "by the row": lambda x: (x * np.arange(6, dtype="f")[:, None], x + np.ones((5, 1, 1), "f")),
    "remainder": lambda x: (lax.rem(x, jnp.full_like(x, 0.7)), jnp.clip(x, -0.5, 0.5)),
    "comparisons": lambda x: (x < 0, x <= x, x > ROW, x >= 0, x == x, x != 0, jnp.isfinite(x)),
    "logic": lambda x: ((x < 0) & (x > -1), (x < 0) | (x > 1), (x < 0) ^ (x > -1), ~(x < 0)),
    "cases": lambda x: (jnp.where(x > 0, x, 0.0), jnp.where(x > 0, 1.0, -ROW)),
    "numbers": lambda x: (x.astype(jnp.int32), (x > 0).astype(jnp.float32), x.astype(bool)),
    "integers": lambda x: (x * 10).astype(jnp.int32) // 3 + lax.rem((x * 9).astype(jnp.int32), 4),
    "constants": lambda x: (jnp.zeros(x.shape), jnp.ones((3,)), jnp.full(x.shape[:1], 2)),
    "only constants": lambda x: jnp.ones((2, 3)),
    "the size of the batch": lambda x: (x.mean(), jnp.ones(x.shape[:2]) * x.shape[0]),
    "the input": lambda x: x,
    "sums": lambda x: (x.sum(), x.sum((1, 2)), x.sum(-1), x.mean(0), x.prod(3), x.var((0, 1))),
    "extremes": lambda x: (x.max((1, 2)), x.min(3), x.max(), x.argmax(-1), x.argmin(1)),
    "shapes": lambda x: (x.reshape(-1, 15, 6), x[:, None], x.reshape(x.shape[0], -1)),
    "merged": lambda x: x.reshape(*x.shape[:3], 1, 3) + 1.0,
    "turned": lambda x: (x.swapaxes(1, 2), x[:, ::-1], jnp.rot90(jnp.flip(x, 3), 1, (1, 2))),
    "repeated": lambda x: (jnp.tile(x, (1, 2, 1, 1)), jnp.broadcast_to(x[:, :, :1], x.shape)),
    "slices": lambda x: (x[:, 1:4:2], x[..., 1:], x[:, 2, 3], x[:, -1, :, 0], x[..., 1:2, :2]),
    "entries": lambda x: (x[..., [2, 0, 1]], x[:, np.array([[0, 1], [3, 2]])], x[:, :, [1, 1]]),
    "parts": lambda x: (jnp.concatenate([x, x * 2], 1), jnp.stack([x, x]), jnp.split(x, 2, 2)),
    "one part": lambda x: lax.split(x, (3,), axis=3),
    "padded": lambda x: (jnp.pad(x, ((0, 0), (1, 2), (0, 1), (0, 0)), constant_values=2.0),),
    "cropped": lambda x: lax.pad(x, 0.0, [(0, 0, 0), (-1, 1, 0), (0, -2, 0), (0, 0, 0)]),
    "products": lambda x: (x @ W[0, 0], jnp.einsum("nhwc,nhwd->ncd", x, x), x @ x.swapaxes(2, 3)),
    "outer": lambda x: (jnp.tensordot(x, W, ([2], [0])) if x.shape[2] == 3 else x[:, 0] @ W[0, 0]),
    "maxima": lambda x: (windows(x, lax.max, -jnp.inf), windows(x, lax.min, jnp.inf)),
    "means": lambda x: windows(x, lax.add, 0.0) / 6,
    "pooled channels": lambda x: windows(x, lax.max, -jnp.inf, (1, 1, 1, 2), ((0, 0),) * 4),
    "one axis": lambda x: windows(x, lax.add, 0.0, (1, 3, 1, 1), ((0, 0), (1, 0), (0, 0), (0, 0))),
    "convolutions": lambda x: (conv(x, (2, 1), ((2, 0), (1, 1)), (1, 2)), conv(x, groups=3)),
    "a filter made of the image": lambda x: conv(x, w=W * x.mean()),
    "channels first": lambda x: lax.conv(x.transpose(0, 3, 1, 2), W.T, (1, 1), "SAME"),
    "transposed": lambda x: lax.conv_transpose(x, W, (2, 2), "SAME"),
    "transposed, valid": lambda x: lax.conv_transpose(x, W, (2, 3), "VALID", rhs_dilation=(1, 2)),
}  # fmt: skip


def windows(x, reduce, init, size=(1, 2, 3, 1), padding=((0, 0), (1, 0), (1, 1), (0, 0))):
    return lax.reduce_window(x, init, reduce, size, (1, 1, 2, 1), padding)


def conv(x, strides=(1, 1), padding="SAME", dilation=(1, 1), groups=1, w=W):
    return lax.conv_general_dilated(
        x,
        w[:, :, : 3 // groups],
        strides,
        padding,
        rhs_dilation=dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_operations(name, rng, tmp_path):
    """Each operation runs by itself, and after a convolution."""
    x = rng.normal(size=(2, 5, 6, 3)).astype(np.float32)

    def function(x):
        return FUNCTIONS[name](x), FUNCTIONS[name](conv(x))

    path = onnx(function, (None, 5, 6, 3), tmp_path / "x")
    expected = jax.tree.leaves(jax.jit(function)(x))
    found = run(path, x)
    assert len(found) == len(expected)
    for actual, wanted in zip(found, expected, strict=True):
        assert_same(actual, wanted)


def test_pixels_and_a_pytree(rng, tmp_path):
    w = rng.normal(size=(3, 3, 1, 2)).astype(np.float32)

    def function(x):
        y = lift_conv(x.astype(jnp.float32) / 255, w, group=P4)
        return {"b": group_pool(y), "a": y.mean((1, 2))}

    path = onnx(function, (None, 6, 6, 1), tmp_path / "x", dtype=jnp.uint8)
    x = rng.integers(0, 256, (3, 6, 6, 1), np.uint8)
    expected = function(x)
    for actual, name in zip(run(path, x), ("a", "b"), strict=True):
        assert_same(actual, expected[name])
    assert [y.name for y in onnx_.load(path).graph.output] == ["y0", "y1"]


@pytest.mark.parametrize("padding", [0, 1, 2])
def test_transposed_group_convolutions(padding, rng, tmp_path):
    """Also those after which an affine map is folded into the filters."""
    w = rng.normal(size=(3, 3, 8, 2, 3)).astype(np.float32)

    def function(x):
        y = lift_conv(x, W[..., :2], group=P4M)
        y = group_conv_transpose(y, w, group=P4M, strides=2, padding=padding, bias=ROW)
        return group_conv(y * ROW + 1, w.swapaxes(3, 4), group=P4M)

    x = rng.normal(size=(2, 5, 5, 3)).astype(np.float32)
    path = onnx(function, (None, 5, 5, 3), tmp_path / "x")
    assert_same(run(path, x)[0], jax.jit(function)(x))
    kinds = [node.op_type for node in onnx_.load(path).graph.node]
    assert kinds.count("ConvTranspose") == 1 and "Mul" not in kinds


def test_what_has_no_onnx_form_is_named(tmp_path):
    for function, message in (
        (lambda x: lax.fori_loop(0, 3, lambda i, x: x * x, x), "'scan'|'while'"),
        (lambda x: x.astype(jnp.complex64), "numbers of type complex64.*stablehlo"),
        (lambda x: conv(x.astype("bfloat16"), w=W.astype("bfloat16")), "ONNX refuses|bfloat16"),
        (lambda x: x + jax.random.normal(jax.random.key(0), x.shape), "random"),
        (lambda x: conv(x, padding=((-1, 0), (0, 0))), "negative padding"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"`model` has .*({message})"):
            onnx(function, (None, 5, 6, 3), tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_bad_input(tmp_path, monkeypatch):
    model = models.P4CNN(width=2, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="`shape` must be"):
        onnx(model, (28, None, 1), tmp_path / "x")
    with pytest.raises(TypeError, match="`model` must be an NNX module"):
        onnx("model", (None, 28, 28, 1), tmp_path / "x")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'gconv_jax\[onnx\]'"):
        onnx(model, (None, 28, 28, 1), tmp_path / "x")
    assert not list(tmp_path.iterdir())
