"""The layers for Flax: NNX == Linen == pure function, with the same parameters in both."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import gconv_jax.linen as glinen
import gconv_jax.nnx as gnnx
from gconv_jax import P4, P4M, Z2, InexactEquivarianceWarning, group_conv, lift_conv
from tests.helpers import assert_close, every_case

# Not the default for each option in turn, and some together.
OPTIONS = [
    {},
    {"strides": 2},
    {"strides": (2, 2), "padding": "VALID"},
    {"padding": 1, "kernel_dilation": 2},
    {"padding": ((1, 1), (2, 2))},
    {"padding": "CIRCULAR", "use_bias": False},
    {"dtype": jnp.bfloat16},
    {"param_dtype": jnp.bfloat16},
    {"dtype": jnp.float32, "param_dtype": jnp.float16, "precision": "highest"},
    {"kernel_size": 2, "strides": 2, "padding": "VALID"},
    {"kernel_size": [3, 3], "strides": [1, 1], "kernel_dilation": [1, 2], "padding": [1, 2]},
]


def pair(layer: str, options: dict, *, group=P4, c_in=2, c_out=3):
    """The abstract NNX layer, the Linen layer, and the pure function with the same options."""
    options = {"kernel_size": 3, "group": group, **options}
    nnx_class = getattr(gnnx, layer)
    nnx_layer = nnx.eval_shape(lambda: nnx_class(c_in, c_out, rngs=nnx.Rngs(0), **options))
    linen_layer = getattr(glinen, layer)(c_out, **options)
    names = {"strides": "strides", "padding": "padding", "kernel_dilation": "dilation"}
    names |= {"dtype": "dtype", "precision": "precision"}
    passed = {names[k]: v for k, v in options.items() if k in names}
    pure = {"LiftConv": lift_conv, "GroupConv": group_conv}[layer]
    return nnx_layer, linen_layer, lambda x, w, b: pure(x, w, group=group, bias=b, **passed)


def draw(rng, layer: str, *, group=P4, size=(7, 7), channels=2) -> jax.Array:
    group_axis = (group.order,) if layer == "GroupConv" else ()
    return jnp.asarray(rng.normal(size=(2, *size, *group_axis, channels)), jnp.float32)


@pytest.mark.parametrize("layer", ["LiftConv", "GroupConv"])
@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(o) or "defaults")
def test_nnx_is_linen_is_the_pure_function(layer, options, rng):
    x = draw(rng, layer)
    nnx_layer, linen_layer, pure = pair(layer, options)
    graphdef, state = nnx.split(nnx_layer)
    state = jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape), a.dtype), state)
    weights = nnx.to_pure_dict(state)

    @jax.jit
    def all_three(x, state, weights):
        return (
            nnx.merge(graphdef, state)(x),
            linen_layer.apply({"params": weights}, x),
            pure(x, weights["kernel"], weights.get("bias")),
        )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InexactEquivarianceWarning)
        variables = jax.eval_shape(linen_layer.init, jax.random.key(1), x)["params"]
        by_nnx, by_linen, by_function = all_three(x, state, weights)
    # The same names, shapes and dtypes: weights go across as they are.
    assert {name: (v.shape, v.dtype) for name, v in variables.items()} == {
        name: (v.shape, v.dtype) for name, v in weights.items()
    }
    assert_close(by_linen, by_nnx, atol=1e-6)
    assert_close(by_function, by_nnx, atol=1e-6)


def test_weights_go_across_and_back(rng):
    x = draw(rng, "GroupConv")
    linen_layer = glinen.GroupConv(3, 3, group=P4)
    nnx_layer = gnnx.GroupConv(2, 3, 3, group=P4, rngs=nnx.Rngs(0))
    variables = linen_layer.init(jax.random.key(1), x)
    nnx_layer.kernel[...] = variables["params"]["kernel"]
    nnx_layer.bias[...] = variables["params"]["bias"]
    expected = linen_layer.apply(variables, x)
    assert_close(nnx_layer(x), expected, atol=1e-6)
    back = {"params": nnx.to_pure_dict(nnx.state(nnx_layer, nnx.Param))}
    assert_close(linen_layer.apply(back, x), expected, atol=0)


def test_precision_reaches_the_convolution():
    x = jnp.ones((1, 3, 3, 1))
    layer = gnnx.LiftConv(1, 2, 3, group=P4, precision="highest", rngs=nnx.Rngs(0))
    assert "Precision.HIGHEST" in str(jax.make_jaxpr(layer)(x))
    layer = glinen.LiftConv(2, 3, group=P4, precision="highest")
    assert "Precision.HIGHEST" in str(jax.make_jaxpr(layer.init)(jax.random.key(0), x))


def test_initializers():
    inits = {"kernel_init": nnx.initializers.ones, "bias_init": nnx.initializers.constant(2.0)}
    layer = gnnx.LiftConv(1, 2, 3, group=P4, rngs=nnx.Rngs(0), **inits)
    x = jnp.ones((1, 3, 3, 1))
    params = glinen.LiftConv(2, 3, group=P4, **inits).init(jax.random.key(0), x)["params"]
    for kernel, bias in ((layer.kernel[...], layer.bias[...]), (params["kernel"], params["bias"])):
        assert_close(kernel, jnp.ones((3, 3, 1, 2)), atol=0)
        assert_close(bias, jnp.full(2, 2.0), atol=0)


@every_case
def test_parameters(case):
    """They are the base filters, of the advertised shapes, whatever the group."""
    kernel = (3,) * case.dimension

    def make(cls, c_in, c_out, **more):
        options = {"group": case.group, **more}
        return nnx.eval_shape(lambda: cls(c_in, c_out, 3, rngs=nnx.Rngs(0), **options))

    lift, conv = make(gnnx.LiftConv, 2, 5), make(gnnx.GroupConv, 5, 4)
    assert lift.kernel.shape == (*kernel, 2, 5)
    assert conv.kernel.shape == (*kernel, case.order, 5, 4)
    assert lift.bias.shape == (5,)
    assert (lift.in_features, lift.out_features, lift.kernel_size) == (2, 5, kernel)
    for layer in (lift, conv):
        arrays = jax.tree.leaves(nnx.state(layer))
        assert len(arrays) == len(jax.tree.leaves(nnx.state(layer, nnx.Param))) == 2
    layer = make(gnnx.GroupConv, 5, 4, use_bias=False)
    assert layer.bias is None
    assert len(jax.tree.leaves(nnx.state(layer))) == 1


def test_fan_in_counts_the_group_axis():
    for layer, fan_in in ((gnnx.LiftConv, 9 * 16), (gnnx.GroupConv, 9 * 8 * 16)):
        kernel = np.asarray(layer(16, 64, 3, group=P4M, rngs=nnx.Rngs(0)).kernel[...])
        assert abs(kernel.std() * fan_in**0.5 - 1) < 0.03
        assert abs(kernel.mean()) < 0.03 * fan_in**-0.5


@pytest.mark.parametrize("kernel", [3, (5, 1)])
@pytest.mark.parametrize("padding", ["SAME", "VALID", "CIRCULAR", ((1, 0), (2, 3))])
def test_trivial_group_is_the_layer_of_flax(kernel, padding, rng):
    x = draw(rng, "LiftConv")
    ours = gnnx.LiftConv(2, 3, kernel, padding=padding, group=Z2, rngs=nnx.Rngs(0))
    kernel = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    flax = nnx.Conv(2, 3, kernel, padding=padding, rngs=nnx.Rngs(0))
    assert ours.kernel.shape == flax.kernel.shape
    assert_close(ours.kernel[...], flax.kernel[...], atol=1e-6)  # the same seed, the same weights
    assert_close(ours(x)[..., 0, :], flax(x), atol=1e-5)
    conv = gnnx.GroupConv(2, 3, kernel, padding=padding, group=Z2, rngs=nnx.Rngs(0))
    conv.kernel[...] = flax.kernel[...][:, :, None]
    assert_close(conv(x[..., None, :])[..., 0, :], flax(x), atol=1e-5)


def test_drop_in_for_the_strided_layer_of_flax(rng):
    """Where SAME pads as in Flax, i.e. symmetrically."""
    x = draw(rng, "LiftConv")
    flax = nnx.Conv(2, 3, (3, 3), 2, rngs=nnx.Rngs(0))  # strides come fourth in both
    ours = gnnx.LiftConv(2, 3, 3, 2, group=Z2, rngs=nnx.Rngs(0))
    assert_close(ours(x)[..., 0, :], flax(x), atol=1e-5)


def dtype_of(layer, dtype) -> jnp.dtype:
    return jax.eval_shape(layer, jax.ShapeDtypeStruct((1, 4, 4, 1), dtype)).dtype


def test_default_dtype_is_what_operands_promote_to():
    layer = gnnx.LiftConv(1, 1, 3, group=P4, rngs=nnx.Rngs(0))
    assert dtype_of(layer, jnp.bfloat16) == jnp.float32
    assert dtype_of(layer, jnp.uint8) == jnp.float32
    layer = gnnx.LiftConv(1, 1, 3, group=P4, param_dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    assert dtype_of(layer, jnp.bfloat16) == jnp.bfloat16
    assert dtype_of(layer, jnp.float32) == jnp.float32


def test_options_written_as_lists_go_through_jit_and_split():
    options = {"strides": [2, 2], "padding": [(1, 1), (1, 1)], "kernel_dilation": [1, 1]}
    x = jnp.ones((1, 7, 7, 2))
    layer = gnnx.LiftConv(2, 3, [3, 3], group=P4, rngs=nnx.Rngs(0), **options)
    expected = layer(x)
    assert_close(nnx.jit(lambda layer, x: layer(x))(layer, x), expected, atol=1e-6)
    graphdef, state = nnx.split(layer)
    assert_close(jax.jit(lambda s, x: nnx.merge(graphdef, s)(x))(state, x), expected, atol=1e-6)
    linen = glinen.LiftConv(3, [3, 3], group=P4, **options)
    variables = linen.init(jax.random.key(0), x)
    assert_close(jax.jit(linen.apply)(variables, x), linen.apply(variables, x), atol=1e-6)


def test_arrays_as_options_are_not_state():
    layer = gnnx.LiftConv(
        1, 2, 3, strides=np.array([2, 2]), padding=np.array([1, 1]), group=P4, rngs=nnx.Rngs(0)
    )
    assert (layer.strides, layer.padding) == ((2, 2), ((1, 1), (1, 1)))
    assert set(nnx.to_pure_dict(nnx.state(layer))) == {"kernel", "bias"}
    hash(nnx.graphdef(layer))


def test_strict_rank_promotion():
    layer = gnnx.LiftConv(1, 2, 3, group=P4, rngs=nnx.Rngs(0))
    with jax.numpy_rank_promotion("raise"):
        assert layer(jnp.ones((1, 5, 5, 1))).shape == (1, 5, 5, 4, 2)


def test_metadata_of_parameters():
    options = {"group": P4, "rngs": nnx.Rngs(0), "kernel_metadata": {"decay": True}}
    layers = [
        gnnx.LiftConv(1, 2, 3, bias_metadata={"decay": False}, **options),
        gnnx.GroupConv(1, 2, 3, bias_metadata={"decay": False}, **options),
        gnnx.SeparableGroupConv(1, 2, 3, bias_metadata={"decay": False}, **options),
        gnnx.QuotientConv(1, 2, 3, bias_metadata={"decay": False}, **options),
    ]
    for layer in layers:
        for name, parameter in nnx.iter_children(layer):
            assert parameter.get_metadata()["decay"] == (name != "bias"), (layer, name)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (gnnx.LiftConv(1, 2, 3, 2, group=P4, rngs=nnx.Rngs(0)), (1, 8, 8, 1)),
        (gnnx.GroupConv(1, 2, 3, 2, padding=0, group=P4, rngs=nnx.Rngs(0)), (1, 8, 8, 4, 1)),
        (gnnx.SeparableGroupConv(1, 2, 3, 2, padding=0, group=P4, rngs=nnx.Rngs(0)), (8, 8, 4, 1)),
        (gnnx.QuotientConv(1, 2, 3, 2, padding=0, group=P4, rngs=nnx.Rngs(0)), (8, 8, 4, 1)),
        (gnnx.GroupConvTranspose(1, 2, 3, 2, group=P4, rngs=nnx.Rngs(0)), (8, 8, 4, 1)),
        (gnnx.ContinuousLiftConv(1, 2, 3, 2, padding=0, group=P4, rngs=nnx.Rngs(0)), (8, 8, 1)),
    ],
)
def test_warnings_name_the_class(layer, shape):
    with pytest.warns(InexactEquivarianceWarning, match=f"^{type(layer).__name__} over"):
        layer(jnp.ones(shape))


def test_images_with_channels_first_get_a_hint():
    layer = gnnx.LiftConv(3, 8, 5, group=P4, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"channels come last.*jnp.moveaxis\(x, -3, -1\)") as error:
        layer(jnp.ones((2, 3, 32, 32)))
    x = jnp.ones((2, 3, 32, 32))
    assert "moveaxis" in str(error.value) and layer(jnp.moveaxis(x, -3, -1)).shape[-2:] == (4, 8)
