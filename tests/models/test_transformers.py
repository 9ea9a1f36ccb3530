"""Transformers and ConvNeXt over groups: the law, both bases, and what breaks it on purpose."""

import copy

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gconv_jax import P4M, P6, Z2, Fields, cyclic, octahedral
from gconv_jax.export import freeze, onnx, stablehlo
from gconv_jax.models import GroupConvNeXt, GroupViT, TransformerBlock
from gconv_jax.testing import assert_equivariant, equivariance_errors
from tests.helpers import (
    BY_NAME,
    Case,
    assert_close,
    evaluated,
    image,
    invariance_error,
    quick_jit,
    random_float64,
)

VIT = {"depth": 2, "heads": 2, "patch_size": 2, "in_features": 2, "mlp_ratio": 2}
CONVNEXT = {"depths": (1, 1), "patch_size": 1, "in_features": 2, "kernel_size": 3}
CUBE = Case("octahedral", octahedral(), octahedral().matrices)
POSITIONS = [
    {},
    {"basis": "regular"},
    {"positions": None},
    {"positions": "relative", "image_size": 8},
    {"positions": "absolute", "image_size": 8},
    {"positions": "absolute", "image_size": 8, "head": "token"},
    {"head": "token", "basis": "regular"},
    {"window": 2, "depth": 4},
    {"positions": "relative", "image_size": 8, "window": 2, "basis": "regular"},
    {"drop_path": 0.5},
]


def vit(group, **options):
    """Return options of a small transformer, with four channels for each element."""
    return VIT | {"group": group, "width": 4 * group.order} | options


@pytest.mark.parametrize("options", POSITIONS, ids=str)
def test_logits_of_the_transformer_are_invariant(options, rng, x64):
    case = BY_NAME["p4m"]
    fn = evaluated(GroupViT, rng, **vit(case.group, **options))
    assert invariance_error(fn, case, image(rng, case, 8, batch=2)) < 1e-12


@pytest.mark.one_in(7)
@pytest.mark.parametrize("name", ["p4", "diagonals", "mirror", "flip", "line-mirror"])
def test_other_groups(name, rng, x64):
    case = BY_NAME[name]
    x = image(rng, case, 8, batch=2)
    fn = evaluated(GroupViT, rng, **vit(case.group))
    assert invariance_error(fn, case, x) < 1e-12
    widths = (2 * case.order, 4 * case.order)
    fn = evaluated(GroupConvNeXt, rng, group=case.group, widths=widths, **CONVNEXT)
    assert invariance_error(fn, case, x) < 1e-12


def test_voxels(rng, x64):
    x = image(rng, CUBE, 4, batch=2)
    fn = evaluated(GroupViT, rng, **vit(CUBE.group, depth=1))
    assert invariance_error(fn, CUBE, x) < 1e-12
    options = CONVNEXT | {"depths": (1,), "patch_size": 2}
    fn = evaluated(GroupConvNeXt, rng, group=CUBE.group, widths=(48,), **options)
    assert invariance_error(fn, CUBE, x) < 1e-12


@pytest.mark.one_in(7)
@pytest.mark.parametrize("model", [GroupViT, GroupConvNeXt])
def test_velocities_as_input(model, rng):
    options = CONVNEXT | {"group": P4M, "widths": (16, 32)}
    options = vit(P4M, depth=1) if model is GroupViT else options
    fields = Fields(vectors=1)
    network = model(in_fields=fields, rngs=nnx.Rngs(0), **options)
    x = rng.normal(size=(2, 8, 8, 2)).astype(np.float32)
    assert_equivariant(network, x, group=P4M, input_action=fields)
    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(network, x, group=P4M)


def test_finer_rotations_are_exact_for_quarter_turns(rng, x64):
    case = BY_NAME["p4"]
    x = image(rng, case, 8, batch=2)
    for model, options in (
        (GroupViT, vit(cyclic(8))),
        (GroupConvNeXt, CONVNEXT | {"group": cyclic(8), "widths": (16, 32)}),
    ):
        assert invariance_error(evaluated(model, rng, **options), case, x) < 1e-12


def test_both_bases_are_the_same_function(rng, x64):
    for options in ({}, {"window": 2}, {"head": "token"}, {"equivariant_blocks": 1}):
        seed = np.random.default_rng(1)
        fns = [
            evaluated(GroupViT, copy.deepcopy(seed), **vit(P4M, basis=basis, **options))
            for basis in ("regular", "irreps")
        ]
        x = image(rng, BY_NAME["p4m"], 8, batch=2)
        assert_close(fns[0](x), fns[1](x), atol=1e-12)


