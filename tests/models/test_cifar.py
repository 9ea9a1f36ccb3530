"""All-CNN-C and the residual networks: published sizes, both geometries, both heads."""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gconv_jax import P4, P4M, Z2, InexactEquivarianceWarning, cyclic, dihedral, mirror
from gconv_jax.models import AllCNNC, ResNet, ResNet26, ResNet44
from gconv_jax.models._downsample import halve
from gconv_jax.testing import assert_equivariant, smooth_images
from tests.helpers import (
    BY_NAME,
    act,
    assert_close,
    evaluated,
    feature_map,
    image,
    invariance_error,
    law_error,
    parameters,
    quick_jit,
    random_float64,
    some_cases,
)


def small_all_cnn(**options):
    return AllCNNC(**{"widths": (2, 3), "classes": 4, **options})


def small_resnet(**options):
    return ResNet(**{"blocks": 1, "widths": (2, 3, 4), "classes": 4, **options})


NETWORKS = [small_all_cnn, small_resnet]
every_network = pytest.mark.parametrize("network", NETWORKS)


@pytest.mark.one_in(23)
@pytest.mark.parametrize(
    ("build", "options", "count"),
    [
        (AllCNNC, {"group": Z2}, 1_372_254),
        (AllCNNC, {"group": P4}, 1_371_006),
        (AllCNNC, {"group": P4M}, 1_219_678),
        (AllCNNC, {"group": P4M, "geometry": "published"}, 1_219_678),
        (ResNet44, {"group": Z2}, 2_639_434),
        (ResNet44, {"group": P4}, 2_635_434),  # widths that are ours
        (ResNet44, {"group": P4M}, 2_622_878),
        (ResNet26, {"group": Z2}, 7_236_046),
        (ResNet26, {"group": P4M}, 7_173_110),
        # Two channels less, ten classes more.
        (
            AllCNNC,
            {"in_features": 1, "classes": 20},
            1_219_678 - 2 * 9 * 32 + 10 * (8 * 64 + 1 + 2),
        ),
    ],
)
def test_number_of_parameters(build, options, count):
    model = nnx.eval_shape(lambda: build(rngs=nnx.Rngs(0), **options))
    assert parameters(model) == count


@pytest.mark.parametrize(("build", "blocks"), [(ResNet26, 4), (ResNet44, 7)])
def test_options_of_the_published_networks_arrive(build, blocks):
    options = {"head": "published", "geometry": "published", "in_features": 1, "classes": 20}
    options |= {"widths": (2, 3, 4), "group": cyclic(2), "dtype": jnp.bfloat16}
    model = nnx.eval_shape(lambda: build(rngs=nnx.Rngs(0), **options))
    assert model.blocks == blocks and model.head == "published"
    assert model.stage1_block0.conv0.geometry == model.stage2_block0.shortcut.geometry
    assert model.stage2_block0.conv0.geometry == "published"
    assert model.lift.kernel.shape == (3, 3, 1, 2) and model.top.kernel.shape == (1, 1, 2, 4, 20)
    assert model.norm.dtype == model.top.dtype == jnp.bfloat16


