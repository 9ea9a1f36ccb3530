"""Residual pathways: the sum of an equivariant and an ordinary convolution, and its prior."""

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import gconv_jax.linen
import gconv_jax.linen.residual as linen_residual
from gconv_jax import P4, P4M, P6, Fields, cyclic, group_conv, lift_conv
from gconv_jax.adapt.residual import residual_penalty
from gconv_jax.nnx import GroupConv
from gconv_jax.nnx.residual import ResidualGroupConv, ResidualLiftConv
from gconv_jax.testing import assert_equivariant

from ..helpers import assert_close

GEOMETRIES = {
    "odd": (3, {}),
    "even": (2, {"padding": "VALID"}),
    "stride": (3, {"strides": 2, "padding": 1}),
    "circular": (3, {"padding": "CIRCULAR"}),
    "dilation": (3, {"kernel_dilation": 2, "padding": "VALID"}),
}
geometries = pytest.mark.parametrize(("kernel", "options"), GEOMETRIES.values(), ids=GEOMETRIES)
LAYERS = {"lifting": ResidualLiftConv, "group": ResidualGroupConv}
layers = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)


def make_input(rng, layer, group, size: int = 7, channels: int = 2) -> jax.Array:
    axes = [] if layer is ResidualLiftConv else [group.order]
    return jnp.asarray(rng.normal(size=(2, *group.dimension * [size], *axes, channels)))


def pure(layer, x, **options) -> jax.Array:
    if isinstance(layer, ResidualLiftConv):
        return lift_conv(x, layer.kernel[...], **options)
    return group_conv(x, layer.kernel[...], algorithm="dense", **options)


def draw(rng, param) -> jax.Array:
    return jnp.asarray(rng.normal(size=param.shape), param.dtype)


@geometries
@layers
@pytest.mark.parametrize("group", [P4, P4M], ids=str)
def test_a_new_layer_is_the_group_conv(group, layer, kernel, options, rng):
    x = make_input(rng, layer, group).astype(jnp.float32)
    made = layer(2, 3, kernel, group=group, rngs=nnx.Rngs(0), **options)
    made.bias[...] = draw(rng, made.bias)
    options = {k.replace("kernel_dilation", "dilation"): v for k, v in options.items()}
    expected = pure(made, x, group=group, bias=made.bias[...], **options)
    np.testing.assert_array_equal(made(x), expected)


@geometries
@layers
def test_the_free_part_is_flaxs_convolution_of_merged_channels(layer, kernel, options, rng, x64):
    """Without the equivariant part, and with it: they are added, and the bias once."""
    x = make_input(rng, layer, P4)
    made = layer(2, 3, kernel, group=P4, param_dtype=jnp.float64, rngs=nnx.Rngs(0), **options)
    made.bias[...], made.free_kernel[...] = draw(rng, made.bias), draw(rng, made.free_kernel)
    merged = x.reshape(*x.shape[:3], -1)
    settings = {"rngs": nnx.Rngs(0), "param_dtype": jnp.float64, "use_bias": False, **options}
    free = nnx.Conv(merged.shape[-1], 12, (kernel, kernel), **settings)
    free.kernel[...] = made.free_kernel[...]
    options = {k.replace("kernel_dilation", "dilation"): v for k, v in options.items()}
    both = pure(made, x, group=P4, bias=made.bias[...], **options)
    of_flax = free(merged)
    assert_close(made(x), both + of_flax.reshape(*of_flax.shape[:3], 4, 3), atol=1e-11)


