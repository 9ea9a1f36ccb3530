"""LeNet, networks with several groups, and the upright-to-turned network: sizes and invariance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gconv_jax import P4, P4M, Z2, cyclic, dihedral, group_conv, lift_conv, mirror
from gconv_jax.models import (
    LETTER_WIDTHS,
    P4CNN,
    Z2CNN,
    EarlyP4CNN,
    GroupEquivariantCNN,
    LeNet,
    MixedGroupCNN,
    PlainCNN,
)
from gconv_jax.models.group_equivariant_cnn import _layer_norm
from gconv_jax.testing import assert_equivariant, equivariance_errors
from tests.helpers import (
    BY_NAME,
    assert_close,
    evaluated,
    image,
    invariance_error,
    parameters,
    quick_jit,
    random_float64,
    some_cases,
)

SMALL = {
    LeNet: {"widths": (2, 3), "hidden": 4},
    MixedGroupCNN: {"widths": 2},
    PlainCNN: {"widths": 2},
    EarlyP4CNN: {"widths": 2},
    GroupEquivariantCNN: {"width": 2},
}
every_network = pytest.mark.parametrize("network", SMALL)
DIAGONAL = P4M.subgroup(5)


def letters(name: str) -> dict:
    return {"classes": 47, "widths": LETTER_WIDTHS[name]}


@pytest.mark.parametrize(
    ("build", "options", "count"),
    [
        (LeNet, {"group": Z2}, 216_212),
        (LeNet, {"group": P4}, 216_122),
        (LeNet, {"group": P4M}, 216_465),
        (PlainCNN, {}, 21_750),
        (EarlyP4CNN, {}, 25_170),
        (MixedGroupCNN, {"groups": (P4,)}, 24_680),
        (PlainCNN, letters("plain"), 110_909),
        (EarlyP4CNN, letters("early"), 111_416),
        (MixedGroupCNN, {"groups": (P4,), **letters("p4")}, 108_411),
        (GroupEquivariantCNN, {"group": Z2}, 103_690),
        (GroupEquivariantCNN, {"group": P4}, 102_970),
        (GroupEquivariantCNN, {"group": P4, "use_bias": True}, 102_970 + 5 * 16),
    ],
)
def test_number_of_parameters(build, options, count):
    model = nnx.eval_shape(lambda: build(rngs=nnx.Rngs(0), **options))
    assert parameters(model) == count


@pytest.mark.parametrize("group", [Z2, mirror(), P4, P4M])
def test_lenet_has_the_hidden_units_that_come_nearest(group):
    def distance(hidden):
        build = lambda: LeNet(group=group, in_features=3, hidden=hidden, rngs=nnx.Rngs(0))  # noqa: E731
        return abs(parameters(nnx.eval_shape(build)) - 216_000)

    model = nnx.eval_shape(lambda: LeNet(group=group, in_features=3, rngs=nnx.Rngs(0)))
    hidden = model.linear1.in_features
    assert distance(hidden) <= min(distance(hidden - 1), distance(hidden + 1))


@pytest.mark.parametrize("network", SMALL)
def test_logits(network, rng):
    fn = evaluated(network, rng, classes=5, in_features=3, **SMALL[network])
    logits = fn(jnp.ones((2, 28, 28, 3)))
    assert logits.shape == (2, 5) and np.isfinite(np.asarray(logits)).all()


def test_lenet_keeps_the_law_up_to_its_linear_layers(rng, x64):
    model = random_float64(lambda: LeNet(group=P4, rngs=nnx.Rngs(0), **SMALL[LeNet]), rng)
    errors = equivariance_errors(model, image(rng, BY_NAME["p4"], 28, 1), group=P4).errors
    assert list(errors) == ["conv0", "conv1", "linear0", "linear1", "output"]
    assert max(errors["conv0"].max(), errors["conv1"].max()) < 1e-10
    assert errors["output"].max() > 1e-3


MIXED = [  # groups, the one under which the logits are invariant, a larger one
    ((P4M, P4M, P4, cyclic(2)), "p2", "p4"),
    ((P4M, P4), "p4", "p4m"),
    ((P4M, DIAGONAL), "diagonal", "pmm"),  # neither normal nor the first elements
    ((P4M,) * 3 + (dihedral(2),) * 3 + (mirror(),), "mirror", "flip"),
]


@pytest.mark.one_in(10)
@pytest.mark.parametrize(("groups", "own", "larger"), MIXED)
def test_logits_are_invariant_under_the_last_group_alone(groups, own, larger, rng, x64):
    fn = evaluated(MixedGroupCNN, rng, groups=groups, widths=2, classes=4)
    x = image(rng, BY_NAME[own], 28, 1, batch=2)
    assert invariance_error(fn, BY_NAME[own], x) < 1e-10
    assert invariance_error(fn, BY_NAME[larger], x) > 1e-3


def test_mixed_network_by_the_public_check(rng, x64):
    fn = evaluated(MixedGroupCNN, rng, groups=(P4M, P4), widths=2)
    x = image(rng, BY_NAME["p4"], (28, 30), 1)
    assert_equivariant(fn, x, group=P4)
    with pytest.raises(AssertionError, match="4 of the 8 elements"):
        assert_equivariant(fn, x, group=P4M)


def test_groups_are_stretched_over_the_layers():
    def groups(*given):
        return nnx.eval_shape(lambda: MixedGroupCNN(groups=given, rngs=nnx.Rngs(0))).groups

    assert groups(P4) == (P4,) * 7
    assert groups(P4M, Z2) == (P4M,) * 4 + (Z2,) * 3
    assert groups(P4M, P4M, P4, Z2) == (P4M,) * 4 + (P4,) * 2 + (Z2,)
    each = (P4M, P4M, P4M, P4, cyclic(2), cyclic(2), Z2)
    assert groups(*each) == each


def test_default_widths_follow_each_layers_group():
    model = nnx.eval_shape(lambda: MixedGroupCNN(groups=(P4M, P4, Z2), rngs=nnx.Rngs(0)))
    assert [getattr(model, f"layer{i}").conv.out_features for i in range(6)] == [
        *(7, 7, 7, 10, 10),
        20,
    ]
    # Two cosets become channels from P4M to P4, four from P4 to Z2.
    assert model.layer3.conv.in_features == 2 * 7
    assert model.layer5.conv.in_features == 4 * 10


def test_p4cnn_is_the_published_sequence(rng, x64):
    """Written out with the pure functions: 28 - 26 - 24 - 12 - 10 - 8 - 6 - 4 - 1 pixels."""
    model = random_float64(lambda: P4CNN(rngs=nnx.Rngs(0)), rng)
    model.eval()
    y = x = image(rng, BY_NAME["p4"], 28, 1, batch=2)
    for i in range(6):
        conv, norm = getattr(model, f"layer{i}").conv, getattr(model, f"layer{i}").norm
        convolve = group_conv if i else lift_conv
        y = convolve(y, conv.kernel[...], group=P4, bias=conv.bias[...], padding="VALID")
        y = (y - norm.mean[...]) / jnp.sqrt(norm.var[...] + 2e-5)
        y = jnp.maximum(y * norm.scale[...] + norm.bias[...], 0)
        if i == 1:
            y = y.reshape(2, 12, 2, 12, 2, 4, 10).max((2, 4))
    y = group_conv(y, model.top.kernel[...], group=P4, bias=model.top.bias[...], padding="VALID")
    assert y.shape == (2, 1, 1, 4, 10)
    expected = y.max((1, 2, 3))
    assert_close(model(x), expected, atol=1e-10 * float(jnp.abs(expected).max()))


def test_without_symmetry_it_is_the_plain_network(rng, x64):
    """Given the same numbers, the same logits. `Z2CNN` is made of Flax's own convolutions."""
    one = random_float64(lambda: Z2CNN(rngs=nnx.Rngs(0)), rng)
    other = nnx.eval_shape(lambda: PlainCNN(rngs=nnx.Rngs(0)))
    one.eval()
    other.eval()
    graphdef, state, rest = nnx.split(one, (nnx.Param, nnx.BatchStat), ...)
    other_graphdef, other_state = nnx.split(other)
    numbers, _ = jax.tree.flatten_with_path(state)
    shapes, other_tree = jax.tree.flatten_with_path(other_state)
    assert [path for path, _ in numbers] == [path for path, _ in shapes]
    reshaped = [a.reshape(b.shape) for (_, a), (_, b) in zip(numbers, shapes, strict=True)]
    other_state = jax.tree.unflatten(other_tree, reshaped)

    x = image(rng, BY_NAME["p4"], 28, 1, batch=2)
    expected = quick_jit(lambda x: nnx.merge(graphdef, state, rest)(x))(x)
    logits = quick_jit(lambda x: nnx.merge(other_graphdef, other_state)(x))(x)
    assert_close(logits, expected, atol=1e-10 * float(jnp.abs(expected).max()))


