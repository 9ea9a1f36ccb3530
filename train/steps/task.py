"""The two tasks of a classifier: the one class of an image, or all of its labels.

The data set decides which it is. All that differs in steps, predictions and exported networks is
here; the figures of each are in `train.run.figures`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .label_loss import binary_cross_entropy
from .loss import Loss, cross_entropy


@dataclass(frozen=True)
class Task:
    """The meaning of logits ``[..., N, classes]``. The functions take arrays of JAX and of NumPy,
    but for the loss."""

    several: bool
    """True if an image may have several labels."""
    error: str
    """The name of the error."""
    link: str
    """The function that makes probabilities of logits, in words."""
    cross_entropy: Loss
    """The loss of each image in evaluation."""
    probabilities: Callable[[jax.Array], jax.Array]
    """Logits of JAX to the probabilities of the classes."""
    answers: Callable[[Any], Any]
    """Logits to the class ``[..., N]``, or to a yes or no for each, ``[..., N, classes]``."""
    errors: Callable[[Any, Any], Any]
    """Logits and labels to the error of each image: wrong or not, or the share of the classes on
    which it is wrong."""


def _class(logits: Any) -> Any:
    return logits.argmax(-1)


def _labels(logits: Any) -> Any:
    return logits > 0  # where the probability is above 0.5


def _softmax(logits: jax.Array) -> jax.Array:
    return jax.nn.softmax(logits.astype(jnp.float32))


def _sigmoid(logits: jax.Array) -> jax.Array:
    return jax.nn.sigmoid(logits.astype(jnp.float32))


ONE_CLASS = Task(
    several=False,
    error="error",
    link="softmax",
    cross_entropy=cross_entropy,
    probabilities=_softmax,
    answers=_class,
    errors=lambda logits, label: _class(logits) != label,
)
SEVERAL_LABELS = Task(
    several=True,
    error="label error",
    link="sigmoid",
    cross_entropy=binary_cross_entropy,
    probabilities=_sigmoid,
    answers=_labels,
    errors=lambda logits, label: (_labels(logits) != (label > 0)).mean(-1),
)


def said_classes(answers: Any) -> list[int]:
    """Return the classes of one image from its answer, or from its label: a number, or a yes or no
    for each class."""
    answers = np.asarray(answers)
    return [int(answers)] if answers.ndim == 0 else np.flatnonzero(answers).tolist()


def task_of(label: np.ndarray) -> Task:
    """Return the task of images with such labels: ``[N]``, or ``[N, classes]``."""
    return SEVERAL_LABELS if label.ndim == 2 else ONE_CLASS


def task_of_results(results: dict) -> Task:
    """Return the task of a run, from its results; those of earlier versions have one class."""
    several = results.get("input", {}).get("several_labels", False)
    return SEVERAL_LABELS if several else ONE_CLASS
