"""The test images to look at: the most confident mistakes, and those that are least certain."""

from typing import Any

import numpy as np

from ..data.labels import label_array
from ..data.numbers import number_array
from ..data.splits import Data
from ..names import printable
from .class_figures import log_odds, softmax

EXAMPLES = 12


def examples(logits: np.ndarray, data: Data) -> dict[str, list[dict[str, Any]]]:
    """The test images to look at, by the key of the results: ``mistakes``, those of the wrong
    images whose predicted class has the largest probability, and ``least_certain``, those of all
    images whose predicted class has the smallest; at most `EXAMPLES` of each.

    Args:
        logits: of all test images, ``[N, classes]``.
        data: their labels, and their files if they have any.
    """
    label, files = data.test.label, file_names(data)
    predicted, confidence = logits.argmax(-1), softmax(logits).max(-1)
    # Probabilities near 1 are rounded to equal numbers, and these are not.
    odds = log_odds(logits).max(-1)
    wrong = np.flatnonzero(predicted != label)
    chosen = {
        "mistakes": wrong[np.argsort(-odds[wrong], kind="stable")],
        "least_certain": np.argsort(odds, kind="stable"),
    }
    return {
        key: [
            {
                "index": int(i),
                **({"file": files[i]} if files else {}),
                "true": int(label[i]),
                "predicted": int(predicted[i]),
                "probability": float(confidence[i]),
            }
            for i in order[:EXAMPLES]
        ]
        for key, order in chosen.items()
    }


def file_names(data: Data) -> list[str] | None:
    """The file of each test image, as it lies in the folder; None if there are none, or if some of
    the files that a run began with are gone, so that it is not known which image is whose."""
    if data.folder is None:
        return None
    files = [file for file in data.folder.files if file.split == "test"]
    if data.folder.masks is not None:
        whole = len(files) == len(data.test.label)
        return [printable(file.name) for file in files] if whole else None
    if data.folder.numbers:
        texts = [str(file.class_name) for file in files]
        label = number_array(texts, data.test.label.shape[-1])
    else:
        several, labels = data.test.label.ndim == 2, [file.label for file in files]
        label = label_array(labels, data.test.label.shape[-1], several=several)
    if not np.array_equal(label, data.test.label):
        return None
    return [printable(file.name) for file in files]
