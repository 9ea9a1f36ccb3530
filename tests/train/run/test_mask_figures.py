"""Dice and IoU against scikit-learn, and a loop over pixels."""

import json

import numpy as np
import pytest
from sklearn.metrics import f1_score, jaccard_score

from train.run.mask_figures import (
    by_mask_class,
    mask_figures,
    mask_lines,
    mean_dice,
    mean_iou,
    wrong_shares,
)
from train.run.predicted_masks import restored, shares
from train.steps.mask_loss import mask_counts


@pytest.fixture(scope="module")
def given() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 3, (4, 6, 6)).astype(np.uint8)
    logits = rng.normal(size=(4, 6, 6, 4)) + 1.5 * np.eye(4)[mask]
    logits[..., 3] = -9  # neither in a mask nor said
    return logits.argmax(-1), mask, np.asarray(mask_counts(logits, mask))


def test_figures_are_those_of_scikit_learn(given):
    said, mask, counts = given
    found = mask_figures(counts, mask)
    flat = {"y_true": mask.ravel(), "y_pred": said.ravel(), "labels": range(3), "average": None}
    by_class = found["by_mask_class"]
    np.testing.assert_allclose(by_class["dice"][:3], f1_score(**flat))
    np.testing.assert_allclose(by_class["iou"][:3], jaccard_score(**flat))
    assert by_class["dice"][3] is by_class["iou"][3] is None
    assert found["dice"] == mean_dice(counts, mask) == pytest.approx(f1_score(**flat).mean())
    assert found["iou"] == mean_iou(counts, mask) == pytest.approx(jaccard_score(**flat).mean())
    assert found["pixel_accuracy"] == pytest.approx((said == mask).mean())
    wrong = (said != mask).mean((1, 2))
    np.testing.assert_allclose(wrong_shares(counts), wrong)
    assert found["error_deviation"] == pytest.approx(wrong.std())
    assert by_class["images"] == [4, 4, 4, 0] and sum(by_class["pixels"]) == mask.size
    json.dumps(found, allow_nan=False)


def test_classes_that_are_missed_or_invented_have_no_overlap():
    found = by_mask_class(np.array([[5, 2, 0], [0, 0, 0], [3, 0, 0]]))
    assert found["dice"][1:] == [0, 0] and found["iou"][1:] == [0, 0]
    assert found["recall"] == [5 / 7, None, 0] and found["precision"] == [5 / 8, 0, None]


def test_lines_name_classes(given):
    _, mask, counts = given
    names = ["ground", "cell", "bar", "none"]
    lines = mask_lines(mask_figures(counts, mask) | {"input": {"names": names}})
    assert lines[0].startswith("mean Dice ") and "class none: Dice -, IoU -, 0 pixels" in lines


@pytest.mark.parametrize("sides", [(16, 16), (8, 16), (30, 12), (40, 40)])
def test_masks_get_the_size_of_their_image_back(sides):
    """A mask that is scaled as an image is, and back, is about the same."""
    from train.data.mask_classes import IGNORED
    from train.data.mask_files import fitted_mask

    mask = np.zeros(sides, np.uint8)
    mask[sides[0] // 4 : sides[0] // 2, sides[1] // 4 :] = 1
    small = fitted_mask(mask, (16, 16))
    probabilities = np.eye(2, dtype=np.float32)[np.where(small == IGNORED, 1, small)]
    again = restored(probabilities, sides)
    assert again.shape == sides and (again == mask).mean() > 0.9
    assert shares(again, 2).sum() == pytest.approx(1)
    if sides == (16, 16):
        np.testing.assert_array_equal(again, mask)


def test_volumes_are_cut_out():
    probabilities = np.random.default_rng(0).random((8, 8, 8, 3)).astype(np.float32)
    found = restored(probabilities, (8, 4, 6))
    np.testing.assert_array_equal(found, probabilities[:, 2:6, 1:7].argmax(-1))
