"""The one measure of invariance: its definition, its groups, and what reports say of it."""

import dataclasses

import numpy as np
import pytest

from gconv_jax import P4, P4M, Z2, cyclic, dihedral
from train.config import Config
from train.report.markdown import result_cells, results_table
from train.report.protocol import protocol
from train.run.invariance import checked, described, difference, invariance_errors, symmetry, worst
from train.run.metrics import logits_of_turns, middle
from train.run.report_parts import Parts
from train.run.session import prepare_session
from train.steps.build_model import build_model
from train.steps.turned_images import Turn

CONFIG = Config()


def test_it_is_a_ratio_of_root_mean_squares(rng):
    upright = rng.normal(size=(7, 10))
    other = [a - b for i, a in enumerate(upright) for j, b in enumerate(upright) if i != j]
    size = np.sqrt(np.square(other).mean())
    assert difference(upright) == pytest.approx(size)
    errors = invariance_errors(np.stack([upright, upright + 0.3]), upright)
    np.testing.assert_allclose(errors, [0, 0.3 / size])


def test_it_is_1_for_a_network_to_which_turning_is_another_image(rng):
    logits = rng.normal(size=(1000, 10))
    errors = invariance_errors(np.stack([logits, rng.normal(size=(1000, 10))]), logits)
    np.testing.assert_allclose(errors, [0, 1], atol=0.03)


@pytest.mark.parametrize(
    ("options", "group"),
    [
        ({"model": "p4cnn"}, P4),
        ({"model": "p4cnn", "group": "p4m"}, P4M),
        ({"model": "group-cnn", "group": "c8"}, cyclic(8)),
        ({"model": "resnet", "group": "d2"}, dihedral(2)),
        ({"model": "lenet", "group": "z2"}, Z2),
        ({"model": "z2cnn"}, Z2),
        ({"model": "plain-cnn"}, Z2),
        ({"model": "early-p4cnn"}, Z2),
        ({"model": "mixed", "groups": ("p4m", "p4", "z2")}, Z2),
        ({"model": "mixed", "groups": ("p4m", "p4")}, P4),
        ({"model": "e2cnn"}, cyclic(16)),
        ({"model": "e2cnn", "groups": ("d8", "c4")}, None),
        ({"model": "small-e2cnn"}, cyclic(8)),
        ({"model": "wide-resnet"}, P4M),
        ({"model": "densenet"}, P4),
        ({"model": "ck-resnet"}, cyclic(8)),
        ({"model": "ck-resnet", "group": "o2", "samples": 4}, dihedral(2)),
        ({"model": "gcnn13", "group": "mirror"}, dihedral(1)),
        ({"model": "augerino"}, Z2),
        ({"model": "plain-cnn", "adapt": "symmetrize", "adapt_group": "p4m"}, P4M),
        (
            {"model": "lenet", "group": "z2", "adapt": "canonicalize", "adapt_group": "c8"},
            cyclic(8),
        ),
        ({"model": "plain-cnn", "adapt": "penalty"}, Z2),
        ({"model": "p4cnn", "relaxed": 2}, Z2),
        ({"model": "convnext", "group": "p4m", "head": "ordinary"}, Z2),
    ],
    ids=str,
)
def test_each_network_has_the_group_that_it_was_built_with(options, group):
    if group is None:
        with pytest.raises(ValueError, match="`groups` must be"):
            Config(**options)
        return
    assert symmetry(Config(**options)) == group


@pytest.mark.parametrize("model", ["e2cnn", "small-e2cnn", "wide-resnet", "densenet"])
def test_defaults_are_those_of_the_models(model):
    from flax import nnx

    config = Config(model=model)
    network = nnx.eval_shape(lambda: build_model(config, classes=2, in_features=1))
    groups = getattr(network, "groups", None) or (network.group,)
    assert symmetry(config) == groups[-1]


def results(model: str, group, errors: dict[str, float], **others) -> dict:
    return {
        "model": model,
        "parameters": 1000,
        "epochs": 1,
        "train_images": 100,
        "validation_images": 0,
        "test_images": 10,
        "test_error": 0.25,
        "train_seconds": 3.0,
        "symmetry": described(group),
        "invariance_images": 10,
        "invariance_error_at_element": errors,
    } | others


def errors_under(group, exact: float, other: float) -> dict[str, float]:
    lattice = described(P4M)["elements"]
    return {name: exact if name in lattice else other for name in described(group)["elements"]}