@pytest.mark.parametrize(("backend", "basis"), [("cpu", "irreps"), ("gpu", "regular")])
def test_the_default_basis_is_that_of_the_device(monkeypatch, backend, basis):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    assert nnx.eval_shape(lambda: GroupViT(rngs=nnx.Rngs(0))).basis == basis


def test_negative_controls(rng, x64):
    case = BY_NAME["p4m"]
    x = image(rng, case, 8, batch=2)
    plain = vit(Z2, width=16)
    ordinary = [
        plain,
        vit(P4M, equivariant_blocks=1),
        plain | {"positions": "relative", "image_size": 8},
    ]
    for options in ordinary:
        assert invariance_error(evaluated(GroupViT, rng, **options), case, x) > 1e-2
    fn = evaluated(GroupConvNeXt, rng, group=Z2, widths=(8, 16), **CONVNEXT)
    assert invariance_error(fn, case, x) > 1e-2


def test_an_ordinary_head_alone_depends_on_the_pose(rng, x64):
    """All layers below it keep the law, and a group of one element has no other head."""
    case = BY_NAME["p4"]
    options = CONVNEXT | {"group": case.group, "widths": (8, 16), "head": "ordinary"}
    model = random_float64(lambda: GroupConvNeXt(rngs=nnx.Rngs(0), **options), rng)
    x = image(rng, case, 8, batch=2)
    assert invariance_error(model, case, x) > 1e-2
    errors = equivariance_errors(model, x, group=case.group, perturb=False).errors
    assert errors.pop("output").max() > 1e-2
    errors.pop("top")
    assert max(e.max() for e in errors.values()) < 1e-12
    plain = CONVNEXT | {"group": Z2, "widths": (8, 16)}
    one, other = (
        GroupConvNeXt(head=head, rngs=nnx.Rngs(0), **plain) for head in ("invariant", "ordinary")
    )
    np.testing.assert_array_equal(one(x), other(x))
    with pytest.raises(ValueError, match="`head` must be invariant or ordinary, got 'published'"):
        GroupConvNeXt(head="published", rngs=nnx.Rngs(0), **plain)


@pytest.mark.one_in(7)
@pytest.mark.parametrize("head", ["mean", "token"])
def test_the_blame_is_on_the_ordinary_block(head, rng):
    """Lists of tokens ``[N, 17, 8, C]`` and ``[N, 16, 1, C]`` are not taken for images."""
    options = vit(P4M, equivariant_blocks=1, basis="regular", head=head)
    x = rng.normal(size=(2, 8, 8, 2)).astype(np.float32)
    seen = {"mean": "after 'block0'", "token": "after 'embed'"}[head]
    with pytest.raises(AssertionError, match=f"what comes {seen} breaks the law"):
        assert_equivariant(GroupViT(rngs=nnx.Rngs(0), **options), x, group=P4M)


def test_drop_path_in_training(rng, x64):
    """A branch is dropped for a whole example: turned images with the same keys turn the same."""
    model = random_float64(
        lambda: GroupViT(rngs=nnx.Rngs(0), **vit(P4M, drop_path=0.9, depth=4)), rng
    )
    graphdef, state = nnx.split(model)

    def train(x):
        model = nnx.merge(graphdef, state, copy=True)
        model.train()
        return np.asarray(model(jnp.asarray(x)))

    x = rng.normal(size=(6, 8, 8, 2))
    y = train(x)
    assert_close(train(np.rot90(x, axes=(1, 2))), y, atol=1e-12)
    model.eval()
    assert np.abs(np.asarray(model(x)) - y).max() > 1e-3


