"""The figures of images with several labels: those of scikit-learn, and what is counted by hand."""

import json
import types

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    hamming_loss,
    precision_score,
    recall_score,
    roc_auc_score,
)

from train.run.figures import OF_LABELS, figure_lines
from train.run.label_examples import label_examples
from train.run.label_figures import label_figures, label_figures_at_angles, sigmoid
from train.steps.task import SEVERAL_LABELS

RNG = np.random.default_rng(0)
LABEL = (RNG.random((200, 4)) < [0.5, 0.3, 0.1, 0.7]).astype(np.float32)
LOGITS = RNG.normal(size=LABEL.shape) + 2 * LABEL - 1
SAID = LOGITS > 0


def test_figures_are_those_of_scikit_learn():
    found = label_figures(LOGITS, LABEL)
    by_class = found["by_class"]
    for name, score in (("recall", recall_score), ("precision", precision_score), ("f1", f1_score)):
        np.testing.assert_allclose(by_class[name], score(LABEL, SAID, average=None))
    np.testing.assert_allclose(by_class["auc"], roc_auc_score(LABEL, LOGITS, average=None))
    assert found["auc"] == pytest.approx(roc_auc_score(LABEL, LOGITS))
    assert found["average_precision"] == pytest.approx(average_precision_score(LABEL, LOGITS))
    assert found["macro_f1"] == pytest.approx(f1_score(LABEL, SAID, average="macro"))
    assert found["exact_match"] == accuracy_score(LABEL, SAID)
    assert by_class["images"] == LABEL.sum(0).tolist()
    assert by_class["predicted"] == SAID.sum(0).tolist()
    errors = SEVERAL_LABELS.errors(LOGITS, LABEL)
    assert errors.mean() == pytest.approx(hamming_loss(LABEL, SAID))
    assert found["error_deviation"] == pytest.approx(errors.std())
    assert found["labels_per_image"] == pytest.approx(LABEL.sum(-1).mean())
    assert sum(found["calibration"]["images"]) == LABEL.size
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_calibration_compares_probabilities_with_shares():
    """Six of 10 decisions at 0.75 are on images with the label, and one of four at 0.25."""
    logits = np.where(np.arange(14) < 10, 1, -1)[:, None] * np.log(3) * np.ones((1, 1))
    label = np.isin(np.arange(14), [0, 1, 2, 3, 4, 5, 12])[:, None].astype(np.float32)
    found = label_figures(logits, label)
    assert found["calibration_error"] == pytest.approx((10 * 0.15 + 4 * 0) / 14)


def test_classes_of_one_side_have_no_auc():
    """Class 0 has no image, and all have class 3. No warning is raised, as it would be an error."""
    label = LABEL.copy()
    label[:, 0], label[:, 3] = 0, 1
    found = label_figures(LOGITS, label)
    by_class = found["by_class"]
    assert by_class["auc"][0] is by_class["auc"][3] is None
    assert found["auc"] == pytest.approx(np.mean(by_class["auc"][1:3]))
    assert by_class["recall"][0] is None and by_class["precision"][0] == 0
    assert by_class["average_precision"][0] is None and by_class["average_precision"][3] == 1
    rest = f1_score(label, SAID, average=None, zero_division=0)[1:]
    assert found["macro_f1"] == pytest.approx(rest.mean()), "without the class that is not there"
    names = {"input": {"names": ["no", "b", "c", "all"], "several_labels": True}}
    lines = figure_lines(found | names)
    assert lines[1] == "no AUC of no, all: no image has it, or all have"
    none = label_figures(LOGITS[:1], np.zeros((1, 4), np.float32))
    assert none["auc"] is None and none["macro_f1"] is None
    assert figure_lines(none | names)[0].endswith("mean AUC -")


def test_a_class_that_is_never_found_is_named():
    logits = LOGITS.copy()
    logits[:, 2] = -1
    found = label_figures(logits, LABEL)
    names = {"input": {"names": ["a", "b", "rare", "d"], "several_labels": True}}
    assert (
        figure_lines(found | names)[-1]
        == f"class rare: recall 0.0 % of {int(LABEL.sum(0)[2])} images"
    )
    assert found["by_class"]["precision"][2] is None and found["by_class"]["f1"][2] == 0


def test_figures_at_angles_are_those_of_each():
    turned = np.stack([LOGITS, LOGITS[::-1]])
    found = label_figures_at_angles(turned, LABEL)
    for i in range(2):
        alone = label_figures(turned[i], LABEL)
        assert found["auc_at_angle"][i] == alone["auc"]
        assert found["auc_by_class_at_angle"][i] == alone["by_class"]["auc"]
        assert found["macro_f1_at_angle"][i] == alone["macro_f1"]
        assert found["calibration_error_at_angle"][i] == alone["calibration_error"]
    assert OF_LABELS.measured_at_angles - found.keys() == {"accuracy_at_angle"}


def test_rightness_is_the_mean_probability_of_right_decisions():
    p = sigmoid(np.array([[[2.0, -1.0]], [[-1000.0, 1000.0]]]))
    found = OF_LABELS.rightness(p, np.array([[1, 0]]))
    expected = (1 / (1 + np.exp(-2)) + 1 / (1 + np.exp(-1))) / 2
    np.testing.assert_allclose(found, [[expected], [0.0]])


def test_decisions_come_in_the_order_of_confidence():
    label = np.array([[1, 0], [0, 1], [1, 1]], np.float32)
    logits = np.array([[9.0, 4.0], [-3.0, -60.0], [-50.0, 0.5]])
    data = types.SimpleNamespace(test=types.SimpleNamespace(label=label), folder=None)
    found = label_examples(logits, data)
    assert [(row["index"], row["class"]) for row in found["mistakes"]] == [(1, 1), (2, 0), (0, 1)]
    assert [(r["index"], r["class"]) for r in found["least_certain"]][:2] == [(2, 1), (1, 0)]
    assert found["mistakes"][2] == {
        "index": 0, "class": 1, "true": False, "predicted": True,
        "probability": pytest.approx(1 / (1 + np.exp(-4))),
    }  # fmt: skip
