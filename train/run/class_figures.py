"""The figures of a classification by class: recall, precision, AUC, confusions, calibration.

All of them are made from logits and labels alone. A figure that the images do not define, such as
the recall of a class that none of them has, is None.
"""

import math
from collections.abc import Sequence

import numpy as np

from ..names import pluralize

MOST_CLASSES = 25
"""The classes of a confusion matrix; of more there is a list of the most frequent confusions."""
BINS = 15
"""The bins of the calibration curve."""
UNBALANCED = 1.5
"""The ratio of the largest class to the smallest one above which the error alone misleads."""


def class_figures(logits: np.ndarray, label: np.ndarray) -> dict:
    """The figures of images by class, as plain numbers.

    Args:
        logits: ``[N, classes]``.
        label: ``[N]``.

    Returns:
        ``class_mean_accuracy``, the mean recall over the classes that have images; ``auc``, the
        mean over the classes that have images and are not alone; ``calibration_error``;
        ``by_class`` with a list for each figure; ``confusion``, or ``confusions`` for more than
        `MOST_CLASSES`; ``calibration``, the curve.
    """
    predicted = logits.argmax(-1)
    by_class = _by_class(predicted, label, logits.shape[-1])
    areas = auc_by_class(logits, label)
    found = {
        "class_mean_accuracy": mean(by_class["recall"]),
        "auc": mean(areas),
        "by_class": {**by_class, "auc": areas},
    }
    if logits.shape[-1] <= MOST_CLASSES:
        from sklearn.metrics import confusion_matrix

        every = range(logits.shape[-1])
        found["confusion"] = confusion_matrix(label, predicted, labels=every).tolist()
    else:
        found["confusions"] = _confusions(predicted, label)
    confidence, right = softmax(logits).max(-1), predicted == label
    curve = calibration(confidence, right)
    return found | {"calibration_error": calibration_error(curve), "calibration": curve}


def figures_at_angles(logits: np.ndarray, label: np.ndarray) -> dict:
    """The same figures for images that were turned, ``[angles, N, classes]``: by angle, and the
    recall by angle and class."""
    found = {name: [] for name in ("recall", "class_mean_accuracy", "auc", "calibration_error")}
    for at_angle in logits:
        predicted = at_angle.argmax(-1)
        recall = _recall(predicted, label, logits.shape[-1])
        confidence = softmax(at_angle).max(-1)
        found["recall"].append(recall)
        found["class_mean_accuracy"].append(mean(recall))
        found["auc"].append(mean(auc_by_class(at_angle, label)))
        curve = calibration(confidence, predicted == label)
        found["calibration_error"].append(calibration_error(curve))
    return {f"{name}_at_angle": values for name, values in found.items()}


def class_mean_accuracy(logits: np.ndarray, label: np.ndarray) -> float:
    """The mean of the recalls of the classes that have images: balanced accuracy."""
    found = mean(_recall(logits.argmax(-1), label, logits.shape[-1]))
    assert found is not None, "there are images"
    return found


def auc_by_class(logits: np.ndarray, label: np.ndarray) -> list[float | None]:
    """The area under the ROC curve of each class against all others.

    It is the probability that an image of the class has a higher score for it than an image of
    another class, equal scores counted half. The score is ``log p / (1 - p)``: probabilities near
    1 are rounded to equal numbers. With two classes both areas are the same. None for a class
    that no image has, or all, and where a score is not finite.
    """
    from sklearn.metrics import roc_auc_score

    odds = log_odds(logits)
    found: list[float | None] = []
    for c, scores in enumerate(odds.T):
        of_class = label == c
        defined = of_class.any() and not of_class.all() and np.isfinite(scores).all()
        found.append(float(roc_auc_score(of_class, scores)) if defined else None)
    return found


def log_odds(logits: np.ndarray) -> np.ndarray:
    """``log p[c] / (1 - p[c])`` of each class, for ``p = softmax(logits)``, float64 ``[N,
    classes]``; exact where ``p`` is close to 1."""
    logits = np.asarray(logits, np.float64)
    rows, best = np.arange(len(logits)), logits.argmax(-1)
    others = logits.copy()
    others[rows, best] = -np.inf
    second = others.max(-1)
    rest = np.exp(others - second[:, None]).sum(-1)
    shifted = logits - logits[rows, best][:, None]
    exp = np.exp(shifted)
    # For a class that is not the likeliest: 1 for that one, and what the others have.
    without = 1 + np.maximum(exp.sum(-1, keepdims=True) - 1 - exp, 0)
    odds = shifted - np.log(without)
    odds[rows, best] = logits[rows, best] - second - np.log(rest)
    return odds


def softmax(logits: np.ndarray) -> np.ndarray:
    """The probabilities, in float64."""
    exp = np.exp(np.asarray(logits, np.float64) - logits.max(-1, keepdims=True))
    return exp / exp.sum(-1, keepdims=True)


