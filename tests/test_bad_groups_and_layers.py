"""Errors about wrong groups, layers, checks and models: type and message, as in test_bad_input."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

import gconv_jax as g
from gconv_jax import P4, P4M, FiniteGroup, cyclic, linen, mirror, trivial
from gconv_jax.groups.elements import CUBE_IDENTITY, SignedPermutation
from gconv_jax.models import P4CNN, P4CNNRotationPooling
from gconv_jax.nnx import GroupConv, LiftConv
from gconv_jax.testing import assert_equivariant
from tests.test_bad_input import MAP, PADDING, Bad, X, conv, lift, pool

GROUP = r"`group` must be a FiniteGroup such as gconv_jax\.P4 .*, got "


def layer(cls=LiftConv, c_in=3, c_out=5, kernel=3, *, group=P4, **options):
    return cls(c_in, c_out, kernel, group=group, rngs=nnx.Rngs(0), **options)


def linen_layer():
    return linen.GroupConv(5, 3, group=P4).init(jax.random.key(0), X)


BAD = [
    # Groups
    Bad("group as text", lambda: lift(group="p4"), TypeError, GROUP + "'p4' of type str"),
    Bad("group as order", lambda: conv(group=4), TypeError, GROUP + "4 of type int"),
    Bad("group None", lambda: pool(group=None), TypeError, GROUP + "None of type NoneType"),
    Bad("group of layer", lambda: layer(group="p4m"), TypeError, GROUP + "'p4m'"),
    Bad("group of check", lambda: assert_equivariant(len, X, group=4), TypeError, GROUP + "4"),
    Bad("n zero", lambda: cyclic(0), ValueError, "`n` must be at least 1, got 0"),
    Bad("n float", lambda: g.dihedral(4.0), TypeError, r"`n` must be an integer, got 4\.0 of type"),
    Bad("n bool", lambda: cyclic(True), TypeError, "`n` must be an integer, got True of type bool"),
    Bad("dimension", lambda: mirror(4), ValueError, "`dimension` must be 1, 2 or 3, got 4"),
    Bad("dimension bool", lambda: mirror(True), TypeError, "`dimension` must be an integer, got T"),
    Bad(
        "dimension float", lambda: trivial(2.0), TypeError, "`dimension` must be an integer, got 2"
    ),
    Bad("element bool", lambda: P4.subgroup(True), TypeError, "`element` must be an index .*True"),
    Bad("generator", lambda: P4.subgroup(4), ValueError, r"`element` must be in 0 \.\.\. 3 for P4"),
    Bad(
        "own group: lists",
        lambda: FiniteGroup(2, list(P4.isometries)),  # pyright: ignore[reportArgumentType]
        TypeError,
        "`isometries` must be a tuple of isometries of dimension 2, got",
    ),
    Bad(
        "own group: of the plane in space",
        lambda: FiniteGroup(3, P4.isometries),
        TypeError,
        "`isometries` must be a tuple of isometries of dimension 3, got",
    ),
    Bad(
        "own group: of the plane on the line",
        lambda: FiniteGroup(1, P4.isometries),
        TypeError,
        "`isometries` must be a tuple of isometries of dimension 1, got",
    ),
    Bad(
        "own group: degenerate",
        lambda: FiniteGroup(3, (CUBE_IDENTITY, SignedPermutation((0, 0, 0), (1, 1, 1)))),
        TypeError,
        "`isometries` must be a tuple of isometries of dimension 3, got",
    ),
    Bad(
        "own group: no identity",
        lambda: FiniteGroup(2, P4.isometries[1:]),
        ValueError,
        r"`isometries` must be distinct and in order, .* got \(r90, r180, r270\)",
    ),
    Bad(
        "own group: order",
        lambda: FiniteGroup(2, P4.isometries[:1] + P4.isometries[:0:-1]),
        ValueError,
        r"rotations by increasing angle, .* got \(e, r270, r180, r90\)",
    ),
    Bad(
        "own group: not closed",
        lambda: FiniteGroup(2, P4.isometries[:2]),
        ValueError,
        r"`isometries` must be a group, got \(e, r90\): r180 is a product of two of them",
    ),
    Bad("side", lambda: P4.cosets(P4, side="up"), ValueError, "`side` must be 'left' or 'right', "),
    Bad(
        "subgroup is larger",
        lambda: g.coset_pool(MAP, group=P4, subgroup=P4M),
        ValueError,
        r"`subgroup` must be a subgroup of P4, got P4M, whose elements m, r90·m",
    ),
    Bad(
        "subgroup of the line",
        lambda: g.restrict(MAP, group=P4, subgroup=trivial(1)),
        ValueError,
        r"`subgroup` must be a subgroup of P4, got trivial\(dimension=1\)",
    ),
    Bad(
        "subgroup as index",
        lambda: g.coset_pool(MAP, group=P4, subgroup=2),
        TypeError,
        "`subgroup` must be a FiniteGroup .* got 2 of type int",
    ),
    Bad(
        "fine group",
        lambda: lift(group=cyclic(8)),
        ValueError,
        r"cyclic\(8\) turns by .* Use a sub",
    ),
    # Elements
    Bad(
        "element too large",
        lambda: g.transform(X, group=P4, element=4, lifted=False),
        ValueError,
        r"`element` must be in 0 \.\.\. 3 for P4, got 4",
    ),
    Bad(
        "element negative",
        lambda: g.transform(X, group=P4, element=-1, lifted=False),
        ValueError,
        r"`element` must be in 0 \.\.\. 3 for P4, got -1",
    ),
    Bad(
        "element float",
        lambda: P4.element_name(1.0),
        TypeError,
        r"`element` must be an index or a name in P4, got 1\.0 of type float",
    ),
    # Layers: errors come as soon as they can, when a layer is made
    Bad("features", lambda: layer(c_in=0), ValueError, "`in_features` must be at least 1, got 0"),
    Bad(
        "features float", lambda: layer(c_out=2.5), TypeError, r"`out_features` must be .* got 2\.5"
    ),
    Bad("kernel", lambda: layer(kernel=0), ValueError, "`kernel_size` must be at least 1 .* got 0"),
    Bad(
        "kernel axes",
        lambda: layer(kernel=(3,)),
        ValueError,
        r"`kernel_size` must be .* got \(3,\)",
    ),
    Bad("layer padding", lambda: layer(padding="FULL"), ValueError, PADDING + "'FULL'"),
    Bad(
        "layer strides",
        lambda: layer(GroupConv, strides=0),
        ValueError,
        "`strides` must be at least",
    ),
    Bad(
        "wrong layer", lambda: layer(GroupConv)(X), ValueError, "for an image use lift_conv / Lift"
    ),
    Bad("image in Linen", lambda: linen_layer(), ValueError, "for an image use lift_conv / Lift"),
    # Checks and models
    Bad(
        "several results",
        lambda: assert_equivariant(lambda x: (x, "no array"), X, group=P4),
        TypeError,
        "must return an array or a tree of arrays, got str",
    ),
    Bad(
        "action",
        lambda: assert_equivariant(jnp.tanh, X, group=P4, input_action="vector"),
        ValueError,
        "`input_action` must be one of image, feature_map, .* a Fields or a function .* .vector.",
    ),
    Bad(
        "action unknown",
        lambda: assert_equivariant(jnp.tanh, X[0], group=P4),
        ValueError,
        r"cannot read off the shape \(9, 9, 3\) of the input .* pass `input_action`",
    ),
    Bad(
        "small images",
        lambda: P4CNN(width=1, rngs=nnx.Rngs(0))(X),
        ValueError,
        r"`x` must be images \[N, H, W, C\] of at least 28 x 28 pixels, got shape \(2, 9, 9, 3\)",
    ),
    Bad(
        "width",
        lambda: P4CNN(width=0, rngs=nnx.Rngs(0)),
        ValueError,
        "`width` must be at least 1 .* got 0",
    ),
    Bad(
        "network on the line",
        lambda: P4CNNRotationPooling(group=mirror(1), rngs=nnx.Rngs(0)),
        ValueError,
        r"`group` must act on the plane, .* got mirror\(dimension=1\)",
    ),
]


@pytest.mark.parametrize("bad", BAD, ids=[bad.name for bad in BAD])
def test_bad_input(bad):
    bad.check()