@pytest.mark.one_in(7)
@pytest.mark.parametrize("shape", [(2, 2), (3, 3), (8, 9), (5, 12), (7, 3)])
@some_cases("p4", "p4m", "diagonal")
def test_halving_keeps_the_law_on_any_size(case, shape, rng, x64):
    x = feature_map(rng, case, shape)
    for blurred in (False, True):
        half = jax.jit(functools.partial(halve, blurred=blurred))
        assert half(x).shape == (1, shape[0] // 2, shape[1] // 2, case.order, 2)
        assert law_error(half, case, x, lifted=(True, True)) < 1e-12


def test_halving_takes_means(x64):
    x = jnp.arange(4.0 * 5).reshape(1, 4, 5, 1, 1)
    means = [[x[0, 2 * i : 2 * i + 2, 2 * j : 2 * j + 3].mean() for j in (0, 1)] for i in (0, 1)]
    assert_close(halve(x)[0, :, :, 0, 0], jnp.array(means), atol=1e-12)


def test_halving_takes_a_blur(x64):
    """A row of 6 pixels, whose ends go on outside, by weights of 1, 3, 3 and 1 eighths."""
    row = jnp.array([8.0, 0, 0, 16, 0, 24])
    x = jnp.broadcast_to(row[:, None], (6, 4))[None, :, :, None, None]
    assert_close(halve(x, blurred=True)[0, :, 0, 0, 0], jnp.array([4.0, 6.0, 14.0]), atol=1e-12)


def test_quarter_turns_of_finer_groups_are_exact(rng, x64):
    fn = evaluated(small_resnet, rng, group=dihedral(8), in_features=1)
    x = rng.normal(size=(2, 14, 14, 1))
    assert invariance_error(fn, BY_NAME["p4m"], x) < 1e-11


def invariance_at_45(group) -> tuple[float, float]:
    """The change of the logits of smooth images at 45 and at 90 degrees, in differences between
    images, of a network as it is drawn, with the statistics of the images."""
    from scipy import ndimage

    x = smooth_images((8, 32, 32, 1), length=2.0).astype(np.float32)
    turned = [ndimage.rotate(x, a, axes=(1, 2), reshape=False, order=3) for a in (45, 90)]
    options = {"blocks": 1, "widths": (4, 4, 8), "in_features": 1, "group": group}
    model = ResNet(**options, rngs=nnx.Rngs(1))
    for _, layer in nnx.iter_graph(model):
        if isinstance(layer, nnx.BatchNorm):
            layer.momentum = 0.0
    graphdef, state = nnx.split(model)

    @quick_jit
    def logits(state, x, every):
        model = nnx.merge(graphdef, state)
        model.train()
        model(x)
        model.eval()
        return model(every)

    upright, *others = np.split(logits(state, x, np.concatenate([x, *turned])), 3)
    difference = np.sqrt(2 * np.var(upright, axis=0, ddof=1).mean())
    first, second = (float(np.sqrt(((y - upright) ** 2).mean()) / difference) for y in others)
    return first, second


def test_finer_groups_are_nearly_invariant_between_the_pixels():
    fine, exact = invariance_at_45(cyclic(8))
    assert fine < 0.15 and exact < 1e-5
    coarse, exact = invariance_at_45(P4M)
    assert coarse > 0.2 and exact < 1e-5, "negative control"


@pytest.mark.one_in(23)
@every_network
@pytest.mark.parametrize(
    ("name", "size"),  # 8: even then even; 10: even then odd; 11: odd then odd; 9: odd then even
    [("p4", 8), ("p4", 11), ("p4m", 10), ("p2", 9), ("mirror", 8)],
)
def test_logits_are_invariant(network, name, size, rng, x64):
    case = BY_NAME[name]
    fn = evaluated(network, rng, group=case.group)
    assert invariance_error(fn, case, image(rng, case, size, 3, batch=2)) < 1e-10


def test_logits_of_images_that_are_not_square_are_invariant(rng, x64):
    fn = evaluated(small_all_cnn, rng, group=P4)
    x = image(rng, BY_NAME["p4"], (10, 13), 3)  # 10 - 5 - 2 and 13 - 6 - 3
    assert_equivariant(fn, x, group=P4)


@every_network
def test_negative_control(network, rng, x64):
    """The network is invariant under its own group, and no larger one."""
    fn, case = evaluated(network, rng, group=P4), BY_NAME["p4m"]
    assert invariance_error(fn, case, image(rng, case, 8, 3, batch=2)) > 1e-3


def in_training(network, rng, **options):
    """A compiled training step without its end: state and images to logits and the new state."""
    model = random_float64(lambda: network(rngs=nnx.Rngs(0), **options), rng)
    model.train()
    graphdef, state = nnx.split(model)

    @quick_jit
    def run(state, x):
        model = nnx.merge(graphdef, state)
        return model(x), nnx.state(model)

    return run, state


@every_network
def test_training_mode(network, rng, x64):
    """The statistics of a batch are those of the turned batch, and they alone are changed."""
    options = {"input_dropout": 0.0, "dropout": 0.0} if network is small_all_cnn else {}
    run, state = in_training(network, rng, group=P4M, **options)
    x = image(rng, BY_NAME["p4m"], 9, 3, batch=4)
    assert_equivariant(lambda x: run(state, x)[0], x, group=P4M)

    before, after = (jax.tree_util.tree_flatten_with_path(s)[0] for s in (state, run(state, x)[1]))
    changed = {
        jax.tree_util.keystr(path)
        for (path, a), (_, b) in zip(before, after, strict=True)
        if jnp.issubdtype(a.dtype, jnp.floating) and (a != b).any()
    }
    assert len(changed) == 2 * (9 if network is small_all_cnn else 7)
    assert all("'mean'" in path or "'var'" in path for path in changed)


def test_dropout_of_all_cnn(rng, x64):
    run, state = in_training(small_all_cnn, rng, group=Z2)
    x = jnp.asarray(rng.normal(size=(2, 4, 4, 3)))
    logits, state = run(state, x)
    assert jnp.abs(run(state, x)[0] - logits).max() > 1e-3
    model = nnx.eval_shape(lambda: small_all_cnn(rngs=nnx.Rngs(0)))
    assert (model.input_dropout.rate, model.dropout.rate) == (0.2, 0.5)


@every_network
def test_published_geometry_warns_and_breaks_on_even_sizes(network, rng, x64):
    case = BY_NAME["p4"]
    fn = evaluated(network, rng, group=P4, geometry="published")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert invariance_error(fn, case, image(rng, case, 8, 3, batch=2)) > 1e-3
    # One for each convolution: 8 pixels, then 4.
    assert {w.category for w in caught} == {InexactEquivarianceWarning}
    first, second = np.array_split([str(w.message) for w in caught], 2)
    assert all("size 8, " in text and text.endswith(": 7 and 9") for text in first)
    assert all("size 4, " in text and text.endswith(": 3 and 5") for text in second)
    # Sizes that strides of 2 keep twice need no other geometry.
    assert invariance_error(fn, case, image(rng, case, 9, 3, batch=2)) < 1e-10


@every_network
def test_geometries_have_the_same_parameters(network):
    exact, published = (
        nnx.state(nnx.eval_shape(lambda g=g: network(geometry=g, rngs=nnx.Rngs(0))), nnx.Param)
        for g in ("exact", "published")
    )
    assert jax.tree.structure(exact) == jax.tree.structure(published)
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: a.shape == b.shape, exact, published)))