def calibration(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> dict:
    """The calibration curve: of the images whose confidence is in a bin, the mean confidence and
    the accuracy.

    Args:
        confidence: the probability of the predicted class, ``[N]``.
        right: whether that class is right, ``[N]``.
        bins: their number; bin b holds what is above ``b / bins`` and at most ``(b + 1) / bins``.

    Returns:
        Lists of length ``bins``: ``images``, ``confidence``, ``accuracy``; the latter two are None
        in an empty bin.
    """
    place = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence)
    images = np.bincount(place, minlength=bins)
    sums = [np.bincount(place, weights=values, minlength=bins) for values in (confidence, right)]
    means = [
        [float(s / n) if n else None for s, n in zip(values, images, strict=True)]
        for values in sums
    ]
    return {"images": images.tolist(), "confidence": means[0], "accuracy": means[1]}


def calibration_error(curve: dict) -> float:
    """The expected calibration error of a `calibration` curve: ``sum_b n[b] / N |accuracy[b] -
    confidence[b]|`` over its bins (Guo et al. 2017)."""
    parts = zip(curve["images"], curve["accuracy"], curve["confidence"], strict=True)
    gaps = [n * abs(accuracy - confidence) for n, accuracy, confidence in parts if n]
    return sum(gaps) / sum(curve["images"])


def class_lines(results: dict, most: int = 5) -> list[str]:
    """The lines for the user that an error alone would hide, if there are any: the class-mean
    accuracy if the classes are unbalanced, and classes whose recall is 0 or below a half of it.

    Args:
        results: with `class_figures`, and the names of the classes, if they have any.
        most: how many classes are named.
    """
    if "by_class" not in results:
        return []
    images, recall = (results["by_class"][key] for key in ("images", "recall"))
    least = results["class_mean_accuracy"] / 2
    lines = []
    if is_unbalanced(results["by_class"]):
        lines.append(f"class-mean accuracy {100 * results['class_mean_accuracy']:.2f} %")
    low = [c for c, r in enumerate(recall) if r is not None and (r == 0 or r < least)]
    low.sort(key=lambda c: (recall[c], -images[c]))
    return lines + recall_lines(results, low, most, "of low recall")


def recall_lines(results: dict, chosen: Sequence[int], most: int, others: str) -> list[str]:
    """Return a line on the recall of each chosen class, of at most so many.

    Args:
        results: with the figures by class, and the names of the classes, if they have any.
        chosen: the places of the classes.
        most: how many of them are named.
        others: the words after the number of those that are not.
    """
    names, by_class = class_names(results), results["by_class"]
    lines = []
    for c in chosen[:most]:
        count = pluralize(by_class["images"][c], "image")
        lines.append(f"class {names[c]}: recall {100 * by_class['recall'][c]:.1f} % of {count}")
    if len(chosen) > most:
        lines.append(f"and {pluralize(len(chosen) - most, 'more class')} {others}")
    return lines


def class_names(results: dict) -> list[str]:
    """The names of the classes, or their numbers."""
    names = results.get("input", {}).get("names")
    return list(names or map(str, range(len(results["by_class"]["images"]))))


def is_unbalanced(by_class: dict) -> bool:
    """Return whether a class has more than `UNBALANCED` times the images of another."""
    counts = [n for n in by_class["images"] if n]
    return max(counts) > UNBALANCED * min(counts)


def worst(recall: Sequence[float | None]) -> float | None:
    """The lowest recall of a class that has images."""
    return min((r for r in recall if r is not None), default=None)


def mean(values: Sequence[float | None]) -> float | None:
    """The mean of those that are defined, if any are."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def _by_class(predicted: np.ndarray, label: np.ndarray, classes: int) -> dict[str, list]:
    from sklearn.metrics import precision_recall_fscore_support

    every = np.arange(classes)
    precision, recall, f1, images = precision_recall_fscore_support(
        label, predicted, labels=every, zero_division=np.nan
    )
    return {
        "images": images.tolist(),  # pyright: ignore[reportOptionalMemberAccess]
        "predicted": np.bincount(predicted, minlength=classes).tolist(),
        "precision": _defined(precision),
        "recall": _defined(recall),
        "f1": _defined(f1),
    }


def _recall(predicted: np.ndarray, label: np.ndarray, classes: int) -> list[float | None]:
    images = np.bincount(label, minlength=classes)
    right = np.bincount(label[predicted == label], minlength=classes)
    return [float(r / n) if n else None for r, n in zip(right, images, strict=True)]


def _confusions(predicted: np.ndarray, label: np.ndarray) -> list[dict[str, int]]:
    """The most frequent pairs of a true class and another that was predicted."""
    wrong = predicted != label
    pairs, count = np.unique(
        np.stack([label[wrong], predicted[wrong]], -1), axis=0, return_counts=True
    )
    order = np.argsort(-count, kind="stable")[:MOST_CLASSES]
    return [
        {"true": int(pairs[i, 0]), "predicted": int(pairs[i, 1]), "images": int(count[i])}
        for i in order
    ]


def _defined(values) -> list[float | None]:
    """Plain numbers, with None for those that are not defined."""
    return [None if math.isnan(value) else float(value) for value in values]
