"""The figures of masks: Dice and IoU of each class, from the numbers of its pixels.

All of them are made from `train.steps.mask_loss.mask_counts`, summed over all pixels of all images.
A figure that the images do not define, such as the Dice of a class that is neither in a mask nor
said anywhere, is None.
"""

from typing import Any

import numpy as np

from ..data.splits import Data
from ..names import pluralize
from .class_figures import mean
from .examples import EXAMPLES, file_names


def mask_figures(counts: np.ndarray, label: np.ndarray) -> dict:
    """Return the figures of images by class, as plain numbers.

    Args:
        counts: the pixels of each image by true and predicted class, ``[N, K, K]``.
        label: the masks, ``[N, ...]``, which the counts are of.

    Returns:
        ``pixel_accuracy``; ``dice`` and ``iou``, means over the classes; ``error_deviation``, the
        standard deviation over the images of the share of wrong pixels; ``by_mask_class`` with a
        list for each figure; and ``pixel_confusion``, the counts of all images.
    """
    every = counts.sum(0, dtype=np.int64)
    by_class = by_mask_class(every)
    return {
        "pixel_accuracy": pixel_accuracy(every),
        "dice": mean(by_class["dice"]),
        "iou": mean(by_class["iou"]),
        "error_deviation": float(wrong_shares(counts).std()),
        "by_mask_class": by_class | {"images": _images(counts)},
        "pixel_confusion": every.tolist(),
    }


def wrong_shares(counts: np.ndarray) -> np.ndarray:
    """Return the share of wrong pixels of each image, ``[N]``."""
    return 1 - np.trace(counts, axis1=1, axis2=2) / np.maximum(counts.sum((1, 2)), 1)


def by_mask_class(counts: np.ndarray) -> dict[str, list]:
    """Return the figures of each class from the pixels of all images, ``[K, K]``.

    With T true, P predicted and B pixels that are both, Dice is ``2 B / (T + P)``, IoU ``B / (T + P
    - B)``, recall ``B / T`` and precision ``B / P``.

    >>> found = by_mask_class(np.array([[6, 2], [0, 2]]))
    >>> found["dice"], found["iou"]
    ([0.8571428571428571, 0.6666666666666666], [0.75, 0.5])
    """
    both, true, said = np.diag(counts), counts.sum(1), counts.sum(0)
    return {
        "pixels": true.tolist(),
        "predicted": said.tolist(),
        "dice": _shares(2 * both, true + said),
        "iou": _shares(both, true + said - both),
        "recall": _shares(both, true),
        "precision": _shares(both, said),
    }


def mean_dice(counts: np.ndarray, label: np.ndarray) -> float:
    """Return the mean Dice over the classes, NaN if none is defined."""
    found = mean(by_mask_class(counts.sum(0, dtype=np.int64))["dice"])
    return np.nan if found is None else found


def mean_iou(counts: np.ndarray, label: np.ndarray) -> float:
    """Return the mean IoU over the classes, NaN if none is defined."""
    found = mean(by_mask_class(counts.sum(0, dtype=np.int64))["iou"])
    return np.nan if found is None else found


def pixel_accuracy(counts: np.ndarray) -> float:
    """Return the share of the pixels that are right."""
    return float(np.trace(counts) / max(int(counts.sum()), 1))


def worst_masks(counts: np.ndarray, data: Data) -> dict[str, list[dict[str, Any]]]:
    """Return the `EXAMPLES` test images with the lowest mean Dice over the classes that are in the
    mask or said, as ``worst_masks``."""
    files = file_names(data)
    each = [mean(by_mask_class(of_image)["dice"]) for of_image in counts]
    dice = np.array([1.0 if value is None else value for value in each])
    wrong = wrong_shares(counts)
    return {
        "worst_masks": [
            {
                "index": int(i),
                **({"file": files[i]} if files else {}),
                "dice": float(dice[i]),
                "error": float(wrong[i]),
            }
            for i in np.argsort(dice, kind="stable")[:EXAMPLES]
        ]
    }


def mask_lines(results: dict, most: int = 10) -> list[str]:
    """Return the lines for the user with the overlap of each class."""
    if "by_mask_class" not in results:
        return []
    found, names = results["by_mask_class"], results["input"]["names"]
    lines = [f"mean Dice {shown_share(results['dice'])}, mean IoU {shown_share(results['iou'])}"]
    lines += [
        f"class {name}: Dice {shown_share(dice)}, IoU {shown_share(iou)}, {pixels:,} pixels"
        for name, dice, iou, pixels in zip(
            names, found["dice"], found["iou"], found["pixels"], strict=True
        )
    ][:most]
    more = len(names) - most
    return lines + ([f"and {pluralize(more, 'more class')}"] if more > 0 else [])


def shown_share(share: float | None) -> str:
    """A share in percent; a dash if it is not defined."""
    return "-" if share is None else f"{100 * share:.2f} %"


def _images(counts: np.ndarray) -> list[int]:
    """Return the number of images that have each class in their masks."""
    return (counts.sum(2) > 0).sum(0).tolist()


def _shares(part: np.ndarray, whole: np.ndarray) -> list[float | None]:
    return [float(p / w) if w else None for p, w in zip(part, whole, strict=True)]
