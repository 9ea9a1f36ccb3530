"""The decisions to look at: the most confident mistakes, and those that are least certain."""

from typing import Any

import numpy as np

from ..data.splits import Data
from .examples import EXAMPLES, file_names
from .label_figures import sigmoid


def label_examples(logits: np.ndarray, data: Data) -> dict[str, list[dict[str, Any]]]:
    """The decisions on test images to look at, by the key of the results: ``mistakes``, the wrong
    ones whose logit is farthest from 0, and ``least_certain``, those of all whose logit is nearest
    to it; at most `EXAMPLES` of each.

    Each has the place of its image and of its class, whether it is ``true`` and was ``predicted``
    that the image has the label, and the probability of the label.

    Args:
        logits: of all test images, ``[N, classes]``.
        data: their labels, and their files if they have any.
    """
    label, files = data.test.label > 0, file_names(data)
    said, probability = logits > 0, sigmoid(logits)
    certain = np.abs(logits).ravel()
    wrong = np.flatnonzero((said != label).ravel())
    chosen = {
        "mistakes": wrong[np.argsort(-certain[wrong], kind="stable")],
        "least_certain": np.argsort(certain, kind="stable"),
    }

    def row(place: int) -> dict[str, Any]:
        i, c = divmod(int(place), logits.shape[1])
        return {
            "index": i,
            **({"file": files[i]} if files else {}),
            "class": c,
            "true": bool(label[i, c]),
            "predicted": bool(said[i, c]),
            "probability": float(probability[i, c]),
        }

    return {key: [row(place) for place in order[:EXAMPLES]] for key, order in chosen.items()}
