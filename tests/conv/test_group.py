"""lift_conv and group_conv against their definitions, written as NumPy loops."""

import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gconv_jax import P4, Z2, InexactEquivarianceWarning, group_conv, lift_conv, planar_conv
from tests import oracles
from tests.helpers import (
    assert_close,
    every_case,
    feature_map,
    group_filter,
    image,
    lifting_filter,
    some_cases,
)

pytestmark = pytest.mark.optimized


class Setting(NamedTuple):
    """Options, and by hand the zeros before and after every axis that they stand for."""

    kernel: int
    low: int
    high: int
    padding: Any
    strides: int = 1
    dilation: int = 1

    def __str__(self) -> str:
        return f"k{self.kernel}-s{self.strides}-d{self.dilation}-{self.padding}"

    @property
    def options(self) -> dict:
        return {"strides": self.strides, "padding": self.padding, "dilation": self.dilation}


SETTINGS = [
    Setting(1, 0, 0, "SAME"),
    Setting(2, 0, 0, "VALID"),
    Setting(2, 0, 1, "SAME"),  # as XLA splits it
    Setting(3, 1, 1, "same"),
    Setting(4, 1, 2, "SAME"),
    Setting(3, 2, 2, 2),
    Setting(3, 1, 1, "SAME", strides=3),  # on 7 pixels
    Setting(2, 1, 1, 1, strides=2),
    Setting(3, 0, 0, "VALID", strides=2),
    Setting(3, 2, 2, "SAME", dilation=2),
    Setting(2, 0, 0, 0, dilation=3),
    Setting(2, 1, 1, 1, strides=2, dilation=2),
]
every_setting = pytest.mark.parametrize("setting", SETTINGS, ids=str)