OF_P4M = results("p4m", P4M, errors_under(P4M, 1e-7, 0))
OF_C8 = results("c8", cyclic(8), errors_under(cyclic(8), 2e-7, 0.125))
PLAIN = results("plain", Z2, errors_under(P4M, 0.5, 0))
OLD = {k: v for k, v in OF_P4M.items() if not k.startswith(("inv", "sym"))}
OLD |= {"model": "old", "equivariance_error": 3e-7, "equivariance_group": "cyclic(4)"}


def test_reflections_count():
    """A network whose reflections are broken was as good as one whose are not."""
    broken = OF_P4M["invariance_error_at_element"] | {"r90·m": 0.4}
    assert worst(OF_P4M, described(P4M), exact=True) == 1e-7
    assert worst(results("x", P4M, broken), described(P4M), exact=True) == 0.4
    assert worst(results("x", P4M, broken), described(P4), exact=True) == 1e-7


def test_a_table_says_under_which_group():
    (cells,) = result_cells([OF_P4M])
    assert (cells["invariance error"], cells["under"]) == ("1.0e-07", "P4M")
    assert "interpolated" not in cells
    (cells,) = result_cells([OF_C8])
    assert (cells["invariance error"], cells["interpolated"]) == ("2.0e-07", "0.12")
    assert checked(PLAIN) == described(P4)
    cells = result_cells([PLAIN, OF_P4M])
    assert [c["under"] for c in cells] == ["P4M"] * 2
    assert cells[0]["invariance error"] == "5.0e-01"


def test_a_plain_network_beside_finer_rotations_has_what_was_measured():
    cells = result_cells([PLAIN, OF_C8])
    assert cells[0]["under"] == "cyclic(8)" and cells[0]["invariance error"] == "5.0e-01"
    assert cells[0]["interpolated"] == "-"
    curve = {"angles": [45.0, 135.0, 225.0, 315.0], "invariance_error_at_angle": [0.7] * 4}
    cells = result_cells([PLAIN | curve, OF_C8])
    assert cells[0]["interpolated"] == "0.70"


def test_results_of_an_earlier_version_are_read_and_not_mixed_up():
    table = results_table([OLD, OF_P4M])
    assert "3.0e-07" not in table and "| old   | 1,000      | 25.00 %    | - " in table
    text = protocol(CONFIG, OLD)
    assert "not measured as it is defined now" in text and "python -m train report" in text


@pytest.mark.parametrize(
    ("found", "beside", "words"),
    [
        (OF_P4M, [], ["8 elements of P4M", "P4M is the symmetry that this"]),
        (OF_C8, [], ["4 elements of cyclic(8) that move pixels", "largest over the other 4"]),
        (PLAIN, [], ["4 elements of P4", "without such a symmetry", "quarter turns, for"]),
        (PLAIN, [PLAIN, OF_P4M], ["8 elements of P4M", "that of the network beside it"]),
    ],
    ids=["p4m", "c8", "plain", "plain beside p4m"],
)
def test_the_protocol_says_what_was_measured(found, beside, words):
    text = protocol(CONFIG, found, beside)
    for word in (*words, "all 10 test images", "0 is no change"):
        assert word in text, word
    assert "quivariance error" not in text and "64" not in text
    assert "the first 64 test images" in protocol(
        CONFIG, found | {"test_images": 100, "invariance_images": 64}, beside
    )


def test_logits_are_those_of_the_turned_images_in_any_batches(tiny):
    """The images that are turned are those that the network is given."""
    session = prepare_session(dataclasses.replace(tiny, batch_size=32))
    state, turns = session.init(), [Turn(0.0), Turn(90.0, mirrored=True), Turn(30.0)]
    found = logits_of_turns(session, state, turns, 11, Parts(), "elements")
    assert found.shape == (3, 11, 10)
    image = session.data.test.image[:11]
    expected = session.trainer.logits(state, np.rot90(image[:, :, ::-1], 1, (1, 2)))
    np.testing.assert_allclose(found[1], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[0], session.trainer.logits(state, image), rtol=1e-4, atol=1e-5)
    assert np.abs(found[2] - found[0]).max() > 1e-3


def test_the_middle_is_the_median_and_the_lower_one_of_two():
    assert middle([3.0, 1.0, 2.0]) == 2 and middle([4.0, 3.0, 1.0, 2.0]) == 3
    assert middle([5.0]) == 0 and middle([1.0, 1.0, 1.0]) == 1