def test_early_network_is_not_invariant(rng, x64):
    fn, case = evaluated(EarlyP4CNN, rng, widths=2), BY_NAME["p4"]
    assert invariance_error(fn, case, image(rng, case, 28, 1, batch=2)) > 1e-3


@pytest.mark.parametrize(
    ("groups", "error", "match"),
    [
        ((P4, P4M), ValueError, r"`groups` must get smaller .*: groups\[1\] = P4M is no"),
        (
            (P4M, P4, mirror()),
            ValueError,
            r"groups\[2\] = dihedral\(1\) is no subgroup of groups\[",
        ),
        ((), ValueError, "`groups` must be 1 to 7 groups, got 0"),
        ((Z2,) * 8, ValueError, "`groups` must be 1 to 7 groups, got 8"),
        (P4, TypeError, "`groups` must be a sequence of groups .*, got P4"),
        ((P4, "Z2"), TypeError, r"`groups\[1\]` must be a FiniteGroup .* got 'Z2'"),
        ((mirror(dimension=1),), ValueError, r"`groups\[0\]` must act on the plane"),
    ],
)
def test_bad_groups(groups, error, match):
    with pytest.raises(error, match=match):
        MixedGroupCNN(groups=groups, rngs=nnx.Rngs(0))


@some_cases("p4", "p4m", "p2", "mirror", "Z2")
def test_logits_of_the_upright_network_are_invariant(case, rng, x64):
    fn = evaluated(GroupEquivariantCNN, rng, group=case.group, width=2)
    assert invariance_error(fn, case, image(rng, case, 22, 1, batch=2)) < 1e-10