@pytest.mark.slow
@some_cases("p4", "p4m")
def test_published_head_breaks_the_law_that_its_features_keep(case, rng, x64):
    """Its logits turn with the image, and the largest over all turned images are the invariant
    ones: so the heads share their parameters, and the features below them keep the law."""
    published, invariant = (
        evaluated(small_resnet, np.random.default_rng(1), group=case.group, head=head)
        for head in ("published", "invariant")
    )
    x = image(rng, case, 8, 3, batch=2)
    assert invariance_error(published, case, x) > 1e-3
    turned = [published(act(case, x, g, lifted=False)) for g in range(case.order)]
    assert_close(jnp.max(jnp.stack(turned), axis=0), invariant(x), atol=1e-10)


@pytest.mark.parametrize(("group", "std"), [(Z2, 0.05), (P4, 0.035)])
def test_initial_filters_of_all_cnn(group, std):
    model = AllCNNC(group=group, widths=(16, 16), rngs=nnx.Rngs(0))
    kernel = np.asarray(model.layer4.conv.kernel[...])
    assert np.std(kernel) == pytest.approx(std, rel=0.06)
    assert np.abs(np.asarray(model.layer4.conv.bias[...])).max() == 0


@every_network
@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"geometry": "Exact"}, ValueError, r"`geometry` must be one of exact, published, got 'E"),
        ({"geometry": None}, ValueError, r"`geometry` must be one of exact, published, got None"),
        ({"widths": (2, 3, 4, 5)}, ValueError, r"`widths` must be an integer or \d integers"),
        ({"widths": 0}, ValueError, r"`widths` must be at least 1"),
        ({"group": 4}, TypeError, r"`group` must be a FiniteGroup .* got 4"),
        ({"group": mirror(dimension=1)}, ValueError, r"`group` must act on the plane"),
    ],
)
def test_bad_options(network, options, error, match):
    with pytest.raises(error, match=match):
        nnx.eval_shape(lambda: network(rngs=nnx.Rngs(0), **options))


def test_bad_options_of_residual_networks():
    for build in (small_resnet, ResNet26, ResNet44):
        with pytest.raises(ValueError, match=r"`head` must be one of invariant, published, got 'm"):
            build(head="mean", rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="`blocks` must be at least 1"):
        small_resnet(blocks=0, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="`kernel_size` must be odd, got 4"):
        small_resnet(kernel_size=4, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"cyclic\(8\) turns by angles"):
        small_resnet(group=cyclic(8), filters="pixel", rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match="`group` must be a FiniteGroup"):
        ResNet44(group="p4m", rngs=nnx.Rngs(0))


@every_network
@pytest.mark.parametrize("shape", [(1, 3, 8, 3), (1, 8, 3, 3), (8, 8, 3), (1, 1, 8, 8, 3)])
def test_images_it_cannot_take(network, shape):
    model = nnx.eval_shape(lambda: network(group=P4, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match=r"`x` must be images \[N, H, W, C\] of at least 4 x 4"):
        nnx.eval_shape(lambda model: model(jnp.ones(shape)), model)


@every_network
@pytest.mark.parametrize("geometry", ["exact", "published"])
def test_the_smallest_images(network, geometry):
    model = nnx.eval_shape(lambda: network(group=Z2, geometry=geometry, rngs=nnx.Rngs(0)))
    logits = nnx.eval_shape(lambda model: model(jnp.ones((2, 4, 5, 3))), model)
    assert logits.shape == (2, 4)


@every_network
def test_half_precision(network):
    model = nnx.eval_shape(lambda: network(dtype=jnp.bfloat16, rngs=nnx.Rngs(0)))
    logits = nnx.eval_shape(lambda model: model(jnp.ones((1, 9, 9, 3))), model)
    assert logits.dtype == jnp.bfloat16
    assert all(p.dtype == jnp.float32 for p in jax.tree.leaves(nnx.state(model, nnx.Param)))


@every_network
def test_two_networks_are_equal_to_flax(network):
    """Otherwise a function compiled for one would be compiled again for the other."""
    one, two = (nnx.split(nnx.eval_shape(lambda: network(rngs=nnx.Rngs(0))))[0] for _ in range(2))
    assert one == two and hash(one) == hash(two)
