"""Convolutions between functions on cosets: the definition, the law, and the layers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import gconv_jax.linen as glinen
import gconv_jax.nnx as gnnx
from gconv_jax import (
    P4,
    P4M,
    P6M,
    Z2,
    InexactEquivarianceWarning,
    coset_pool,
    cyclic,
    dihedral,
    group_conv,
    lift_conv,
    mirror,
    octahedral,
    quotient_conv,
    rotations_about,
    transform,
)
from gconv_jax.lattice.hexagons import hexagon_mask
from gconv_jax.testing import assert_equivariant, smooth_images
from tests import oracles
from tests.helpers import (
    BY_NAME,
    Case,
    assert_close,
    feature_map,
    group_filter,
    image,
    law_error,
    lifting_filter,
)

# Group, K of the input, H of the output.
TYPES = [
    ("p4m", "mirror", "mirror"),
    ("p4m", "diagonal", "flip"),
    ("p4m", "p4", "p2"),
    ("p4m", "p4m", "mirror"),
    ("p4m", "Z2", "p4m"),
    ("p4m", "pmm", "Z2"),
    ("p4m", "flip", "p4"),
    ("p4", "p2", "p2"),
    ("p4", "p4", "p2"),
    ("diagonals", "diagonal", "p2"),
    ("line-mirror", "line", "line-mirror"),
    ("line-mirror", "line-mirror", "line-mirror"),
]
every_type = pytest.mark.parametrize("types", TYPES, ids="-".join)


def cosets(case: Case, subgroup: Case) -> list[list[int]]:
    """The cosets gH by products of matrices, in the order of their smallest elements."""
    products = {tuple(sorted(case.index(g @ h) for h in subgroup.matrices)) for g in case.matrices}
    return [list(coset) for coset in sorted(products)]


def spread(x: np.ndarray, cosets: list[list[int]]) -> np.ndarray:
    """``[..., G/H, C]`` as a feature map on the group that is the same on each coset."""
    y = np.empty((*x.shape[:-2], sum(map(len, cosets)), x.shape[-1]))
    for i, coset in enumerate(cosets):
        y[..., coset, :] = x[..., [i], :]
    return y


def of_types(types, rng, size=5, kernel=3, **options):
    """The case, cosets of both sides, a random input and filter, and the convolution."""
    case, k, h = (BY_NAME[name] for name in types)
    into, out = cosets(case, k), cosets(case, h)
    x = rng.normal(size=(2, *(size,) * case.dimension, len(into), 2))
    w = rng.normal(size=(*(kernel,) * case.dimension, len(into), 2, 3))
    conv = functools.partial(
        quotient_conv,
        w=w,
        group=case.group,
        in_subgroup=k.group,
        out_subgroup=h.group,
        **options,
    )
    return case, into, out, x, w, jax.jit(conv)


@pytest.mark.one_in(23)
@every_type
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "low", "output"),
    [(5, 3, 1, "SAME", 1, 5), (4, 2, 2, "VALID", 0, 2), (4, 1, 1, "SAME", 0, 4)],
)
def test_definition_and_law(types, size, kernel, stride, padding, low, output, rng, x64):
    case, into, out, x, w, conv = of_types(
        types, rng, size, kernel, strides=stride, padding=padding
    )
    settings = {"strides": stride, "low": low, "output": output, "dilation": 1}
    full = oracles.conv(
        case,
        spread(x, into) / len(into[0]),  # the sum is over cosets
        np.moveaxis(spread(np.moveaxis(w, -3, -2), into), -2, -3),
        lifting=False,
        **{k: (v,) * case.dimension for k, v in settings.items()},
    )
    expected = np.stack([full[..., coset, :].mean(-2) for coset in out], -2)
    assert_close(conv(x), expected, atol=1e-12)

    def on_the_group(x):
        return spread(np.asarray(conv(x[..., [coset[0] for coset in into], :])), out)

    assert law_error(on_the_group, case, spread(x, into), lifted=(True, True)) < 1e-12


@every_type
def test_transform_is_the_action(types, rng, x64):
    case, _, _, x, _, conv = of_types(types, rng)
    _, k, h = (BY_NAME[name].group for name in types)
    y = conv(x)
    for g in case.group.elements:
        turned = transform(x, group=case.group, element=g, lifted=True, subgroup=k)
        expected = transform(y, group=case.group, element=g, lifted=True, subgroup=h)
        assert_close(conv(turned), expected, atol=1e-12)


def test_negative_control_right_cosets(rng, x64):
    """The filter seen from right cosets in place of left ones breaks the law."""
    case, into, _, x, w, _ = of_types(("p4m", "mirror", "Z2"), rng)
    right = P4M.cosets(mirror(), side="right").tolist()
    full = group_filter(rng, case, 3, 2, 3)

    def wrong(x):
        return group_conv(spread(x[..., [c[0] for c in into], :], right), full, group=P4M)

    assert law_error(wrong, case, spread(x, into), lifted=(True, True)) > 1e-2
    strided = functools.partial(
        quotient_conv, w=w, group=P4M, in_subgroup=mirror(), strides=2, padding=1
    )
    with pytest.warns(InexactEquivarianceWarning, match="quotient_conv"):
        y = strided(x[:, :4, :4])
    assert y.shape == (2, 2, 2, 8, 3)


def test_the_ends_are_the_other_convolutions(rng, x64):
    """Trivial subgroups: the group convolution. The whole group: lifting."""
    case = BY_NAME["p4m"]
    x, w = feature_map(rng, case, 5), group_filter(rng, case, 3, 2, 3)
    bias = rng.normal(size=3)
    options = {"group": P4M, "bias": bias}
    assert_close(quotient_conv(x, w, **options), group_conv(x, w, **options), atol=1e-12)
    assert_close(
        quotient_conv(x, w, in_subgroup=Z2, out_subgroup=Z2, **options),
        group_conv(x, w, **options),
        atol=1e-12,
    )
    x, w = image(rng, case, 5), lifting_filter(rng, case, 3, 2, 3)
    lifted = quotient_conv(x[..., None, :], w[:, :, None], in_subgroup=P4M, **options)
    assert_close(lifted, lift_conv(x, w, **options), atol=1e-12)


def test_it_is_the_mean_over_cosets_of_the_group_convolution(rng, x64):
    """And its gradients are those of that mean."""
    case = BY_NAME["p4m"]
    x, w = jnp.asarray(feature_map(rng, case, 5)), jnp.asarray(group_filter(rng, case, 3, 2, 3))
    direct = functools.partial(quotient_conv, group=P4M, out_subgroup=mirror())

    def by_pooling(x, w):
        return coset_pool(group_conv(x, w, group=P4M), group=P4M, subgroup=mirror(), reduce="mean")

    for argument in (0, 1):
        actual, expected = (
            jax.grad(lambda *xw, f=f: (f(*xw) ** 3).sum(), argument)(x, w)
            for f in (direct, by_pooling)
        )
        assert_close(actual, expected, atol=1e-9)


@pytest.mark.one_in(10)
@pytest.mark.parametrize("filters", ["harmonic", "bilinear"])
@pytest.mark.parametrize(
    ("group", "k", "h"),
    [
        (cyclic(8), cyclic(2), cyclic(4)),
        (dihedral(6), mirror(), mirror()),
        (cyclic(6), cyclic(6), cyclic(2)),
    ],
    ids=str,
)
def test_finer_rotations(filters, group, k, h, rng, x64):
    into = group.cosets(k)
    x = smooth_images((1, 33, 33, 2 * len(into))).reshape(1, 33, 33, len(into), 2)
    layer = gnnx.QuotientConv(
        2, 3, 5, group=group, in_subgroup=k, out_subgroup=h, filters=filters,
        param_dtype=jnp.float64, rngs=nnx.Rngs(0),
    )  # fmt: skip
    w = layer.kernel[...][:, np.argsort(into.ravel()) // k.order] / k.order
    options = {"group": group, "filters": filters, "kernel_size": 5}
    full = group_conv(x[..., np.argsort(into.ravel()) // k.order, :], w, **options)
    expected = coset_pool(full, group=group, subgroup=h, reduce="mean")
    assert_close(layer(x), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("k", "h"), [(rotations_about(0), rotations_about(1)), (octahedral(), rotations_about(2))]
)
def test_voxels(k, h, rng, x64):
    group = octahedral()
    x = rng.normal(size=(1, 3, 3, 3, 24 // k.order, 2))
    w = rng.normal(size=(3, 3, 3, 24 // k.order, 2, 2))
    conv = jax.jit(
        functools.partial(quotient_conv, w=w, group=group, in_subgroup=k, out_subgroup=h)
    )
    y = conv(x)
    for g in group.elements:
        turned = conv(transform(x, group=group, element=g, lifted=True, subgroup=k))
        expected = transform(y, group=group, element=g, lifted=True, subgroup=h)
        assert_close(turned, expected, atol=1e-12)


def test_hexagons(rng, x64):
    k, h = P6M.subgroup(6), P6M.subgroup(3)
    x = rng.normal(size=(1, 7, 7, 6, 2)) * hexagon_mask(7)[..., None, None]
    w = rng.normal(size=(7, 6, 2, 3))
    options = {"group": P6M, "in_subgroup": k, "out_subgroup": h, "bias": rng.normal(size=3)}
    conv = jax.jit(functools.partial(quotient_conv, w=w, **options))
    y = conv(x)
    for g in P6M.elements:
        turned = conv(transform(x, group=P6M, element=g, lifted=True, subgroup=k))
        expected = transform(y, group=P6M, element=g, lifted=True, subgroup=h)
        assert_close(turned, expected, atol=1e-12)


class Arrows(nnx.Module):
    """A network from an image to arrows, lines, and an image again."""

    def __init__(self, *, rngs: nnx.Rngs, **options):
        options |= {"group": P4M, "rngs": rngs}
        lines = P4M.subgroup(2, 4)
        self.arrows = gnnx.QuotientConv(3, 4, 3, in_subgroup=P4M, out_subgroup=mirror(), **options)
        self.norm = gnnx.BatchNorm(4, rngs=rngs)
        self.lines = gnnx.QuotientConv(
            4, 4, 2, in_subgroup=mirror(), out_subgroup=lines, padding="VALID", **options
        )
        self.image = gnnx.QuotientConv(4, 5, 3, in_subgroup=lines, out_subgroup=P4M, **options)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.arrows(x[..., None, :])))
        return self.image(nnx.relu(self.lines(x)))[..., 0, :]


@pytest.mark.slow
@pytest.mark.parametrize("train", [True, False])
def test_a_network_of_quotients(train, rng):
    model = Arrows(rngs=nnx.Rngs(0))
    model.set_attributes(use_running_average=not train)
    x = jnp.asarray(rng.normal(size=(2, 8, 8, 3)), jnp.float32)
    assert_equivariant(model, x, group=P4M)


def test_projection_onto_a_subgroup(rng, x64):
    """Rotations turn the result as a feature map on P4; reflections of the third kind, h -> h m,
    do not change it."""
    case = BY_NAME["p4m"]
    x = feature_map(rng, case, 5)
    project = functools.partial(coset_pool, group=P4M, subgroup=mirror(), onto=P4)
    y = np.asarray(project(x))
    by_hand = [
        np.maximum(x[..., r, :], x[..., case.index(case.matrices[r] @ case.matrices[4]), :])
        for r in range(4)
    ]
    np.testing.assert_array_equal(y, np.stack(by_hand, -2))
    for r in P4.elements:
        turned = project(transform(x, group=P4M, element=r, lifted=True))
        expected = transform(y, group=P4, element=r, lifted=True)
        np.testing.assert_array_equal(turned, expected)
    # The order is that of the subgroup, also where it is not that of the cosets.
    diagonal = P4M.subgroup(5)
    y = coset_pool(x, group=P4M, subgroup=P4, onto=diagonal)
    np.testing.assert_array_equal(y[..., 1, :], x[..., 4:, :].max(-2))
    with pytest.raises(ValueError, match="`onto` must have one element in each of the 4 cosets"):
        coset_pool(x, group=P4M, subgroup=mirror(), onto=dihedral(2))
    with pytest.raises(ValueError, match="`onto` must have one element in each of the 4 cosets"):
        coset_pool(x, group=P4M, subgroup=mirror(), onto=P4M)


OPTIONS = [
    {},
    {"in_subgroup": P4M, "out_subgroup": mirror()},
    {"out_subgroup": P4, "strides": 2, "use_bias": False},
    {"in_subgroup": cyclic(2), "padding": 1, "kernel_dilation": 2},
    {"in_subgroup": mirror(), "dtype": jnp.bfloat16},
    {"param_dtype": jnp.bfloat16, "kernel_size": [2, 2], "padding": "VALID"},
]


@pytest.mark.filterwarnings("ignore::gconv_jax.InexactEquivarianceWarning")
@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(o) or "defaults")
def test_nnx_is_linen_is_the_pure_function(options, rng):
    options = {"kernel_size": 3, "group": P4M, **options}
    layer = gnnx.QuotientConv(2, 3, rngs=nnx.Rngs(0), **options)
    linen_layer = glinen.QuotientConv(3, **options)
    cosets = 8 // options.get("in_subgroup", Z2).order
    x = jnp.asarray(rng.normal(size=(2, 7, 7, cosets, 2)), jnp.float32)
    weights = nnx.to_pure_dict(nnx.state(layer))
    variables = jax.eval_shape(linen_layer.init, jax.random.key(1), x)["params"]
    assert {k: (v.shape, v.dtype) for k, v in variables.items()} == {
        k: (v.shape, v.dtype) for k, v in weights.items()
    }
    assert_close(linen_layer.apply({"params": weights}, x), layer(x), atol=1e-6)


@pytest.mark.one_in(23)
@pytest.mark.parametrize("filters", ["pixel", "harmonic"])
@pytest.mark.parametrize(
    ("k", "h"), [(Z2, Z2), (P4M, P4M), (mirror(), mirror()), (Z2, P4), (P4M, P4)], ids=str
)
def test_unit_variance(k, h, filters):
    layer = gnnx.QuotientConv(
        16, 64, 3, group=P4M, in_subgroup=k, out_subgroup=h, filters=filters, padding="VALID",
        rngs=nnx.Rngs(0),
    )  # fmt: skip
    plain = gnnx.QuotientConv(
        16, 64, 3, group=P4M, in_subgroup=k, filters=filters, padding="VALID", rngs=nnx.Rngs(0)
    )
    x = jax.random.normal(jax.random.key(1), (16, 9, 9, 8 // k.order, 16))
    assert 0.8 < float(layer(x).var() / plain(x).var()) < 1.25


def test_bad_input():
    x, w = jnp.ones((1, 5, 5, 4, 2)), jnp.ones((3, 3, 4, 2, 3))
    options = {"group": P4M, "in_subgroup": mirror()}
    with pytest.raises(ValueError, match=r"`w` must be \[\*kernel, \|G/K\|=4, C_in, C_out\]"):
        quotient_conv(x, jnp.ones((3, 3, 8, 2, 3)), **options)
    with pytest.raises(ValueError, match=r"`x` must be \[\*batch, H, W, \|G/K\|=4, C_in=2\]"):
        quotient_conv(jnp.ones((1, 5, 5, 8, 2)), w, **options)
    with pytest.raises(ValueError, match="`bias` must have shape"):
        quotient_conv(x, w, bias=jnp.ones(4), **options)
    with pytest.raises(ValueError, match="`dtype` must be floating"):
        quotient_conv(x.astype(int), w.astype(int), **options)
    with pytest.raises(ValueError, match=r"subgroup"):
        quotient_conv(x, w, group=P4, out_subgroup=mirror())
    with pytest.raises(TypeError, match="subgroup"):
        quotient_conv(x, w, group=P4M, in_subgroup=2)
    with pytest.raises(ValueError, match="subgroup"):
        gnnx.QuotientConv(2, 3, 3, group=P4, in_subgroup=P4M, rngs=nnx.Rngs(0))
