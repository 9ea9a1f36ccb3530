"""The table of networks that were trained alike: errors of the test set, and who is ahead."""

import math

from train.report.fair_comparison import definitions, fair_cells, standard_error, verdicts


def results(error: float, images: int = 400, **more) -> dict:
    return {
        "model": "any",
        "parameters": 1234,
        "test_error": error,
        "test_images": images,
        "train_seconds": 10.0,
        **more,
    }


def test_the_standard_error_is_that_of_a_share():
    assert math.isclose(standard_error([results(0.2)]), 0.02)
    assert math.isclose(standard_error([results(0.2, images=100)]), 0.04)
    assert standard_error([results(0.0)]) == 0
    assert math.isclose(standard_error([results(0.1), results(0.3)]), 0.02), "of their mean"


def test_cells_have_the_figures_of_each_network():
    angles = {"accuracy_at_angle": [0.9, 0.7, 0.9], "angles": [0.0, 180.0, 360.0]}
    every = {"a": [results(0.2, **angles)], "b": [results(0.1)]}
    first, second = fair_cells(every)
    assert first["model"] == "a" and first["test error"] == "20.00 ± 2.00 %"
    assert first["worst accuracy over angles"] == "70.0 %" and first["parameters"] == "1,234"
    assert first["training time"] == "10 s" and first["invariance error"] == "-"
    assert second["test error"] == "10.00 ± 1.50 %" and second["worst accuracy over angles"] == "-"
    assert list(first) == list(second) and "over seeds" not in first


def test_cells_of_several_seeds_are_means():
    angles = [{"accuracy_at_angle": [0.9, low], "angles": [0, 360]} for low in (0.7, 0.5)]
    slow = {"train_seconds": 30.0}
    every = {"a": [results(0.1, **angles[0]), results(0.3, **angles[1] | slow)]}
    (row,) = fair_cells(every)
    assert row["test error"] == "20.00 ± 2.00 %" and row["over seeds"] == "20.00 ± 14.14"
    assert row["worst accuracy over angles"] == "60.0 %" and row["training time"] == "20 s"
    assert "over 2 seeds" in definitions(every)


def test_the_verdict_says_who_is_ahead_and_whether_that_is_chance():
    # The standard error of a difference is 2.83 points at 20 % of 400 images.
    every = {"a": [results(0.2)], "b": [results(0.2)], "c": [results(0.25)], "d": [results(0.1)]}
    same, behind, ahead = verdicts(every)
    assert same == "a and b have the same test error."
    assert behind.startswith("a is 5.00 percentage points ahead of c: within twice the standard")
    assert "(2.95), so that these test images do not tell which is better" in behind
    assert ahead == (
        "a is 10.00 percentage points behind d: more than twice the standard error of the "
        "difference (2.50)."
    )
    # Four times the images, and the same five points are no chance.
    many = {"a": [results(0.2, images=1600)], "c": [results(0.25, images=1600)]}
    assert "ahead of c: more than twice" in verdicts(many)[0]
