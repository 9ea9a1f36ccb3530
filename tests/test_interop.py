"""GrouPy's and escnn's weights give our layers the outputs of theirs.

GrouPy is not at hand; its layers are written here from their definition (Cohen & Welling 2016,
arXiv:1602.07576, eq. 10 and 11, and its documented coordinates): an element (m, r) of p4m is the
matrix ``diag((-1)^m, 1) R^r`` on (row, column), with ``R = [[0, -1], [1, 0]]``, and stands at
4 m + r.

``escnn.npz`` holds results of escnn itself (1.0.11, PyTorch 2.14). It was made by::

    import numpy as np, torch
    from escnn import gspaces, nn

    torch.manual_seed(0)
    spaces = {
        "C4": gspaces.rot2dOnR2(4),
        "D4": gspaces.flipRot2dOnR2(4),
        "D4-horizontal": gspaces.flipRot2dOnR2(4, axis=0.0),
        "D1": gspaces.flip2dOnR2(),
        "C8": gspaces.rot2dOnR2(8),
        "C6": gspaces.rot2dOnR2(6),
        "D8": gspaces.flipRot2dOnR2(8),
    }
    arrays = {}
    for name, space in spaces.items():
        images = nn.FieldType(space, 2 * [space.trivial_repr])
        fields = nn.FieldType(space, 2 * [space.regular_repr])
        x = torch.randn(1, 2, 5, 5)
        y = images(x)
        for layer, kind in enumerate((images, fields)):
            conv = nn.R2Conv(kind, fields, 3, padding=1)
            torch.nn.init.normal_(conv.bias)
            y = conv(y) if layer == 0 else conv(nn.ReLU(fields)(y))
            plain = conv.export()
            arrays[f"{name} weight{layer}"] = plain.weight.detach().numpy()
            arrays[f"{name} bias{layer}"] = plain.bias.detach().numpy()
            arrays[f"{name} y{layer}"] = y.tensor.detach().numpy()
        arrays[f"{name} x"] = x.numpy()
    np.savez_compressed("tests/escnn.npz", **arrays)
"""

import itertools
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import gconv_jax.linen as glinen
import gconv_jax.nnx as gnnx
from gconv_jax import P4, P4M, P6, cyclic, dihedral, group_conv, lift_conv, mirror, octahedral
from gconv_jax.conv.exact_subgroup import exact_subgroup
from gconv_jax.interop import (
    features_from_escnn,
    features_from_groupy,
    features_to_escnn,
    features_to_groupy,
    from_escnn,
    from_groupy,
    to_escnn,
    to_groupy,
)

R = np.array([[0, -1], [1, 0]])
GROUPY = [
    np.diag([(-1) ** m, 1]) @ np.linalg.matrix_power(R, r) for m in range(2) for r in range(4)
]


def groupy_conv(f: np.ndarray, psi: np.ndarray, order: int) -> np.ndarray:
    """``[C_in, S, H, W]`` and ``[C_out, C_in, S, k, k]`` to ``[C_out, order, H', W']``: p4 or p4m
    convolution without padding, by its definition.

    ``sum over i, s, x of f(i, s, p + x) psi(o, i, g^-1 s, g^-1 x)``, x counted from the center.
    """
    c_out, c_in, s_in, k, _ = psi.shape
    elements = GROUPY[:order]
    size = [n - k + 1 for n in f.shape[2:]]
    y = np.zeros((c_out, order, *size))
    for (g, a), s, u, v in itertools.product(enumerate(elements), range(s_in), range(k), range(k)):
        inverse = a.T
        # Doubled, so that the center of an even filter has integer coordinates.
        row, column = (inverse @ [2 * u - (k - 1), 2 * v - (k - 1)] + k - 1) // 2
        source = 0
        if s_in > 1:
            product = inverse @ elements[s]
            (source,) = (i for i, b in enumerate(elements) if (b == product).all())
        for o, i in itertools.product(range(c_out), range(c_in)):
            patch = f[i, s, u : u + size[0], v : v + size[1]]
            y[o, g] += patch * psi[o, i, source, row, column]
    return y


both = pytest.mark.parametrize("group", [P4, P4M], ids=["p4", "p4m"])


