"""The planar convolution and its gradients, by every way of computing them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export, lax
from jax.sharding import AxisType, PartitionSpec

from gconv_jax import planar_conv
from gconv_jax._native import door
from gconv_jax.planar import implementation as planar
from gconv_jax.planar.implementation import planar_implementation
from tests.helpers import assert_close

pytestmark = pytest.mark.optimized

needs_onednn = pytest.mark.skipif(not door.available("onednn"), reason="oneDNN is not installed")
IMPLEMENTATIONS = [
    *("auto", "xla", "patches", "blocks", "winograd"),
    pytest.param("onednn", marks=needs_onednn),
]
SAME = {"strides": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1)}


@pytest.fixture(scope="module", params=IMPLEMENTATIONS)
def implementation(request):
    with planar_implementation(request.param):
        yield request.param


def by_loops(x, w, *, strides, padding, dilation):
    """The definition."""
    rank = x.ndim - 2
    x = np.pad(x, [(0, 0), *padding, (0, 0)])
    axes = range(rank)
    span = [(w.shape[a] - 1) * dilation[a] for a in axes]
    output = [(x.shape[1 + a] - span[a] - 1) // strides[a] + 1 for a in axes]
    y = np.zeros((len(x), *output, w.shape[-1]))
    for p in np.ndindex(*output):
        for t in np.ndindex(*w.shape[:rank]):
            pixel = tuple(p[a] * strides[a] + t[a] * dilation[a] for a in axes)
            y[(slice(None), *p)] += x[(slice(None), *pixel)] @ w[t]
    return y


# Strides that leave pixels out, phases without taps (stride 3, kernel 2), padding beyond the
# kernel, one channel and enough of them for patches by rows, more images than fit in a chunk.
CONVOLUTIONS = {
    "line": ((2, 9, 3), (4, 3, 2), (2,), ((1, 2),), (1,)),
    "plane": ((3, 6, 7, 2), (3, 2, 2, 3), (1, 1), ((1, 1), (0, 2)), (1, 1)),
    "first-layer": ((2, 8, 8, 1), (3, 3, 1, 4), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    "one-tap": ((2, 5, 4, 3), (1, 1, 3, 2), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    "one-tap-line": ((5, 4, 3), (1, 3, 2), (1,), ((0, 0),), (1,)),
    "one-tap-one-pixel": ((6, 1, 1, 3), (1, 1, 3, 2), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    "one-tap-padded": ((2, 5, 4, 3), (1, 1, 3, 2), (1, 1), ((0, 1), (0, 0)), (1, 1)),
    "one-tap-space": ((3, 2, 3, 1, 2), (1, 1, 1, 2, 3), (1, 1, 1), ((0, 0),) * 3, (1, 1, 1)),
    "strides": ((2, 8, 7, 2), (3, 4, 2, 3), (2, 3), ((1, 1), (2, 0)), (1, 1)),
    "empty-phase": ((2, 8, 8, 2), (2, 1, 2, 3), (3, 2), ((0, 1), (0, 0)), (1, 1)),
    "dilation": ((2, 9, 8, 2), (3, 2, 2, 3), (1, 1), ((2, 2), (0, 1)), (2, 3)),
    "both": ((2, 9, 8, 2), (3, 2, 2, 3), (2, 2), ((2, 1), (1, 1)), (2, 1)),
    "far-padding": ((2, 4, 4, 2), (3, 3, 2, 2), (1, 1), ((4, 0), (0, 5)), (1, 1)),
    "rows": ((3, 5, 5, 16), (3, 3, 16, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    "unpadded": ((2, 7, 8, 16), (3, 4, 16, 3), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    "unpadded-far": ((2, 12, 14, 16), (3, 3, 16, 3), (2, 3), ((0, 0), (0, 0)), (2, 1)),
    "many-pixels": ((4, 34, 34, 12), (3, 3, 12, 12), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    "chunks": ((7, 40, 40, 40), (3, 3, 40, 2), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    "space": ((2, 4, 5, 6, 2), (2, 3, 2, 2, 3), (1, 2, 1), ((1, 0), (1, 1), (0, 1)), (1, 1, 2)),
}


@pytest.mark.one_in(16)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_values_and_gradients(implementation, name, rng, x64):
    """Values by the definition; with them, gradients by the adjoint: <g, dy> = <dx, dx*>."""
    x_shape, w_shape, strides, padding, dilation = CONVOLUTIONS[name]
    options = {"strides": strides, "padding": padding, "dilation": dilation}
    x, w, dx, dw = (rng.normal(size=shape) for shape in (x_shape, w_shape, x_shape, w_shape))
    conv = partial(planar_conv, **options)
    if implementation == "onednn":  # float32 only: what else it is asked goes to patches
        x, w, dx, dw = (a.astype(np.float32) for a in (x, w, dx, dw))
    atol = 1e-11 if implementation != "onednn" else 2e-4

    @jax.jit
    def everything(x, w, g):
        y, pull = jax.vjp(conv, x, w)
        return y, *pull(g)

    expected = by_loops(x, w, **options)
    g = rng.normal(size=expected.shape).astype(x.dtype)
    y, gx, gw = everything(x, w, g)
    assert y.dtype == x.dtype
    assert_close(np.asarray(y, np.float64), expected, atol=atol)
    for gradient, by_definition, direction in [
        (gx, lambda d: by_loops(d, w, **options), dx),
        (gw, lambda d: by_loops(x, d, **options), dw),
    ]:
        assert gradient.shape == direction.shape
        left, right = np.vdot(gradient, direction), np.vdot(g, by_definition(direction))
        assert abs(left - right) < atol * np.sqrt(direction.size) * 10
    # One direction says little of each entry: all entries against XLA's own derivative.
    with planar_implementation("xla"):
        _, gx_xla, gw_xla = jax.jit(lambda *a: everything.__wrapped__(*a))(x, w, g)
    assert_close(gx, gx_xla, atol=atol * 10)
    assert_close(gw, gw_xla, atol=atol * 100)


def reference(x, w):
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, w, (1, 1), ((1, 1), (1, 1)), dimension_numbers=layout)


def loss(conv):
    return lambda x, w: jnp.sum(jnp.sin(conv(x, w)))


@pytest.fixture
def operands(rng):
    return jnp.asarray(rng.normal(size=(2, 3, 3, 2))), jnp.asarray(rng.normal(size=(3, 3, 2, 3)))


ours = partial(planar_conv, **SAME)


@pytest.mark.parametrize(
    "derivative",
    [
        lambda f: jax.jacfwd(f, (0, 1)),
        lambda f: jax.jacrev(f, (0, 1)),
        lambda f: jax.hessian(loss(f), (0, 1)),
        lambda f: jax.jacrev(jax.grad(loss(f), (0, 1)), (0, 1)),
        lambda f: jax.grad(
            lambda x, w: sum(jnp.sum(g**2) for g in jax.grad(loss(f), (0, 1))(x, w))
        ),
    ],
    ids=["forward", "reverse", "forward-over-reverse", "reverse-over-reverse", "penalty"],
)
def test_derivatives_of_any_order_and_mode(derivative, x64, operands):
    actual, expected = (jax.jit(derivative(f))(*operands) for f in (ours, reference))
    jax.tree.map(partial(assert_close, atol=1e-10), actual, expected)


@pytest.mark.parametrize("axes", [(1, None), (None, 2), (2, 0)], ids=str)
@pytest.mark.parametrize(
    "of", [lambda f: f, lambda f: jax.grad(loss(f), (0, 1))], ids=["y", "grad"]
)
def test_vmap(axes, of, x64, operands):
    """Mapped images, mapped filters as of an ensemble, and both as of several seeds."""
    args = [
        a if axis is None else jnp.stack([a, 2 * a, a - 1], axis)
        for a, axis in zip(operands, axes, strict=True)
    ]
    actual, expected = (jax.jit(jax.vmap(of(f), axes))(*args) for f in (ours, reference))
    jax.tree.map(partial(assert_close, atol=1e-10), actual, expected)


def test_vmap_twice(x64, operands):
    x, w = (jnp.stack([a, 2 * a, a - 1]) for a in operands)
    actual, expected = (
        jax.jit(jax.vmap(jax.vmap(f, (0, None)), (None, 0)))(x, w) for f in (ours, reference)
    )
    assert_close(actual, expected, atol=1e-10)


def test_gradient_under_shard_map_is_summed_over_devices(x64, operands):
    """Filters are the same on all devices and images are not: JAX must see that."""
    devices = jax.devices()[:2]
    if len(devices) < 2:
        pytest.skip("needs 2 devices")
    mesh = jax.make_mesh((2,), ("data",), devices=devices, axis_types=(AxisType.Auto,))
    specs = (PartitionSpec("data"), PartitionSpec())

    def mean_loss(x, w):
        return lax.pmean(loss(ours)(x, w), "data")

    spread = jax.shard_map(
        jax.grad(mean_loss, argnums=1), mesh=mesh, in_specs=specs, out_specs=PartitionSpec()
    )
    expected = jax.jit(jax.grad(loss(reference), argnums=1))(*operands) / 2
    assert_close(np.asarray(jax.jit(spread)(*operands)), np.asarray(expected), atol=1e-10)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_short_types_are_summed_in_float32(implementation, dtype, operands):
    x, w = (a.astype(dtype) for a in operands)
    y = jax.jit(ours)(x, w)
    assert y.dtype == dtype
    exact = reference(x.astype(jnp.float32), w.astype(jnp.float32)).astype(dtype)
    step = float(jnp.finfo(dtype).eps) * float(jnp.abs(exact).max())
    assert_close(y.astype(jnp.float32), exact.astype(jnp.float32), atol=2 * step)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "complex64"])
def test_other_types(dtype, rng):
    low = 0 if dtype == "uint8" else -3
    x, w = (rng.integers(low, 3, size=s).astype(dtype) for s in ((2, 5, 5, 2), (3, 3, 2, 3)))
    y = ours(x, w)
    assert y.dtype == dtype
    expected = by_loops(x.real.astype(int), w.real.astype(int), **SAME)
    assert_close(np.asarray(y).real.astype(float), expected, atol=1e-4)


@pytest.mark.one_in(10)
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(
    ("kernel", "strides", "padding", "dilation"),
    [((3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)), ((2, 4), (2, 1), ((0, 1), (-1, 2)), (1, 2))],
)
def test_integers(groups, kernel, strides, padding, dilation, rng):
    """They are those of XLA, which wrap around; XLA has none on a GPU, where ours has."""
    x, w = (
        jnp.asarray(rng.integers(-128, 128, size=s), jnp.int8)
        for s in ((2, 9, 8, 4), (*kernel, 4 // groups, 8))
    )
    conv = partial(
        planar_conv,
        strides=strides,
        padding=padding,
        dilation=dilation,
        feature_group_count=groups,
    )
    expected = lax.conv_general_dilated(
        x,
        w,
        strides,
        padding,
        rhs_dilation=dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )
    np.testing.assert_array_equal(conv(x, w), expected)
    assert conv(x[:0], w).shape == (0, *expected.shape[1:])
    program = export.export(jax.jit(conv), platforms=["cuda"])(x, w).mlir_module()
    assert "stablehlo.convolution" not in program
    floats = export.export(jax.jit(conv), platforms=["cuda"])(x.astype(float), w.astype(float))
    assert "stablehlo.convolution" in floats.mlir_module(), "negative control"


def test_feature_groups(rng, x64):
    x, w = rng.normal(size=(2, 5, 5, 4)), rng.normal(size=(3, 3, 2, 6))
    y = planar_conv(x, w, feature_group_count=2, **SAME)
    halves = [
        by_loops(x[..., 2 * i : 2 * i + 2], w[..., 3 * i : 3 * i + 3], **SAME) for i in (0, 1)
    ]
    assert_close(np.asarray(y), np.concatenate(halves, -1), atol=1e-11)


@pytest.mark.parametrize("shape", [(0, 5, 5, 2), (2, 5, 5, 0)])
def test_nothing_to_sum(implementation, shape):
    x, w = jnp.ones(shape), jnp.ones((3, 3, shape[-1], 4))
    y, pull = jax.vjp(ours, x, w)
    assert y.shape == (*shape[:3], 4) and not y.any()
    assert [g.shape for g in pull(y)] == [x.shape, w.shape]


def test_one_program_for_every_platform(operands):
    """An exported program holds for a GPU or a TPU too: the choice is made for each platform."""
    with planar_implementation("patches"):  # programs that call oneDNN cannot be exported
        exported = export.export(jax.jit(ours), platforms=["cpu", "cuda", "tpu"])(*operands)
    assert_close(exported.call(*operands), reference(*operands), atol=1e-5)


def test_forced_implementation_is_undone():
    def fail():
        with planar_implementation("xla"):
            assert planar._implementation == "xla"
            raise KeyError

    before = planar._implementation
    with pytest.raises(KeyError):
        fail()
    assert planar._implementation == before


def test_unknown_implementation():
    remedy = "`name` must be one of auto, xla, patches.* got 'cudnn'"
    with pytest.raises(ValueError, match=remedy), planar_implementation("cudnn"):
        pass


@pytest.mark.parametrize("axes", [(0, None), (None, 0)], ids=str)
def test_vmap_over_nothing(axes):
    x, w = jnp.ones((2, 5, 5, 3)), jnp.ones((3, 3, 3, 2))
    args = [a[None][:0] if axis == 0 else a for a, axis in zip((x, w), axes, strict=True)]
    assert jax.vmap(ours, axes)(*args).shape == (0, 2, 5, 5, 2)


def test_cropping(x64, rng):
    """Negative padding, as XLA takes it, with strides: and the derivatives of the gradient."""
    options = {"strides": (2, 2), "padding": ((-1, -1), (-2, 1)), "dilation": (1, 1)}
    x, w = jnp.asarray(rng.normal(size=(2, 6, 6, 2))), jnp.asarray(rng.normal(size=(3, 3, 2, 3)))

    def xla(x, w):
        layout = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(x, w, (2, 2), options["padding"], dimension_numbers=layout)

    for order in (
        jax.grad,
        lambda f, argnums: jax.grad(
            lambda *a: sum(jnp.sum(g**2) for g in jax.grad(f, argnums)(*a)), argnums
        ),
    ):
        actual, expected = (
            jax.jit(order(loss(f), (0, 1)))(x, w) for f in (partial(planar_conv, **options), xla)
        )
        jax.tree.map(partial(assert_close, atol=1e-10), actual, expected)


def test_shapes_are_checked_while_tracing():
    with pytest.raises(ValueError, match=r"`x` must be .* got float32\[1, 5, 5, 64\]"):
        jax.eval_shape(ours, jnp.ones((1, 5, 5, 64)), jnp.ones((3, 3, 32, 2)))
    with pytest.raises(ValueError, match="of one dtype"):
        ours(jnp.ones((1, 5, 5, 2)), jnp.ones((3, 3, 2, 2), jnp.bfloat16))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"strides": (0, 1)}, "`strides` must be 2 positive integers"),
        ({"dilation": (1,)}, "`dilation` must be 2 positive integers"),
        ({"padding": ((1, 1),)}, "`padding` must be 2 pairs"),
    ],
    ids=str,
)
def test_bad_settings(bad, message):
    with pytest.raises(ValueError, match=message):
        planar_conv(jnp.ones((2, 6, 6, 3)), jnp.ones((3, 3, 3, 2)), **SAME | bad)


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("shape", ["b, 24, 24, 16", "b, h, h, 16", "b, h, v, 16", "2, h, v, 16"])
def test_symbolic_sizes(shape, padding, rng):
    """Programs for any size: what is decided by the size is decided for all."""
    constraints = [f"{size} >= 6" for size in "hv" if size in shape]
    symbolic = export.symbolic_shape(shape, constraints=constraints)
    w = jnp.asarray(rng.standard_normal((3, 3, 16, 4)), jnp.float32)
    conv = partial(planar_conv, **SAME | {"padding": ((padding, padding),) * 2})
    with planar_implementation("xla" if door.available("onednn") else "auto"):
        program = export.export(jax.jit(conv))(jax.ShapeDtypeStruct(symbolic, w.dtype), w)
    x = jnp.asarray(rng.standard_normal((2, 24, 24, 16)), jnp.float32)
    assert_close(program.call(x, w), conv(x, w), atol=1e-4)


@pytest.mark.parametrize("name", ["unpadded", "unpadded-far", "many-pixels"])
@pytest.mark.skipif(
    door.available("onednn") or jax.default_backend() != "cpu", reason="XLA's way on a CPU"
)
def test_a_column_more_where_it_is_faster(name):
    """The cases above that are to go XLA's faster way do."""
    x_shape, w_shape, strides, padding, dilation = CONVOLUTIONS[name]
    conv = partial(planar_conv, strides=strides, padding=padding, dilation=dilation)
    with planar_implementation("auto"):
        lowered = jax.jit(conv).lower(jnp.ones(x_shape), jnp.ones(w_shape)).as_text()
    low, high = padding[1]
    assert f"[{low + strides[1]}, {high}]" in lowered
