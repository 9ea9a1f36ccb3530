"""Numbers that are components of vectors: how they are named, turned, scaled and measured."""

import dataclasses
import json

import numpy as np
import pytest

from train.config import Config
from train.data.numbers import require_variation
from train.data.vectors import Vectors, center_and_scale, find_vectors, vectors_of
from train.run.figures import figure_lines
from train.run.number_figures import number_figures
from train.run.vector_figures import angles_between

PLANE = Vectors(((2, 0),), 3)


def test_names_become_places():
    names = ("y", "area", "x", "u", "v")
    assert find_vectors(("x", "y", "u", "v"), names, 2) == Vectors(((2, 0), (3, 4)), 5)
    assert find_vectors(("u", "y", "x"), names, 3) == Vectors(((3, 0, 2),), 5)
    assert find_vectors(("X", "Y"), names, 2) == Vectors(((2, 0),), 5), "as columns are found"
    with pytest.raises(ValueError, match="`vectors` U is none"):
        find_vectors(("U", "y"), (*names[:3], "u", "u"), 2)
    assert find_vectors((), names, 2) is None and vectors_of(None, 5) is None
    assert vectors_of(json.loads(json.dumps(PLANE.places)), 3) == PLANE
    with pytest.raises(ValueError, match="`vectors` w is none of the numbers of the images"):
        find_vectors(("w", "y"), names, 2)


def test_vectors_have_one_scale_and_no_mean(rng):
    values = rng.normal(size=(500, 3)) + [1.0, 5.0, 3.0]
    center, scale = center_and_scale(values, PLANE)
    np.testing.assert_allclose(center, [0, values[:, 1].mean(), 0], rtol=1e-6)
    square = np.square(values[:, [0, 2]]).mean() ** 0.5
    np.testing.assert_allclose(scale, [square, values[:, 1].std(), square], rtol=1e-6)
    # The scale is the same whatever the orientation is.
    turned = PLANE.turn(values, np.array([[0.6, -0.8], [0.8, 0.6]]))
    np.testing.assert_allclose(center_and_scale(turned, PLANE)[1], scale, rtol=1e-6)
    center, scale = center_and_scale(values, None)
    np.testing.assert_allclose(center, values.mean(0), rtol=1e-6)


def test_what_has_no_direction_is_named():
    values = np.array([[0.0, 1, 2], [0, 2, 2]])
    require_variation(values, "yax", PLANE)  # one direction is one to learn
    with pytest.raises(ValueError, match="`vectors` x y are 0 for all 2 training images"):
        require_variation(values * [1, 1, 0], "yax", PLANE)
    with pytest.raises(ValueError, match="`targets` a is 1 for all 2 training images"):
        require_variation(values * 0 + [0, 1, 2], "yax", PLANE)
    with pytest.raises(ValueError, match=r"`targets` y varies by 1e-30 alone.* another unit"):
        require_variation(values * [1, 1, 1e-30], "yax", PLANE)
    with pytest.raises(ValueError, match="`targets` a varies by 5e-31 alone"):
        require_variation(values * [1, 1e-30, 1], "yax", PLANE)


def test_angles_are_measured():
    right = np.array([[0.0, 9, 1], [0, 9, 1], [0, 9, 2], [0, 9, 0], [1, 9, 1]])
    said = np.array([[-2.0, 0, 0], [0, 0, -1], [0, 0, 3], [1, 0, 1], [0, 0, 0]])
    angles = angles_between(said, right, PLANE)[:, 0]
    np.testing.assert_allclose(angles, [90, 180, 0, np.nan, 90], atol=1e-6)
    small = right + [1e-9, 0, 0]
    assert angles_between(small, right, PLANE)[0, 0] == pytest.approx(np.degrees(1e-9))
    found = number_figures(said, right, np.ones(3), PLANE)
    of = {name: value[0] for name, value in found["by_vector"].items()}
    assert of["angle"] == found["angle_error"] == pytest.approx(90)
    lengths = np.array([2, 1, 3, 2**0.5, 0]) - [1, 1, 2, 0, 2**0.5]
    assert of["length"] == pytest.approx(np.abs(lengths).mean())
    assert of["length_bias"] == pytest.approx(lengths.mean())
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    results = found | {"input": {"names": ["y", "a", "x"], "scale": [1, 1, 1], "vectors": [[2, 0]]}}
    assert "vector x y: mean angular error 90.0 degrees" in figure_lines(results)[-1]
    nothing = number_figures(said, right * 0, np.ones(3), PLANE)
    assert nothing["by_vector"]["angle"] == [None] and nothing["angle_error"] is None


GOOD = Config(dataset="folder", task="regression", model="p4cnn", vectors=("dx", "dy"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"task": "auto"}, "`vectors` dx dy are numbers to predict: add --task regression"),
        ({"dataset": "digits", "task": "auto"}, "`vectors` is for images of your own"),
        ({"vectors": ("dx",)}, "`vectors` dx name 1 component, and a vector in an image has 2"),
        ({"vectors": ("dx,dy",)}, r"1 component \(names are separated by spaces\), and a vector"),
        ({"vectors": ("dx", "dx")}, "`vectors` names dx twice"),
        (
            {"model": "resnet", "group": "octahedral"},
            "and a vector in a volume has 3",
        ),
        ({"model": "p4cnn-rp"}, "have none at its end: choose --model p4cnn"),
        ({"model": "gcnn13"}, "choose --model p4cnn"),
        (
            {"group": "z2", "adapt": "symmetrize"},
            "`adapt` symmetrize is not for --vectors dx dy",
        ),
        ({"model": "resnet", "head": "published"}, "`head` published is not for --vectors"),
    ],
)
def test_what_cannot_be_is_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(GOOD, **changes)


def test_a_configuration_is_read_back():
    assert Config.from_json(GOOD.to_json()) == GOOD
    assert not Config.from_json(Config().to_json()).vectors
