"""Relaxed layers in results and reports: the departures that they have learned."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from gconv_jax import P4
from gconv_jax.nnx import GroupConv, RelaxedGroupConv, RelaxedLiftConv
from train.report.markdown import sections
from train.report.relaxed_layers import departures as draw
from train.run.relaxed_layers import departures

TURNED = {"e": 0.5, "r90": 0.5, "r180": 1.5, "r270": 0.5}
"""One of four filters is five times as long: the mean is 2, from which it departs by 3."""


def network() -> nnx.Sequential:
    rngs = nnx.Rngs(0)
    lift = RelaxedLiftConv(1, 2, 3, group=P4, rngs=rngs)
    relaxed = RelaxedGroupConv(2, 2, 3, group=P4, rngs=rngs)
    relaxed.weights[...] = jnp.array([[1.0, 1.0, 5.0, 1.0]])
    return nnx.Sequential(lift, relaxed, GroupConv(2, 2, 3, group=P4, rngs=rngs))


def test_departures_of_each_relaxed_layer():
    found = departures(network())
    assert list(found) == ["layers.0", "layers.1"]  # and not of the exact layer
    assert set(found["layers.0"].values()) == {0.0}
    assert found["layers.1"] == pytest.approx(TURNED, rel=1e-6)


def test_a_network_without_relaxed_layers_has_none():
    assert departures(GroupConv(2, 2, 3, group=P4, rngs=nnx.Rngs(0))) == {}


@pytest.mark.parametrize("values", [TURNED, dict.fromkeys(TURNED, 0.0), {"e": np.inf, "r90": 1.0}])
def test_the_picture_is_drawn(tmp_path, values):
    draw({"layers.0": values, "a.much.longer.name": values}, tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as image:
        assert np.asarray(image.convert("L")).std() > 5


def test_the_report_names_the_picture():
    figures = {"test_images": 8}
    pictures = {section.picture for section in sections(figures)}
    with_departures = sections(figures | {"symmetry_breaking": {"layers.0": TURNED}})
    assert {s.picture for s in with_departures} - pictures == {"symmetry_breaking.png"}