@layers
def test_the_law_holds_at_the_start_and_is_broken_by_the_free_kernel(layer, rng, x64):
    x = make_input(rng, layer, P4M)
    made = layer(2, 3, 3, group=P4M, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    assert_equivariant(made, x, group=P4M, perturb=False)
    made.free_kernel[...] = 1e-3 * draw(rng, made.free_kernel)
    with pytest.raises(AssertionError, match="not equivariant under"):
        assert_equivariant(made, x, group=P4M, perturb=False)


@layers
def test_other_lattices_and_bases(layer, rng):
    """The free kernel has pixels where the base filters have other parameters."""
    for group, size, options in (
        (P6, 7, {"algorithm": "dense"}),
        (cyclic(8), 5, {"filters": "harmonic", "algorithm": "dense"}),
    ):
        x = make_input(rng, layer, group, size).astype(jnp.float32)
        made = layer(2, 3, 3, group=group, rngs=nnx.Rngs(0), **options)
        channels = 2 if layer is ResidualLiftConv else 2 * group.order
        assert made.free_kernel.shape == (3, 3, channels, 3 * group.order)
        filters = {"kernel_size": 3, "filters": made.filters}
        expected = pure(made, x, group=group, bias=made.bias[...], **filters)
        np.testing.assert_array_equal(made(x), expected)
    fields = Fields(vectors=1)
    made = ResidualLiftConv(2, 3, 3, group=P4, fields=fields, rngs=nnx.Rngs(0))
    x = make_input(rng, ResidualLiftConv, P4).astype(jnp.float32)
    expected = lift_conv(x, made.kernel[...], bias=made.bias[...], group=P4, fields=fields)
    np.testing.assert_array_equal(made(x), expected)


@layers
def test_nnx_is_linen(layer, rng):
    options = {"strides": 2, "group": P4, "kernel_transform": jnp.tanh}
    made = layer(2, 3, 3, rngs=nnx.Rngs(0), **options)
    made.free_kernel[...], made.bias[...] = draw(rng, made.free_kernel), draw(rng, made.bias)
    module = getattr(linen_residual, layer.__name__)(3, 3, **options)
    x = make_input(rng, layer, P4).astype(jnp.float32)
    params = nnx.to_pure_dict(nnx.state(made, nnx.Param))
    initial = module.init(jax.random.key(0), x)["params"]
    assert jax.tree.map(jnp.shape, initial) == jax.tree.map(jnp.shape, params)
    np.testing.assert_array_equal(initial["free_kernel"], 0)
    np.testing.assert_array_equal(module.apply({"params": params}, x), made(x))


def test_a_prior_on_the_free_kernel_keeps_what_the_data_have(rng, x64):
    """Ridge regression of a symmetric and of an asymmetric target: the free kernel stays small
    only where the equivariant one suffices."""
    x = make_input(rng, ResidualLiftConv, P4, channels=1)
    target = ResidualLiftConv(1, 1, 3, group=P4, param_dtype=jnp.float64, rngs=nnx.Rngs(1))
    layer = ResidualLiftConv(1, 1, 3, group=P4, param_dtype=jnp.float64, rngs=nnx.Rngs(2))
    graphdef, params = nnx.split(layer)

    def fit(y):
        def loss(params):
            error = jnp.square(nnx.merge(graphdef, params)(x) - y).sum()
            return error + residual_penalty(params, equivariant=1e-6, free=1e-3)

        # The loss is quadratic, so that one Newton step solves it.
        flat, unravel = jax.flatten_util.ravel_pytree(params)
        gradient = jax.grad(lambda v: loss(unravel(v)))
        found = unravel(flat - jnp.linalg.solve(jax.jacobian(gradient)(flat), gradient(flat)))
        return float(jnp.linalg.norm(nnx.merge(graphdef, found).free_kernel[...]))

    assert fit(target(x)) < 1e-3
    target.free_kernel[...] = draw(rng, target.free_kernel)
    assert fit(target(x)) > 1


class Net(nnx.Module):
    def __init__(self, rngs):
        self.lift = ResidualLiftConv(1, 2, 3, group=P4, rngs=rngs)
        self.convs = nnx.List([ResidualGroupConv(2, 2, 3, group=P4, rngs=rngs)])
        self.convs.append(self.convs[0])
        self.plain = GroupConv(2, 2, 3, group=P4, rngs=rngs)


class LinenNet(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = linen_residual.ResidualLiftConv(2, 3, group=P4)(x)
        x = linen_residual.ResidualGroupConv(2, 3, group=P4)(x)
        return gconv_jax.linen.GroupConv(2, 3, group=P4)(x)


def expected_penalty(pairs, equivariant: float, free: float) -> float:
    return sum(
        equivariant * np.square(kernel).sum() / 2 + free * np.square(other).sum() / 2
        for kernel, other in pairs
    )


def test_penalty_of_a_model(rng, x64):
    """Every residual layer counts once, also one that is shared, and no other layer."""
    model = Net(nnx.Rngs(0))
    pairs = []
    for layer in (model.lift, model.convs[0]):
        layer.free_kernel[...] = draw(rng, layer.free_kernel)
        pairs.append((layer.kernel[...], layer.free_kernel[...]))
    expected = expected_penalty(pairs, 0.3, 7.0)
    params = nnx.state(model, nnx.Param)
    for given in (model, params, nnx.to_pure_dict(params)):
        found = residual_penalty(given, equivariant=0.3, free=7.0)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    lift = residual_penalty(model.lift, equivariant=0.3, free=7.0)
    np.testing.assert_allclose(lift, expected_penalty(pairs[:1], 0.3, 7.0), rtol=1e-6)
    gradient = nnx.grad(lambda model: residual_penalty(model, equivariant=0.3, free=7.0))(model)
    np.testing.assert_allclose(gradient.lift.free_kernel[...], 7 * pairs[0][1], rtol=1e-6)
    np.testing.assert_allclose(gradient.lift.kernel[...], 0.3 * pairs[0][0], rtol=1e-6)
    np.testing.assert_array_equal(gradient.plain.kernel[...], 0)


def test_penalty_of_linen_parameters(rng):
    variables = LinenNet().init(jax.random.key(0), jnp.ones((1, 5, 5, 1)))
    variables = jax.tree.map(lambda a: draw(rng, a), variables)
    params = variables["params"]
    names = ("ResidualLiftConv_0", "ResidualGroupConv_0")
    pairs = [(params[name]["kernel"], params[name]["free_kernel"]) for name in names]
    for given in (variables, params, flax.core.freeze(params)):
        found = residual_penalty(given, equivariant=0.3, free=7.0)
        np.testing.assert_allclose(found, expected_penalty(pairs, 0.3, 7.0), rtol=1e-5)


def test_penalty_is_summed_in_float32():
    """65536 ones are infinite in float16."""
    params = {"kernel": jnp.zeros(1), "free_kernel": jnp.ones(2**17, jnp.float16)}
    assert residual_penalty(params, equivariant=1.0, free=2.0) == 2**17


def test_bad_input(rng):
    layer = ResidualGroupConv(2, 3, 3, group=P4, rngs=nnx.Rngs(0))
    layer.free_kernel = nnx.Param(jnp.zeros((3, 3, 8, 8)))
    x = jnp.ones((1, 5, 5, 4, 2))
    with pytest.raises(ValueError, match=r"`free_kernel` must be \[3, 3, 8, 12\] for P4 and a"):
        layer(x)
    with pytest.raises(ValueError, match="for an image use lift_conv"):
        ResidualGroupConv(2, 3, 3, group=P4, rngs=nnx.Rngs(0))(x[..., 0, :])
    with pytest.raises(ValueError, match="for a feature map on the group use group_conv"):
        ResidualLiftConv(2, 3, 3, group=P4, rngs=nnx.Rngs(0))(x)
    plain = GroupConv(2, 3, 3, group=P4, rngs=nnx.Rngs(0))
    for model in (plain, {"params": {"kernel": x}}):
        with pytest.raises(ValueError, match="`model` must have a ResidualLiftConv or a Residual"):
            residual_penalty(model, equivariant=1.0, free=1.0)
    with pytest.raises(TypeError, match="`model` must be an NNX module or the parameters"):
        residual_penalty(x, equivariant=1.0, free=1.0)
