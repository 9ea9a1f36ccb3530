"""The figures by class: values that can be counted by hand, and those of scikit-learn."""

import json

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from train.run.class_figures import (
    auc_by_class,
    calibration,
    calibration_error,
    class_figures,
    class_lines,
    class_mean_accuracy,
    figures_at_angles,
    is_unbalanced,
    log_odds,
    softmax,
)

LABEL = np.array([0, 0, 0, 0, 1, 1, 3])
PREDICTED = np.array([0, 0, 0, 1, 1, 0, 0])


def logits_of(predicted: np.ndarray, classes: int = 4) -> np.ndarray:
    return 5.0 * np.eye(classes)[predicted]


def test_figures_that_can_be_counted_by_hand():
    """Class 2 has no images and is never predicted; class 3 is never predicted."""
    found = class_figures(logits_of(PREDICTED), LABEL)
    assert found["confusion"] == [[3, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]]
    by_class = found["by_class"]
    assert by_class["images"] == [4, 2, 0, 1] and by_class["predicted"] == [5, 2, 0, 0]
    assert by_class["recall"] == [0.75, 0.5, None, 0.0]
    assert by_class["precision"] == [0.6, 0.5, None, None]
    assert by_class["f1"] == [pytest.approx(2 / 3), 0.5, None, 0.0]
    assert found["class_mean_accuracy"] == pytest.approx(1.25 / 3)
    assert found["class_mean_accuracy"] == balanced_accuracy_score(LABEL, PREDICTED)
    # Of 4 x 3 pairs, 3 x 2 are right and 3 x 1 + 1 x 1 + 1 x 1 are equal: of class 0.
    assert by_class["auc"][0] == pytest.approx((3 * 1 + (3 * 2 + 1 * 1) / 2) / 12)
    assert by_class["auc"][2] is None
    text = json.dumps(found, allow_nan=False)
    assert json.loads(text) == found


def test_of_many_classes_there_are_the_most_frequent_confusions():
    label = np.repeat(np.arange(30), 4)
    predicted = label.copy()
    predicted[:3], predicted[4:6], predicted[-1] = 7, 0, 2
    found = class_figures(logits_of(predicted, 30), label)
    assert "confusion" not in found
    assert found["confusions"] == [
        {"true": 0, "predicted": 7, "images": 3},
        {"true": 1, "predicted": 0, "images": 2},
        {"true": 29, "predicted": 2, "images": 1},
    ]
    assert class_figures(logits_of(label, 30), label)["confusions"] == []


def test_areas_under_the_curves_are_those_of_scikit_learn(rng):
    label = rng.integers(0, 4, 200)
    logits = rng.normal(size=(200, 4)) + np.eye(4)[label]
    areas = auc_by_class(logits, label)
    expected = roc_auc_score(label, softmax(logits), multi_class="ovr", average=None)
    np.testing.assert_allclose(areas, expected)
    assert class_figures(logits, label)["auc"] == pytest.approx(np.mean(expected))
    two = label % 2
    first, second = auc_by_class(logits[:, :2], two)
    assert first == pytest.approx(second)
    assert second == pytest.approx(roc_auc_score(two, logits[:, 1] - logits[:, 0]))
    assert auc_by_class(logits[:, :2], np.zeros(200, int)) == [None, None]
    assert auc_by_class(logits * np.nan, label) == [None] * 4


def test_areas_of_classes_of_which_the_network_is_sure():
    """All probabilities of class 1 are rounded to 1, and the order of the images is right."""
    logits = np.array([[0.0, 60.0], [0.0, 70.0], [0.0, 80.0], [0.0, 90.0]])
    assert len(set(softmax(logits)[:, 1])) == 1
    assert auc_by_class(logits, np.array([0, 0, 1, 1])) == [1.0, 1.0]
    assert auc_by_class(logits, np.array([0, 1, 0, 1])) == [0.75, 0.75]


def test_log_odds(rng):
    logits = rng.normal(size=(50, 5))
    p = softmax(logits)
    np.testing.assert_allclose(log_odds(logits), np.log(p / (1 - p)), rtol=1e-9)
    sure = log_odds(np.array([[1000.0, 0.0, 0.0]]))
    np.testing.assert_allclose(sure, [[1000 - np.log(2), -1000, -1000]])


