"""Checks of functions that take or return several arrays, and features in the Fourier basis."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gconv_jax import (
    P4,
    P4M,
    Fields,
    from_irreps,
    group_conv,
    group_linear,
    group_pool,
    lift_conv,
    octahedral,
    project_fields,
    to_irreps,
)
from gconv_jax.nnx import GroupConv, GroupLinear, LiftConv
from gconv_jax.testing import assert_equivariant, equivariance_errors

VELOCITY = Fields(vectors=1)


class Heads(nnx.Module):
    """An image and a velocity in; logits, a force, features and features in irreps out."""

    def __init__(self, group, rngs):
        options = {"group": group, "rngs": rngs}
        d = group.dimension
        self.group = group
        self.image = LiftConv(1, 3, 3, **options)
        self.flow = LiftConv(d, 3, 3, fields=VELOCITY, **options)
        self.conv = GroupConv(3, d, 3, **options)

    def __call__(self, inputs):
        x = nnx.tanh(self.image(inputs["image"]) + self.flow(inputs["flow"]))
        y = self.conv(x)
        space = tuple(range(1, y.ndim - 2))
        return {
            "logits": group_pool(y).mean(space),
            "force": project_fields(y, group=self.group, fields=VELOCITY),
            "maps": (y, to_irreps(x, group=self.group)),
            "tokens": y.mean(space),
        }


def inputs(rng, group):
    shape = (2, *group.dimension * (4,))
    return {
        "image": rng.normal(size=(*shape, 1)),
        "flow": rng.normal(size=(*shape, group.dimension)),
    }


ACTIONS = {
    "input_action": {"image": None, "flow": VELOCITY},
    "output_action": {
        "logits": "invariant",
        "force": VELOCITY,
        "maps": None,
        "tokens": "orientations",
    },
}


@pytest.mark.parametrize("group", [P4, P4M, octahedral()], ids=str)
def test_a_model_of_several_inputs_and_results(group, rng, x64):
    model = Heads(group, nnx.Rngs(0))
    x = inputs(rng, group)
    assert_equivariant(model, x, group=group, rtol=1e-5, **ACTIONS)
    errors = equivariance_errors(model, x, group=group, **ACTIONS).errors
    assert {"image", "flow", "conv"} <= set(errors)
    assert max(errors[name].max() for name in ("image", "flow", "conv")) < 1e-5


@pytest.mark.parametrize(
    ("part", "wrong"),
    [("force", "image"), ("tokens", "invariant"), ("logits", lambda y, g: y + g)],
)
def test_negative_controls_name_the_array(part, wrong, rng, x64):
    model, actions = Heads(P4M, nnx.Rngs(0)), dict(ACTIONS)
    actions["output_action"] = ACTIONS["output_action"] | {part: wrong}
    with pytest.raises(AssertionError, match=rf"Heads at \['{part}'\] is not equivariant"):
        assert_equivariant(model, inputs(rng, P4M), group=P4M, **actions)
    actions = ACTIONS | {"input_action": None}  # velocities for two numbers
    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(model, inputs(rng, P4M), group=P4M, **actions)


def test_features_in_irreps_in_and_out(rng, x64):
    w = rng.normal(size=(8, 3, 2))
    x = to_irreps(rng.normal(size=(2, 4, 4, 8, 3)), group=P4M)
    assert_equivariant(lambda x: group_linear(x, w, group=P4M), x, group=P4M)
    tokens = to_irreps(rng.normal(size=(2, 5, 8, 3)), group=P4M)
    orientations = {"input_action": "orientations", "output_action": "orientations"}
    assert_equivariant(lambda x: group_linear(x, w, group=P4M), tokens, group=P4M, **orientations)
    layer = GroupLinear(3, 2, group=P4M, rngs=nnx.Rngs(0))
    assert_equivariant(layer, x, group=P4M, rtol=1e-5)
    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(lambda x: x.map(jnp.abs), x, group=P4M)
    with pytest.raises(AssertionError, match="not equivariant"):  # a component of an irrep
        assert_equivariant(lambda x: x.parts["2a"][..., 0, 0, :], x, group=P4M)
    pooled = to_irreps(rng.normal(size=(5, 8, 3)), group=P4M)
    with pytest.raises(ValueError, match=r"cannot read off the shape \(5, 8, 3\) of the input"):
        assert_equivariant(from_irreps, pooled, group=P4M)


def test_tuples_and_one_action_for_all(rng, x64):
    w = rng.normal(size=(3, 3, 2, 2))
    v = rng.normal(size=(3, 3, 4, 2, 2))

    def two(pair):
        a, b = pair
        maps = lift_conv(a, w, group=P4), lift_conv(b, w, group=P4)
        return [group_conv(m, v, group=P4) for m in maps]

    pair = tuple(rng.normal(size=(2, 1, 5, 5, 2)))
    assert_equivariant(two, pair, group=P4)
    assert_equivariant(two, pair, group=P4, input_action="image", output_action="feature_map")
    one = {"a": pair[0]}  # a tree of one array has a tree of one action
    assert_equivariant(
        lambda x: {"b": lift_conv(x["a"], w, group=P4)},
        one,
        group=P4,
        input_action={"a": "image"},
        output_action={"b": "feature_map"},
    )
    with pytest.raises(AssertionError, match=r"two at \[0\] is not|two at \[1\] is not"):
        assert_equivariant(two, pair, group=P4, output_action="invariant")


def test_bad_input(rng):
    x = inputs(rng, P4M)
    model = Heads(P4M, nnx.Rngs(0))
    with pytest.raises(
        ValueError, match="`input_action` must be one action, or have the structure"
    ):
        assert_equivariant(model, x, group=P4M, input_action={"image": None})
    with pytest.raises(ValueError, match="`output_action` must be one action, or have the"):
        assert_equivariant(
            model, x, group=P4M, output_action=[None, None], input_action=ACTIONS["input_action"]
        )
    with pytest.raises(TypeError, match="must return an array or a tree of arrays, got str"):
        assert_equivariant(lambda x: (x, "no array"), jnp.ones((1, 4, 4, 1)), group=P4)
    with pytest.raises(TypeError, match="must return an array or a tree of arrays, got NoneType"):
        assert_equivariant(lambda x: None, jnp.ones((1, 4, 4, 1)), group=P4)


def test_a_result_that_is_not_there_for_some_elements_fails():
    def sometimes(x):
        return {"a": x} | ({"b": x} if float(x[0, 0, 0, 0]) == 0 else {})

    x = np.arange(16.0).reshape(1, 4, 4, 1)
    with pytest.raises(AssertionError, match=r"sometimes at \['b'\] is not equivariant"):
        assert_equivariant(sometimes, x, group=P4)
    assert jax.tree.structure(sometimes(x)).num_leaves == 2