def by_definition(case, x, w, setting: Setting, *, lifting: bool, wrap: str | None = None):
    k, low, high, _, s, d = setting
    if wrap is not None:
        pads = [(low, high) if 1 <= a <= case.dimension else (0, 0) for a in range(x.ndim)]
        x, low, high = np.pad(x, pads, mode=wrap), 0, 0
    spatial = x.shape[1 : 1 + case.dimension]
    return oracles.conv(
        case,
        x,
        w,
        lifting=lifting,
        strides=(s,) * case.dimension,
        low=(low,) * case.dimension,
        dilation=(d,) * case.dimension,
        output=[(n + low + high - (k - 1) * d - 1) // s + 1 for n in spatial],
    )


def run(function, x, w, **options):
    # The definition holds whether or not the sizes keep the law.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InexactEquivarianceWarning)
        return np.asarray(jax.jit(lambda x, w: function(x, w, **options))(x, w))


@every_setting
@some_cases("p4m", "line-mirror")
def test_lift_conv_is_the_definition(case, setting, rng, x64):
    x = image(rng, case, (7, 6)[: case.dimension], channels=2, batch=2)
    if setting.padding == "SAME" and setting.strides > 1:
        x = image(rng, case, 7, channels=2, batch=2)
    w = lifting_filter(rng, case, setting.kernel, 2, 3)
    y = run(lift_conv, x, w, group=case.group, **setting.options)
    assert_close(y, by_definition(case, x, w, setting, lifting=True), atol=1e-12)


@every_setting
@some_cases("p4", "line-mirror")
def test_group_conv_is_the_definition(case, setting, rng, x64):
    x = feature_map(rng, case, (7, 6)[: case.dimension], channels=2, batch=1)
    if setting.padding == "SAME" and setting.strides > 1:
        x = feature_map(rng, case, 7, channels=2, batch=1)
    w = group_filter(rng, case, setting.kernel, 2, 3)
    y = run(group_conv, x, w, group=case.group, **setting.options)
    assert_close(y, by_definition(case, x, w, setting, lifting=False), atol=1e-12)


@every_case
def test_every_group(case, rng, x64):
    size, setting = (5, 4)[: case.dimension], Setting(3, 1, 1, 1)
    x, w = image(rng, case, size, batch=2), lifting_filter(rng, case, 3, 2, 3)
    y = run(lift_conv, x, w, group=case.group, padding=1)
    assert_close(y, by_definition(case, x, w, setting, lifting=True), atol=1e-12)
    x, w = feature_map(rng, case, size), group_filter(rng, case, 3, 2, 3)
    y = run(group_conv, x, w, group=case.group, padding=1)
    assert_close(y, by_definition(case, x, w, setting, lifting=False), atol=1e-12)


@pytest.mark.parametrize(("padding", "mode"), [("CIRCULAR", "wrap"), ("REFLECT", "reflect")])
@some_cases("p4", "line-mirror")
def test_other_borders(case, padding, mode, rng, x64):
    for kernel, low, high in ((3, 1, 1), (4, 1, 2), (5, 2, 2)):
        setting = Setting(kernel, low, high, padding)
        x = feature_map(rng, case, (6, 5)[: case.dimension])
        w = group_filter(rng, case, setting.kernel, 2, 3)
        y = run(group_conv, x, w, group=case.group, padding=padding)
        expected = by_definition(case, x, w, setting, lifting=False, wrap=mode)
        assert_close(y, expected, atol=1e-12)


def test_circular_convolution_commutes_with_cyclic_shifts(rng, x64):
    x, w = rng.normal(size=(1, 5, 6, 4, 2)), rng.normal(size=(3, 3, 4, 2, 2))
    y = run(group_conv, x, w, group=P4, padding="CIRCULAR")
    shifted = run(group_conv, np.roll(x, (2, -1), (1, 2)), w, group=P4, padding="CIRCULAR")
    assert_close(shifted, np.roll(y, (2, -1), (1, 2)), atol=1e-12)


@some_cases("mirror", "pmm")
def test_axes_with_options_of_their_own(case, rng, x64):
    """Allowed where no element exchanges the axes."""
    x, w = feature_map(rng, case, (9, 6)), group_filter(rng, case, (3, 2), 2, 3)
    options = {"strides": (2, 1), "padding": ((1, 1), (2, 2)), "dilation": (1, 3)}
    y = np.asarray(group_conv(x, w, group=case.group, **options))
    expected = oracles.conv(
        case, x, w, lifting=False, strides=(2, 1), low=(1, 2), dilation=(1, 3), output=(5, 7)
    )
    assert_close(y, expected, atol=1e-12)
    assert_close(
        np.asarray(group_conv(x, w, group=case.group, **options | {"padding": [1, 2]})), y, atol=0
    )


@every_case
def test_bias_is_shared_by_the_group(case, rng, x64):
    x, w, bias = image(rng, case, 5), lifting_filter(rng, case, 3, 2, 3), rng.normal(size=3)
    y = run(lift_conv, x, w, group=case.group)
    biased = run(lift_conv, x, w, group=case.group, bias=bias)
    assert_close(biased - y, np.broadcast_to(bias, y.shape), atol=1e-12)


@pytest.mark.parametrize("batch", [(), (1,), (2, 3), (0,)], ids=str)
@some_cases("p4", "line-mirror")
def test_any_number_of_batch_axes(case, batch, rng, x64):
    size = (5, 3)[: case.dimension]
    x, w = rng.normal(size=(*batch, *size, 2)), lifting_filter(rng, case, 3, 2, 3)
    y = run(lift_conv, x, w, group=case.group)
    assert y.shape == (*batch, *size, case.order, 3)
    flat = x.reshape(-1, *size, 2)
    if len(flat):
        assert_close(run(lift_conv, flat, w, group=case.group).reshape(y.shape), y, atol=1e-14)
    x, w = rng.normal(size=(*batch, *size, case.order, 2)), group_filter(rng, case, 3, 2, 3)
    assert run(group_conv, x, w, group=case.group).shape == (*batch, *size, case.order, 3)


def test_trivial_group_is_the_ordinary_convolution(rng, x64):
    x, w = jnp.asarray(rng.normal(size=(2, 6, 7, 2))), jnp.asarray(rng.normal(size=(3, 2, 2, 4)))
    options = {"strides": (1, 2), "dilation": (2, 1)}
    y = planar_conv(x, w, padding=((1, 1), (0, 1)), **options)
    same = lift_conv(x, w, group=Z2, padding=((1, 1), (0, 1)), **options)
    assert_close(same[..., 0, :], y, atol=1e-14)


@some_cases("p4", "p4m")
def test_which_orientation_an_output_reads(case, rng, x64):
    """Output r reads orientation r s of the input if the filter looks at orientation s alone; a
    mistaken s r or r^-1 s keeps the shapes, and in an abelian group the law too."""
    x, psi = feature_map(rng, case, 5, channels=1), rng.normal(size=(3, 3, 1, 1))
    images = np.moveaxis(x, -2, 0)[:, 0]  # the orientations, as a batch
    lifted = run(lift_conv, images, psi, group=case.group)  # [orientation, H, W, r, 1]
    filters = np.zeros((case.order, 3, 3, case.order, 1, 1))
    for s in range(case.order):
        filters[s, ..., s, :, :] = psi
    read = jax.jit(jax.vmap(lambda w: group_conv(x, w, group=case.group)))(filters)
    for s, r in np.ndindex(case.order, case.order):
        rs = case.index(case.matrices[r] @ case.matrices[s])
        assert_close(np.asarray(read)[s, 0, ..., r, :], lifted[rs, ..., r, :], atol=1e-12)


@some_cases("p4", "line-mirror")
def test_a_feature_map_is_not_lifted_again(case, rng):
    """It would pass for images with two batch axes if it had the right number of channels."""
    x, w = feature_map(rng, case, 5), lifting_filter(rng, case, 3, 2, 3)
    with pytest.raises(ValueError, match=r"use group_conv .*two batch axes, reshape"):
        lift_conv(x, w, group=case.group)