@pytest.mark.parametrize(
    ("model", "options"),
    [
        pytest.param(GroupViT, vit(P4M, width=32, depth=1, drop_path=0.1), marks=pytest.mark.slow),
        pytest.param(
            GroupViT,
            vit(P4M, width=32, window=2, positions="relative", image_size=8),
            marks=pytest.mark.slow,
        ),
        (GroupConvNeXt, CONVNEXT | {"group": P4M, "widths": (16, 32)}),
    ],
    ids=["vit", "windows", "convnext"],
)
def test_exported_for_batches_of_any_size(model, options, rng, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    network = model(rngs=nnx.Rngs(0), **options)
    network.eval()
    x = rng.normal(size=(3, 8, 8, 2)).astype(np.float32)
    expected = network(x)
    assert_close(freeze(network)(x), expected, atol=1e-5)
    stablehlo(network, (None, 8, 8, 2), tmp_path / "model.jax")
    program = jax.export.deserialize((tmp_path / "model.jax").read_bytes())
    assert_close(program.call(x), expected, atol=1e-5)
    onnx(network, (None, 8, 8, 2), tmp_path / "model.onnx")
    (y,) = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(None, {"x": x})
    assert_close(y, expected, atol=1e-4)


def test_gradients_reach_every_parameter(rng):
    absolute = {"positions": "absolute", "image_size": 8, "head": "token"}
    for network in (
        GroupViT(rngs=nnx.Rngs(0), **vit(P4M, depth=1, **absolute)),
        GroupViT(rngs=nnx.Rngs(0), **vit(P4M, depth=1)),
        GroupConvNeXt(rngs=nnx.Rngs(0), group=P4M, widths=(16, 32), scale=0.5, **CONVNEXT),
    ):
        x = jnp.asarray(rng.normal(size=(2, 8, 8, 2)), jnp.float32)
        graphdef, state = nnx.split(network, nnx.Param)

        def loss(state, graphdef=graphdef, x=x):
            return jnp.square(nnx.merge(graphdef, state)(x)).sum()

        grads = quick_jit(jax.grad(loss))(state)
        for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
            name = jax.tree_util.keystr(path)
            shifts = "key" in name and "bias" in name  # of all scores of a query alike
            assert shifts or float(jnp.abs(leaf).max()) > 0, name


def test_bad_input():
    def build(**options):
        return nnx.eval_shape(lambda: GroupViT(rngs=nnx.Rngs(0), **vit(P4M) | options))

    model = GroupViT(rngs=nnx.Rngs(0), **vit(P4M, patch_size=4, depth=1))
    with pytest.raises(ValueError, match=r"\[N, H, W, C=2\] with sides divisible by 4, got shape"):
        model(jnp.ones((1, 8, 10, 2)))
    with pytest.raises(ValueError, match=r"\[N, H, W, C=2\] with sides divisible by 4, got shape"):
        model(jnp.ones((1, 8, 8, 3)))
    with pytest.raises(ValueError, match="`width` must be divisible by the 8 elements of P4M"):
        build(width=36)
    with pytest.raises(ValueError, match="`heads` must divide the 4 channels"):
        build(heads=3)
    with pytest.raises(ValueError, match="`rotary` must be False for 1 channels in each head"):
        build(heads=4)
    with pytest.raises(ValueError, match="`positions` must be one of rotary, relative, absolute"):
        build(positions="learned")
    with pytest.raises(ValueError, match="`image_size` must be given for positions='absolute'"):
        build(positions="absolute")
    with pytest.raises(ValueError, match="`image_size` must be divisible by patch_size=2, got 7"):
        build(positions="absolute", image_size=7)
    with pytest.raises(ValueError, match="`table` must be square"):
        GroupViT(rngs=nnx.Rngs(0), **vit(P4M, positions="absolute", image_size=(8, 4)))
    model = GroupViT(rngs=nnx.Rngs(0), **vit(P4M, positions="relative", image_size=8, depth=1))
    with pytest.raises(ValueError, match=r"sides of \(4, 4\) patches, as `image_size` says, got"):
        model(jnp.ones((1, 4, 4, 2)))
    with pytest.raises(ValueError, match="`head` must be 'mean' with windows"):
        build(window=2, head="token")
    with pytest.raises(ValueError, match="`size` must be one of tiny, small, base"):
        build(size="huge")
    with pytest.raises(ValueError, match="`basis` must be 'auto', 'regular' or 'irreps'"):
        build(basis="fourier")
    with pytest.raises(ValueError, match="must act on square pixels or voxels for GroupViT"):
        build(group=P6)
    with pytest.raises(ValueError, match=r"`widths\[1\]` must be divisible by the 8 elements"):
        GroupConvNeXt(depths=(1, 1), widths=(8, 12), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="`depths` and `widths` must have a number for each"):
        GroupConvNeXt(depths=(1, 1), widths=(8,), rngs=nnx.Rngs(0))
    for model in (GroupViT, GroupConvNeXt):
        with pytest.raises(ValueError, match="`drop_path` must be a number from 0 to 1"):
            model(drop_path=1.5, rngs=nnx.Rngs(0))
        with pytest.raises(ValueError, match="`classes` must be at least 0"):
            model(classes=-1, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="`positions` must be rotary, relative or None, got 'abs"):
        TransformerBlock(4, 2, positions="absolute", group=P4M, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="`grid` must be the sides of the tokens for relative"):
        TransformerBlock(4, 2, positions="relative", group=P4M, rngs=nnx.Rngs(0))
    block = TransformerBlock(4, 2, window=2, group=P4M, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="`x` must be a feature map for windows"):
        block(jnp.ones((1, 16, 8, 4)))


def test_no_images():
    model = GroupViT(rngs=nnx.Rngs(0), **vit(P4M, depth=1))
    assert model(jnp.ones((0, 8, 8, 2))).shape == (0, 10)
