"""A U-Net with attention and conditions: its result turns with the image, conditions do not."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from gconv_jax import P4, P4M, P6, Z2, Fields, cyclic, dihedral, octahedral
from gconv_jax.export import freeze, stablehlo
from gconv_jax.models import GroupUNet
from gconv_jax.models.group_unet import embed_times
from gconv_jax.testing import assert_equivariant, equivariance_errors
from tests.helpers import assert_close, quick_jit, random_float64

SMALL = {"width": 4, "multipliers": (1, 2), "blocks": 1, "heads": 2}
FLOW = Fields(scalars=1, vectors=1)


def build(rng, **options):
    return random_float64(lambda: GroupUNet(rngs=nnx.Rngs(0), **(SMALL | options)), rng)


CASES = {
    "p4": {"group": P4},
    "p4m": {"group": P4M, "out_features": 3},
    "attention everywhere": {"group": P4, "attention": (0, 1), "cond_features": 3},
    "no attention, three scales": {"group": P4, "attention": (), "multipliers": (1, 1, 1)},
    "periodic": {"group": P4M, "padding": "CIRCULAR"},
    "flow": {"group": P4M, "in_fields": FLOW, "out_fields": Fields(vectors=1)},
    "cube": {"group": octahedral(), "width": 2, "heads": 1},
    "finer": {"group": cyclic(8)},
    "finer flow": {
        "group": dihedral(8),
        "in_fields": FLOW,
        "out_fields": FLOW,
        "width": 2,
        "heads": 1,
    },
}
# The elements that map pixels onto pixels.
EXACT = {cyclic(8): P4, dihedral(8): P4M}


@pytest.mark.one_in(7)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
def test_the_law(case, train, rng, x64):
    options = {"in_features": 2, **CASES[case]}
    model, group = build(rng, **options), options["group"]
    model.train() if train else model.eval()
    side = 4 if group.dimension == 3 or len(options.get("multipliers", SMALL)) == 3 else 6
    fields = options.get("in_fields")
    channels = 2 if fields is None else fields.channels(group)
    x = rng.normal(size=(2, *group.dimension * (side,), channels))
    condition = rng.normal(size=(2, 3)) if "cond_features" in options else None
    graphdef, state = nnx.split(model)

    @quick_jit
    def fn(x):
        return nnx.merge(graphdef, state, copy=True)(x, jnp.array([3.0, 500.0]), condition)

    out_fields = options.get("out_fields")
    assert_equivariant(
        fn,
        x,
        group=EXACT.get(group, group),
        input_action=fields,
        output_action=out_fields,
        rtol=1e-12,
    )


def test_times_and_conditions_matter(rng, x64):
    model = quick_jit(build(rng, group=P4, cond_features=3, in_features=1))
    x, c = rng.normal(size=(2, 4, 4, 1)), rng.normal(size=(2, 3))
    y = model(x, jnp.array([1.0, 2.0]), c)
    assert np.abs(np.asarray(model(x, jnp.array([1.0, 3.0]), c) - y)[1]).max() > 1e-3
    assert_close(model(x, jnp.array([1.0, 3.0]), c)[0], y[0], atol=1e-12)
    assert np.abs(np.asarray(model(x, jnp.array([1.0, 2.0]), -c) - y)).max() > 1e-3


def test_negative_controls(rng, x64):
    plain = build(rng, group=Z2, width=8, in_features=1)
    x = rng.normal(size=(1, 6, 6, 1))
    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(quick_jit(plain), x, group=P4)
    model = build(rng, group=P4, cond_features=1, in_features=1)

    @quick_jit
    def looks_at_the_top(x):  # a condition that is a part of the image
        return model(x, condition=x[:, 0, 0])

    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(looks_at_the_top, x, group=P4)


@pytest.mark.slow
def test_a_fresh_model_predicts_zero_and_is_checked_with_perturbed_parameters(rng):
    model = GroupUNet(group=P4, in_features=1, rngs=nnx.Rngs(0), **SMALL)
    x = rng.normal(size=(1, 4, 4, 1)).astype(np.float32)
    assert not np.asarray(model(x)).any()
    assert_equivariant(model, x, group=P4, rtol=1e-3)
    errors = equivariance_errors(model, x, group=P4).errors
    assert {"middle0.attention", "up0_0.conv0", "output"} <= set(errors)


def test_dropout_of_whole_channels_keeps_the_law_for_one_key(rng, x64):
    model = random_float64(
        lambda: GroupUNet(
            group=P4, in_features=1, dropout=0.5, rngs=nnx.Rngs(0, dropout=1), **SMALL
        ),
        rng,
    )
    model.train()
    x = rng.normal(size=(2, 4, 4, 1))
    graphdef, state = nnx.split(model)

    def fn(x):
        return nnx.merge(graphdef, state, copy=True)(x)

    y = np.asarray(fn(x))
    assert_close(fn(np.rot90(x, axes=(1, 2))), np.rot90(y, axes=(1, 2)), atol=1e-12)
    model.eval()
    assert np.abs(np.asarray(model(x)) - y).max() > 1e-3


def test_gradients_reach_every_parameter(rng, x64):
    model = build(rng, group=P4, cond_features=2, in_features=1)
    x, c = rng.normal(size=(2, 4, 4, 1)), rng.normal(size=(2, 2))

    def loss(model):
        return jnp.square(model(x, jnp.array([1.0, 9.0]), c)).sum()

    grads = quick_jit(nnx.grad(loss))(model)
    for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
        assert np.abs(np.asarray(leaf)).max() > 0, jax.tree_util.keystr(path)


@pytest.mark.slow
def test_it_learns_to_remove_noise(rng):
    """The loss of a diffusion falls, for images that are all turned alike."""
    model = GroupUNet(group=P4M, in_features=1, rngs=nnx.Rngs(0), **SMALL)
    optimizer = nnx.Optimizer(model, optax.adam(3e-3), wrt=nnx.Param)
    image = np.zeros((8, 8, 1), np.float32)
    image[2:6, 3] = 1.0

    @nnx.jit
    def step(model, optimizer, key):
        keys = jax.random.split(key)
        noise = jax.random.normal(keys[0], (16, 8, 8, 1))
        share = jax.random.uniform(keys[1], (16,))
        x = jnp.sqrt(1 - share)[:, None, None, None] * image
        x = x + jnp.sqrt(share)[:, None, None, None] * noise

        def loss(model):
            return jnp.square(model(x, 1000 * share) - noise).mean()

        value, grads = nnx.value_and_grad(loss)(model)
        optimizer.update(model, grads)
        return value

    losses = [float(step(model, optimizer, jax.random.key(i))) for i in range(40)]
    assert losses[0] > 0.9
    assert np.mean(losses[-10:]) < 0.4


@pytest.mark.slow  # exported in tests/export/test_blocks.py
def test_frozen_and_exported(rng, tmp_path):
    model = GroupUNet(group=P4M, in_features=1, rngs=nnx.Rngs(0), **(SMALL | {"multipliers": (2,)}))
    state = nnx.state(model, nnx.Param)
    state = jax.tree.map(lambda p: p + 0.1 * jnp.asarray(rng.normal(size=p.shape), p.dtype), state)
    nnx.update(model, state)
    x = jnp.asarray(rng.normal(size=(2, 8, 8, 1)), jnp.float32)
    y = model(x)
    assert float(abs(y).max()) > 1e-2
    assert_close(freeze(model)(x), y, atol=1e-4)
    stablehlo(model, (None, 8, 8, 1), tmp_path / "unet.jax")
    exported = jax.export.deserialize((tmp_path / "unet.jax").read_bytes())
    assert_close(exported.call(x), y, atol=1e-4)


def test_short_types(rng):
    model = GroupUNet(group=P4, in_features=1, dtype=jnp.bfloat16, rngs=nnx.Rngs(0), **SMALL)
    assert model(jnp.ones((1, 4, 4, 1), jnp.bfloat16), jnp.ones(1)).dtype == jnp.bfloat16


def test_embedded_times():
    y = embed_times(jnp.array([0, 1]), 6)
    frequencies = 10.0 ** np.array([0, -4 / 3, -8 / 3])
    expected = np.array([[1, 1, 1, 0, 0, 0], [*np.cos(frequencies), *np.sin(frequencies)]])
    assert_close(y, expected.astype(np.float32), atol=1e-5)


def test_bad_input():
    model = nnx.eval_shape(lambda: GroupUNet(in_features=1, rngs=nnx.Rngs(0), **SMALL))
    with pytest.raises(ValueError, match=r"sides divisible by 2, got shape \(1, 5, 4, 1\)"):
        model(jnp.ones((1, 5, 4, 1)))
    with pytest.raises(ValueError, match=r"`time` must be \[N=1\], got shape \(2,\)"):
        model(jnp.ones((1, 4, 4, 1)), jnp.ones(2))
    with pytest.raises(ValueError, match=r"`condition` must have shape None, got \(1, 3\)"):
        model(jnp.ones((1, 4, 4, 1)), condition=jnp.ones((1, 3)))
    for options, message in [
        ({"multipliers": ()}, "`multipliers` must have a number for each scale"),
        ({"attention": (2,)}, "`attention` must be 0 or 1, got 2"),
        ({"padding": "VALID"}, "`padding` must be 'SAME' or 'CIRCULAR'"),
        ({"heads": 3}, "`num_heads` must divide"),
        ({"group": P6}, "square pixels or voxels for GroupUNet, got P6"),
        ({"dropout": 2}, "`dropout` must be a number from 0 to 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            GroupUNet(rngs=nnx.Rngs(0), **(SMALL | options))
    with pytest.raises(TypeError, match="must be a Fields"):
        GroupUNet(out_fields=3, rngs=nnx.Rngs(0), **SMALL)
