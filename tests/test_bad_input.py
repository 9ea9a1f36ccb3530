"""Errors about wrong calls of the functions: the exact type and message.

A message has the argument, the value and the remedy.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

import gconv_jax as g
from gconv_jax import P4, cyclic

X, MAP = np.ones((2, 9, 9, 3), np.float32), np.ones((2, 9, 9, 4, 3), np.float32)
W, GROUP_W = np.ones((3, 3, 3, 5), np.float32), np.ones((3, 3, 4, 3, 5), np.float32)
PADDING = (
    r"`padding` must be one of SAME, VALID, CIRCULAR, REFLECT, an integer, or 2 integers or "
    r"\(low, high\) pairs, got "
)


class Bad(NamedTuple):
    """A call and the exception that it is to raise."""

    name: str
    call: object
    error: type
    message: str

    def check(self) -> None:
        with pytest.raises(self.error, match=self.message) as caught:
            self.call()
        assert caught.type is self.error, "not a subclass of it"
        assert "`" in str(caught.value) or "must return" in str(caught.value)


def lift(x=X, w=W, *, group=P4, **options):
    return g.lift_conv(x, w, group=group, **options)


def conv(x=MAP, w=GROUP_W, *, group=P4, **options):
    return g.group_conv(x, w, group=group, **options)


def pool(x=MAP, *, group=P4, window_shape=3, lifted=True, **options):
    return g.max_pool(x, group=group, window_shape=window_shape, lifted=lifted, **options)


BAD = [
    # Shapes
    Bad(
        "feature map expected",
        lambda: conv(X),
        ValueError,
        r"`x` must be \[\*batch, H, W, \|G\|=4, C_in=3\] for P4, got shape "
        r"\(2, 9, 9, 3\); for an image use lift_conv / LiftConv",
    ),
    Bad(
        "map of another group",
        lambda: conv(np.ones((2, 9, 9, 8, 3))),
        ValueError,
        r"\|G\|=4, C_in=3\] for P4, got shape \(2, 9, 9, 8, 3\)",
    ),
    Bad(
        "channels",
        lambda: lift(X[..., :2]),
        ValueError,
        r"`x` must be \[\*batch, H, W, C_in=3\] for P4, got shape \(2, 9, 9, 2\)",
    ),
    Bad("no image", lambda: lift(np.ones(3)), ValueError, r"`x` must be .* got shape \(3,\)"),
    Bad(
        "rank of filter",
        lambda: lift(w=GROUP_W),
        ValueError,
        r"`w` must be \[\*kernel, C_in, C_out\] with 2 kernel axes for P4, got shape "
        r"\(3, 3, 4, 3, 5\)",
    ),
    Bad(
        "filter of another group",
        lambda: conv(w=np.ones((3, 3, 8, 3, 5))),
        ValueError,
        r"`w` must be .* with a group axis of size 4 for P4, got shape \(3, 3, 8, 3, 5\)",
    ),
    Bad(
        "bias for each orientation",
        lambda: lift(bias=np.ones((4, 5))),
        ValueError,
        r"`bias` must have shape \(5,\), one value for each output channel .* got \(4, 5\)",
    ),
    Bad(
        "image in a pool of maps",
        lambda: pool(X),
        ValueError,
        r"`x` must be \[\*batch, H, W, \|G\|, C\] for P4 and lifted=True, got shape "
        r"\(2, 9, 9, 3\); pass lifted=False for an image",
    ),
    Bad(
        "no group axis",
        lambda: g.group_pool(np.ones(3)),
        ValueError,
        r"`x` must be \[\.\.\., \|G\|",
    ),
    Bad(
        "images in place of feature maps",
        lambda: g.group_pool(X),
        ValueError,
        r"`x` of shape \(2, 9, 9, 3\) may be images .* whose width would be pooled: .* pass group=",
    ),
    Bad(
        "images in place of feature maps of a group",
        lambda: g.group_pool(X, group=P4),
        ValueError,
        r"`x` must be \[\.\.\., \|G\|=4, C\] for .* got shape \(2, 9, 9, 3\)",
    ),
    Bad(
        "name of an element",
        lambda: g.transform(X, group=P4, element="r45", lifted=False),
        ValueError,
        "`element` must be an index or one of e, r90, r180, r270 for .* got 'r45'",
    ),
    Bad(
        "group axis of cosets",
        lambda: g.coset_pool(X, group=P4, subgroup=cyclic(2)),
        ValueError,
        r"`x` must be \[\.\.\., \|G\|=4, C\] for P4, got shape \(2, 9, 9, 3\)",
    ),
    Bad(
        "lifted and not",
        lambda: g.transform(X, group=P4, element=1, lifted=True),
        ValueError,
        r"`x` must be \[\*batch, H, W, 4, C\] for P4 and lifted=True, got shape",
    ),
    Bad(
        "cosets of an image",
        lambda: g.transform(X, group=P4, element=1, lifted=False, subgroup=P4),
        ValueError,
        "`lifted` must be True with a `subgroup`",
    ),
    Bad("rotate a plane", lambda: g.rotate(X[0, ..., 0], 1.0), ValueError, r"\[\*batch, H, W, C\]"),
    Bad("angles", lambda: g.rotate(X, np.ones(2)), ValueError, r"`angle` must be a scalar.*vmap"),
    # Sizes and options
    Bad(
        "window larger than the image",
        lambda: lift(X[:, :2], padding="VALID"),
        ValueError,
        r"`x` has 2 pixels on spatial axis 0, padded 0\+0: fewer than the 3 .* use a larger image",
    ),
    Bad("no pixels", lambda: lift(X[:, :0]), ValueError, "`x` has 0 pixels on spatial axis 0"),
    Bad(
        "stride zero", lambda: lift(strides=0), ValueError, "`strides` must be at least 1 .* got 0"
    ),
    Bad(
        "stride float", lambda: conv(strides=1.5), TypeError, r"`strides` must be an int.* got 1\.5"
    ),
    Bad(
        "stride bool", lambda: conv(strides=True), TypeError, "`strides` must be an integer .* True"
    ),
    Bad("stride text", lambda: conv(strides="2"), TypeError, "`strides` must be an integer .* '2'"),
    Bad(
        "three strides",
        lambda: lift(strides=(1, 1, 1)),
        ValueError,
        r"`strides` must be an integer or 2 integers, got \(1, 1, 1\)",
    ),
    Bad("dilation", lambda: lift(dilation=0), ValueError, "`dilation` must be at least 1 .* got 0"),
    Bad("padding mode", lambda: lift(padding="FULL"), ValueError, PADDING + "'FULL'"),
    Bad("padding negative", lambda: lift(padding=-1), ValueError, PADDING + "-1"),
    Bad("padding float", lambda: lift(padding=1.0), TypeError, PADDING + r"1\.0"),
    Bad("padding None", lambda: lift(padding=None), TypeError, PADDING + "None"),
    Bad(
        "padding of one axis",
        lambda: lift(padding=((1, 1),)),
        ValueError,
        PADDING + r"\(\(1, 1\),\)",
    ),
    Bad(
        "padding of a pool",
        lambda: pool(padding="REFLECT"),
        ValueError,
        "`padding` of max_pool must",
    ),
    Bad("window", lambda: pool(window_shape=0), ValueError, "`window_shape` must be at least 1"),
    Bad("reduce", lambda: g.group_pool(MAP, reduce="sum"), ValueError, r"`reduce` .* got 'sum'"),
    Bad(
        "scale",
        lambda: g.upsample(MAP, group=P4, scale=1.5, lifted=True),
        TypeError,
        r"`scale` must be .* 1\.5",
    ),
    Bad(
        "method",
        lambda: g.upsample(MAP, group=P4, scale=2, method="cubic", lifted=True),
        ValueError,
        "`method` must be 'nearest' or 'bilinear', got 'cubic'",
    ),
]


@pytest.mark.parametrize("bad", BAD, ids=[bad.name for bad in BAD])
def test_bad_input(bad):
    bad.check()


def test_oblong_filters_of_groups_that_turn_them():
    message = r"`kernel_size` must be equal on axes that P4 exchanges, got \(3, 5\)"
    with pytest.raises(ValueError, match=message):
        g.filter_bank(np.ones((3, 5, 1, 1)), group=P4, lifting=True)
    with pytest.raises(ValueError, match=message):  # and no warning about the windows before
        lift(X, np.ones((3, 5, X.shape[-1], 5)))


def test_nan_is_passed_on_and_not_spread():
    """One bad pixel spoils what sees it, and nothing else."""
    x = jnp.asarray(X).at[0, 4, 4].set(jnp.nan)
    bad = np.isnan(lift(x)).any(axis=(3, 4))
    assert bad[0, 3:6, 3:6].all()
    assert bad.sum() == 9


def test_empty_batches_pass_through():
    assert lift(X[:0]).shape == (0, 9, 9, 4, 5)
    assert conv(MAP[:0]).shape == (0, 9, 9, 4, 5)
    assert pool(MAP[:0]).shape == (0, 3, 3, 4, 3)