@pytest.mark.parametrize("k", [2, 3, 5, 7])
@both
def test_layers_with_weights_of_groupy(group, k, rng, x64):
    """Three layers in sequence, with a bias and a nonlinearity between, on a padded image."""
    pads = [(0, 0)] * 2 + [(k // 2, k // 2)] * 2
    image = f = rng.normal(size=(1, 1, 4, 5))
    layers, expected = [], []
    for inner in (1, group.order, group.order):
        w, bias = rng.normal(size=(2, len(f), inner, k, k)) / k, rng.normal(size=2)
        y = groupy_conv(np.pad(f, pads), w, group.order) + bias[:, None, None, None]
        f = np.maximum(y, 0)
        layers.append((from_groupy(w, group=group), bias))
        expected.append(features_from_groupy(y[None], group=group))

    @jax.jit
    def ours(x):
        results = []
        for i, (w, bias) in enumerate(layers):
            conv = group_conv if i else lift_conv
            results.append(conv(x, w, bias=bias, group=group, padding=k // 2))
            x = jax.nn.relu(results[-1])
        return results

    for actual, y in zip(ours(image.transpose(1, 2, 3, 0)), expected, strict=True):
        np.testing.assert_allclose(actual, y, atol=1e-10)
        assert np.abs(y).max() > 1


def test_another_order_of_elements_gives_another_function(rng, x64):
    """Negative controls: our order for theirs, and mirroring before the turn."""
    f, w = rng.normal(size=(1, 8, 5, 5)), rng.normal(size=(1, 1, 8, 3, 3))
    y = features_from_groupy(groupy_conv(f, w, 8)[None], group=P4M)

    @jax.jit
    def ours(x, filters):
        return group_conv(x, filters, group=P4M, padding="VALID")

    def error(filters, x):
        return np.abs(ours(x, filters) - y).max()

    x, filters = features_from_groupy(f[None], group=P4M), from_groupy(w, group=P4M)
    assert error(filters, x) < 1e-12
    assert error(w.transpose(3, 4, 2, 1, 0), x) > 0.1
    assert error(filters, f[None].transpose(0, 3, 4, 2, 1)) > 0.1
    assert error(filters[:, :, [0, 3, 2, 1, 4, 5, 6, 7]], x) > 0.1


@both
def test_there_and_back(group, rng):
    for w in (rng.normal(size=(5, 5, 2, 3)), rng.normal(size=(5, 5, group.order, 2, 3))):
        w = w.astype(np.float32)
        back = from_groupy(to_groupy(w, group=group), group=group)
        np.testing.assert_array_equal(back, w)
        assert back.dtype == w.dtype
        for axis in (math.pi / 2, 0.0, -math.pi / 4):
            options = {"group": group, "axis": axis}
            bias = np.arange(3.0)
            there = to_escnn(w, bias, **options)
            assert there[0].shape[0] == there[1].shape[0] == 3 * group.order
            back = from_escnn(*there, lifting=w.ndim == 4, **options)
            np.testing.assert_array_equal(back[0], w)
            np.testing.assert_array_equal(back[1], bias)
    theirs = rng.normal(size=(3, 2, group.order, 3, 3))
    np.testing.assert_array_equal(to_groupy(from_groupy(theirs, group=group), group=group), theirs)
    x = rng.normal(size=(2, 5, 6, group.order, 3))
    np.testing.assert_array_equal(
        features_from_groupy(features_to_groupy(x, group=group), group=group), x
    )
    np.testing.assert_array_equal(
        features_from_escnn(features_to_escnn(x, group=group), group=group), x
    )


@pytest.fixture(scope="module")
def escnn():
    with np.load(Path(__file__).with_name("escnn.npz")) as arrays:
        return dict(arrays)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("C4", {"group": P4}),
        ("D4", {"group": P4M}),
        ("D4-horizontal", {"group": P4M, "axis": 0.0}),
        ("D1", {"group": mirror()}),
        ("C8", {"group": cyclic(8)}),
        ("C6", {"group": cyclic(6)}),
        ("D8", {"group": dihedral(8)}),
    ],
)
def test_layers_with_weights_of_escnn(name, options, escnn):
    """Finer groups by their exact elements, with more channels."""
    exact = exact_subgroup(options["group"])
    group = exact.subgroup
    x = escnn[f"{name} x"].transpose(0, 2, 3, 1)
    layers = []
    for i in range(2):
        weight, bias = escnn[f"{name} weight{i}"], escnn[f"{name} bias{i}"]
        layers.append(from_escnn(weight, bias, lifting=i == 0, **options))
        again = to_escnn(*layers[i], **options)
        np.testing.assert_allclose(again[0], weight, atol=1e-6)
        np.testing.assert_allclose(again[1], bias, atol=1e-6)

    @jax.jit
    def ours(x):
        (w, bias), (v, other) = layers
        first = lift_conv(x, w, bias=bias, group=group)
        return first, group_conv(jax.nn.relu(first), v, bias=other, group=group)

    for i, actual in enumerate(map(exact.extend, ours(x))):
        y = escnn[f"{name} y{i}"]
        np.testing.assert_allclose(features_to_escnn(actual, **options), y, atol=1e-5)
        np.testing.assert_allclose(actual, features_from_escnn(y, **options), atol=1e-5)


def test_layers_are_loaded_by_assignment(escnn):
    x, y = escnn["C4 x"].transpose(0, 2, 3, 1), escnn["C4 y0"]
    kernel, bias = from_escnn(escnn["C4 weight0"], escnn["C4 bias0"], group=P4, lifting=True)
    layer = gnnx.LiftConv(2, 2, 3, group=P4, rngs=nnx.Rngs(0))
    layer.kernel[...], layer.bias[...] = kernel, bias
    np.testing.assert_allclose(layer(x), features_from_escnn(y, group=P4), atol=1e-5)
    params = {"kernel": kernel, "bias": bias}
    ours = glinen.LiftConv(2, 3, group=P4).apply({"params": params}, x)
    np.testing.assert_allclose(ours, features_from_escnn(y, group=P4), atol=1e-5)


def test_our_filters_as_a_plain_convolution(rng, x64):
    """The result of `to_escnn`, convolved as it is, gives the group convolution."""
    x, w = rng.normal(size=(1, 5, 5, 8, 2)), rng.normal(size=(2, 2, 8, 2, 3))
    weight, bias = to_escnn(w, np.arange(3.0), group=P4M)

    @jax.jit
    def both(theirs, ours):
        plain = jax.lax.conv(theirs, weight, (1, 1), "VALID") + bias[:, None, None]
        return plain, group_conv(ours, w, group=P4M, bias=jnp.arange(3.0), padding="VALID")

    plain, expected = both(features_to_escnn(x, group=P4M), x)
    np.testing.assert_allclose(features_from_escnn(plain, group=P4M), expected, atol=1e-12)


def test_filters_that_are_no_group_convolutions_are_refused(escnn):
    message = r"`weight` must be the filter of a convolution over .* but it is off by"
    weight, bias = escnn["D4 weight1"], escnn["D4 bias1"]
    wrong = [
        (weight, {"group": P4M, "axis": 0.0}),
        (weight, {"group": P4M, "lifting": True}),
        (escnn["C4 weight1"], {"group": dihedral(2)}),
        (escnn["C8 weight1"], {"group": P4}),
        (escnn["C8 weight1"], {"group": P4M}),
        (escnn["D8 weight1"], {"group": cyclic(16)}),
        (escnn["C4 weight1"], {"group": cyclic(8)}),
        (np.where(np.arange(16)[:, None, None, None] == 3, np.nan, weight), {"group": P4M}),
    ]
    for given, options in wrong:
        with pytest.raises(ValueError, match=message):
            from_escnn(given, **options)
    with pytest.raises(ValueError, match="`bias` must be equal over the elements of each field"):
        from_escnn(weight, bias + np.arange(16), group=P4M)
    zeros, none = from_escnn(0 * weight, group=P4M)
    assert not zeros.any() and none is None


def test_bad_input():
    w, ones = np.ones((3, 3, 4, 2, 5)), np.ones
    for call, message in (
        (lambda: from_groupy(ones((5, 2, 4, 3)), group=P4), r"`w` must be \[C_out, C_in, S, k, k"),
        (lambda: from_groupy(ones((5, 2, 4, 3, 3)), group=P4M), r"S = 1 \(from images\) or 8"),
        (lambda: from_groupy(ones((5, 2, 4, 3, 5)), group=P4), "got shape"),
        (lambda: from_groupy(w, group=cyclic(2)), "`group` must be P4 or P4M"),
        (lambda: to_groupy(w, group=P4M), r"or \[k, k, 8, C_in, C_out\] for P4M"),
        (lambda: to_groupy(ones((3, 5, 2, 2)), group=P4), "`w` must be"),
        (lambda: features_from_groupy(ones((1, 2, 8, 3, 3)), group=P4), r"\[N, C, 4, H, W\]"),
        (lambda: features_to_groupy(ones((1, 3, 3, 8, 2)), group=P4), r"\[N, H, W, 4, C\]"),
        (lambda: from_escnn(ones((6, 4, 3, 3)), group=P4), r"\[4 C_out, 4 C_in, k, k\]"),
        (lambda: from_escnn(ones((8, 4, 3, 2)), group=P4), "got shape"),
        (lambda: from_escnn(ones((8, 4, 3, 3)), ones(2), group=P4), r"`bias` must have shape"),
        (lambda: to_escnn(w, ones(4), group=P4), r"`bias` must have shape \(5,\)"),
        (lambda: to_escnn(w, group=octahedral()), "or dihedral"),
        (lambda: to_escnn(w, group=cyclic(8)), "`w` must have a multiple of 2 channels for cyclic"),
        (
            lambda: to_escnn(ones((3, 3, 4, 2, 2)), np.arange(2.0), group=cyclic(8)),
            "equal over the 2",
        ),
        (lambda: to_escnn(w, group=P6), "or dihedral"),
        (lambda: to_escnn(w, group=P4M, axis=0.1), "`axis` must be that of a mirroring"),
        (lambda: features_from_escnn(ones((1, 6, 3, 3)), group=P4), r"\[N, 4 C, H, W\]"),
        (lambda: features_to_escnn(ones((1, 3, 3, 4)), group=P4), r"\[N, H, W, 4, C\]"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="`group` must be a FiniteGroup"):
        from_groupy(w, group="P4")
