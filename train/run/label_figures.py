"""The figures of images with several labels: a decision for each image and class, yes or no.

All of them are made from logits and labels alone. A figure that the images do not define, such as
the AUC of a class that none of them or all of them have, is None.
"""

import numpy as np

from .class_figures import calibration, calibration_error, class_names, mean, recall_lines


def label_figures(logits: np.ndarray, label: np.ndarray) -> dict:
    """The figures of images by class, as plain numbers.

    Args:
        logits: ``[N, classes]``; a label is said where one is above 0.
        label: 0 or 1, ``[N, classes]``.

    Returns:
        ``exact_match``, the share of images with no wrong decision; ``auc``,
        ``average_precision`` and ``macro_f1``, means over the classes that some image has (the
        AUC: and not all have); ``labels_per_image``; ``error_deviation``, the standard deviation of
        the label error over the images; ``by_class`` with a list for each figure;
        ``calibration``, the curve of all decisions, and its ``calibration_error``.
    """
    said, true = logits > 0, label > 0
    wrong = said != true
    by_class = _by_class(said, true)
    by_class["auc"] = auc_by_label(logits, label)
    by_class["average_precision"] = _average_precision(logits, true)
    curve = label_calibration(logits, true)
    return {
        "exact_match": float((~wrong.any(-1)).mean()),
        "auc": mean(by_class["auc"]),
        "average_precision": mean(by_class["average_precision"]),
        "macro_f1": _macro_f1(by_class),
        "labels_per_image": float(true.sum(-1).mean()),
        "error_deviation": float(wrong.mean(-1).std()),
        "by_class": by_class,
        "calibration_error": calibration_error(curve),
        "calibration": curve,
    }


def label_figures_at_angles(logits: np.ndarray, label: np.ndarray) -> dict:
    """The same figures for images that were turned, ``[angles, N, classes]``: by angle, and the AUC
    by angle and class."""
    areas = [auc_by_label(at_angle, label) for at_angle in logits]
    curves = [label_calibration(at_angle, label > 0) for at_angle in logits]
    return {
        "auc_by_class_at_angle": areas,
        "auc_at_angle": [mean(of_classes) for of_classes in areas],
        "macro_f1_at_angle": [_macro_f1(_by_class(at > 0, label > 0)) for at in logits],
        "calibration_error_at_angle": [calibration_error(curve) for curve in curves],
    }


def auc_by_label(logits: np.ndarray, label: np.ndarray) -> list[float | None]:
    """The area under the ROC curve of each class: the probability that an image with the label has
    a higher logit for it than an image without, equal ones counted half. None for a class that no
    image has, or all, and where a logit is not finite."""
    from sklearn.metrics import roc_auc_score

    found: list[float | None] = []
    for scores, true in zip(logits.T, label.T > 0, strict=True):
        defined = true.any() and not true.all() and np.isfinite(scores).all()
        found.append(float(roc_auc_score(true, scores)) if defined else None)
    return found


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """The probabilities of the labels, in float64."""
    logits = np.asarray(logits, np.float64)
    small = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1.0, small) / (1 + small)


def label_calibration(logits: np.ndarray, true: np.ndarray) -> dict:
    """The calibration curve of all decisions: of those whose probability is in a bin, its mean and
    the share of images that have the label."""
    return calibration(sigmoid(logits).ravel(), true.ravel())


def label_lines(results: dict, most: int = 5) -> list[str]:
    """The lines for the user that a label error alone would hide.

    Args:
        results: with `label_figures`, and the names of the classes, if they have any.
        most: how many classes are named.
    """
    if "by_class" not in results:
        return []
    areas = "-" if results["auc"] is None else f"{results['auc']:.4f}"
    lines = [f"exact match {100 * results['exact_match']:.2f} %, mean AUC {areas}"]
    if results["macro_f1"] is not None:
        lines[0] += f", macro-F1 {100 * results['macro_f1']:.2f} %"
    if one_sided := one_sided_sentence(results):
        lines.append(one_sided)
    lost = [c for c, recall in enumerate(results["by_class"]["recall"]) if recall == 0]
    return lines + recall_lines(results, lost, most, "never found")


def one_sided_sentence(results: dict) -> str | None:
    """Return which classes have no AUC, since no image has them or all have; None if all have
    one."""
    names, areas = class_names(results), results["by_class"]["auc"]
    without = [names[c] for c, area in enumerate(areas) if area is None]
    if not without:
        return None
    more = f" and {len(without) - 10} more" if len(without) > 10 else ""
    return f"no AUC of {', '.join(without[:10])}{more}: no image has it, or all have"


def _macro_f1(by_class: dict[str, list]) -> float | None:
    """The mean of the F1 of the classes that some image has."""
    return mean([f1 for f1, n in zip(by_class["f1"], by_class["images"], strict=True) if n])


def _by_class(said: np.ndarray, true: np.ndarray) -> dict[str, list]:
    """Numbers and shares of each class, without those that are made from scores."""
    images, predicted = true.sum(0), said.sum(0)
    found = (said & true).sum(0)
    return {
        "images": images.tolist(),
        "predicted": predicted.tolist(),
        "precision": _shares(found, predicted),
        "recall": _shares(found, images),
        "f1": _shares(2 * found, images + predicted),
    }


def _shares(part: np.ndarray, whole: np.ndarray) -> list[float | None]:
    return [float(p / w) if w else None for p, w in zip(part, whole, strict=True)]


def _average_precision(logits: np.ndarray, true: np.ndarray) -> list[float | None]:
    """The average precision of each class; None for a class that no image has."""
    from sklearn.metrics import average_precision_score

    return [
        float(average_precision_score(of_class, scores)) if of_class.any() else None
        for scores, of_class in zip(logits.T, true.T, strict=True)
    ]