def test_upright_network_on_other_images(rng, x64):
    fn = evaluated(GroupEquivariantCNN, rng, width=2)
    x = image(rng, BY_NAME["p4"], (21, 24), 1)
    assert_equivariant(fn, x, group=P4)
    with pytest.raises(AssertionError, match="4 of the 8 elements"):
        assert_equivariant(fn, x, group=P4M)


def test_upright_network_normalizes_each_image_by_itself(rng, x64):
    """The moments are over group, space and channels, as Flax has them over the same axes."""
    fn = evaluated(GroupEquivariantCNN, rng, width=2)
    x = image(rng, BY_NAME["p4"], 21, 1, batch=2)
    assert_close(fn(x)[0], fn(x * [[[[1]]], [[[3]]]])[0], atol=1e-10)
    y = 3 + rng.normal(size=(2, 5, 6, 4, 3))
    norm = nnx.LayerNorm(
        3,
        epsilon=1e-5,
        use_bias=False,
        use_scale=False,
        reduction_axes=(1, 2, 3, 4),
        param_dtype=jnp.float64,
        rngs=nnx.Rngs(0),
    )
    assert_close(_layer_norm(jnp.asarray(y)), norm(jnp.asarray(y)), atol=1e-10)


def test_upright_network_is_drawn_as_in_pytorch():
    """Filters and biases from U(-b, b) with b = 1 / sqrt(fan_in)."""
    model = GroupEquivariantCNN(group=P4, width=4, use_bias=True, rngs=nnx.Rngs(0))
    for layer, fan_in in ((model.conv0, 25), (model.conv3, 25 * 4 * 4), (model.linear, 4)):
        bound = fan_in**-0.5
        assert 0.8 * bound < np.abs(np.asarray(layer.kernel[...])).max() <= bound
        assert 0 < np.abs(np.asarray(layer.bias[...])).max() <= bound


def test_two_networks_are_equal_to_flax():
    """Otherwise a function compiled for one would be compiled again for the other."""
    for network, options in SMALL.items():
        one, two = (
            nnx.split(nnx.eval_shape(lambda n=network, o=options: n(rngs=nnx.Rngs(0), **o)))[0]
            for _ in range(2)
        )
        assert one == two and hash(one) == hash(two)


@pytest.mark.parametrize(
    ("network", "options", "error", "match"),
    [
        (LeNet, {"widths": (1, 2, 3)}, ValueError, "`widths` must be an integer or 2 integers"),
        (LeNet, {"group": "p4"}, TypeError, "`group` must be a FiniteGroup .* got 'p4'"),
        (LeNet, {"group": mirror(dimension=1)}, ValueError, "`group` must act on the plane"),
        (GroupEquivariantCNN, {"group": None}, TypeError, "`group` must be a FiniteGroup"),
        (EarlyP4CNN, {"group": None}, TypeError, "`group` must be a FiniteGroup"),
        (PlainCNN, {"widths": (20, 20, 20)}, ValueError, "`widths` must be an integer or 6 "),
    ],
)
def test_bad_options(network, options, error, match):
    with pytest.raises(error, match=match):
        network(rngs=nnx.Rngs(0), **options)


@pytest.mark.parametrize(
    ("network", "shapes", "match"),
    [
        (LeNet, [(1, 27, 28, 1), (1, 30, 30, 1)], r"`x` must be images \[N, 28, 28, C\], since"),
        (MixedGroupCNN, [(1, 27, 28, 1), (1, 28, 27, 1)], "of at least 28 x 28 pixels"),
        (GroupEquivariantCNN, [(1, 20, 28, 1), (1, 28, 20, 1)], "of at least 21 x 21 pixels"),
    ],
)
def test_images_it_cannot_take(network, shapes, match):
    model = nnx.eval_shape(lambda: network(rngs=nnx.Rngs(0), **SMALL[network]))
    for shape in (*shapes, (28, 28, 1), (1, 1, 28, 28, 1)):
        with pytest.raises(ValueError, match=match):
            nnx.eval_shape(lambda model, shape=shape: model(jnp.ones(shape)), model)


@every_network
def test_half_precision(network):
    model = nnx.eval_shape(lambda: network(dtype=jnp.bfloat16, rngs=nnx.Rngs(0), **SMALL[network]))
    logits = nnx.eval_shape(lambda model: model(jnp.ones((1, 28, 28, 1))), model)
    assert logits.dtype == jnp.bfloat16
    assert all(p.dtype == jnp.float32 for p in jax.tree.leaves(nnx.state(model, nnx.Param)))