def test_calibration_by_hand():
    """Bins of a half: 0.5 itself is in the lower one."""
    curve = calibration(np.array([0.5, 0.3, 0.9, 0.8]), np.array([1, 0, 1, 0]), bins=2)
    assert curve["images"] == [2, 2] and curve["accuracy"] == [0.5, 0.5]
    assert curve["confidence"] == [pytest.approx(0.4), pytest.approx(0.85)]
    assert calibration_error(curve) == pytest.approx((0.1 + 0.35) / 2)
    empty = calibration(np.array([1.0, 1.0]), np.array([1, 1]), bins=3)
    assert empty == {
        "images": [0, 0, 2],
        "confidence": [None, None, 1.0],
        "accuracy": [None, None, 1.0],
    }
    assert calibration_error(empty) == 0


def test_the_calibration_curve_is_that_of_scikit_learn(rng):
    confidence = np.concatenate([rng.uniform(0, 1, 400), np.arange(16) / 15])
    right = rng.uniform(size=416) < confidence**2
    curve = calibration(confidence, right)
    accuracy, mean = calibration_curve(right, confidence, n_bins=15)
    np.testing.assert_allclose(curve["accuracy"], accuracy)
    np.testing.assert_allclose(curve["confidence"], mean)
    assert sum(curve["images"]) == 416
    assert calibration_error(curve) > 0.1
    assert calibration_error(calibration(confidence, rng.uniform(size=416) < confidence)) < 0.08


def test_turned_images_show_where_a_class_is_lost():
    upright, lost = logits_of(LABEL), logits_of(np.where(LABEL == 1, 0, LABEL))
    found = figures_at_angles(np.stack([upright, lost, upright]), LABEL)
    assert found["recall_at_angle"] == [[1, 1, None, 1], [1, 0, None, 1], [1, 1, None, 1]]
    assert found["class_mean_accuracy_at_angle"] == [1, pytest.approx(2 / 3), 1]
    assert found["auc_at_angle"][0] == 1 > found["auc_at_angle"][1]
    sure = 1 / (1 + 3 * np.exp(-5))
    expected = [1 - sure, sure - 5 / 7, 1 - sure]
    np.testing.assert_allclose(found["calibration_error_at_angle"], expected)


def results_of(images: list[int], right: list[int], names=None) -> dict:
    label = np.repeat(np.arange(len(images)), images)
    found = np.concatenate([np.arange(n) < r for n, r in zip(images, right, strict=True)])
    predicted = np.where(found, label, (label + 1) % len(images))
    return class_figures(logits_of(predicted, len(images)), label) | {"input": {"names": names}}


def test_a_rare_class_that_is_never_found_is_told():
    results = results_of([190, 10], [190, 0], ["frequent", "rare"])
    assert class_lines(results) == [
        "class-mean accuracy 50.00 %",
        "class rare: recall 0.0 % of 10 images",
    ]
    assert class_lines({}) == [], "a run of an earlier version"


def test_below_a_half_of_the_mean_is_low():
    assert class_lines(results_of([8, 8, 8], [8, 8, 3])) == ["class 2: recall 37.5 % of 8 images"]
    assert results_of([8, 8, 8], [8, 7, 3])["class_mean_accuracy"] == 0.75
    assert class_lines(results_of([8, 8, 8], [8, 7, 3])) == [], "a half itself is not"
    assert class_lines(results_of([8, 8], [8, 8])) == []


def test_the_worst_of_many_classes_are_told():
    lines = class_lines(results_of([1, 2, 3, 4, 5, 6, 70], [0, 0, 0, 0, 0, 1, 70]))
    assert lines[1:3] == ["class 4: recall 0.0 % of 5 images", "class 3: recall 0.0 % of 4 images"]
    assert lines[5:] == ["class 0: recall 0.0 % of 1 image"]
    lines = class_lines(results_of([4] * 8, [0] * 7 + [4]))
    assert len(lines) == 6 and lines[-1] == "and 2 more classes of low recall"
    lines = class_lines(results_of([4] * 7, [0] * 6 + [4]))
    assert lines[-1] == "and 1 more class of low recall"


def test_unbalanced_classes():
    assert is_unbalanced({"images": [16, 10]}) and not is_unbalanced({"images": [15, 10, 0]})
    assert class_mean_accuracy(logits_of(PREDICTED), LABEL) == pytest.approx(1.25 / 3)
