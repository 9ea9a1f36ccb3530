"""The tasks of a network: the one class of an image, all of its labels, numbers, or a mask.

The data set decides which it is, or ``--task``. All that differs in steps, predictions
and exported networks is here; the figures of each are in `train.run.figures`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..data.vectors import Vectors, vectors_of
from .label_loss import binary_cross_entropy
from .loss import Loss, cross_entropy
from .mask_loss import mask_counts, mask_loss, wrong_pixels
from .number_loss import number_loss


@dataclass(frozen=True)
class Task:
    """The meaning of logits ``[..., N, classes]``, of those of pixels, ``[N, *spatial, classes]``,
    or of numbers ``[..., N, targets]``. The functions take arrays of JAX and of NumPy, but for the
    loss."""

    several: bool
    """True if an image may have several labels."""
    error: str
    """The name of the error."""
    link: str
    """The function that makes probabilities of logits, in words."""
    cross_entropy: Loss
    """The loss of each image in evaluation."""
    probabilities: Callable[[jax.Array], jax.Array]
    """Logits of JAX to the probabilities of the classes; numbers stay as they are."""
    answers: Callable[[Any], Any]
    """Logits to the class ``[..., N]``, to a yes or no for each, ``[..., N, classes]``, or to the
    class of each pixel; numbers stay as they are."""
    errors: Callable[[Any, Any], Any]
    """Logits and labels to the error of each image: wrong or not, or the share of the classes on
    which it is wrong, or of the pixels; of numbers, the mean of ``|y - t| / scale`` over the
    targets."""
    scale: np.ndarray | None = None
    """The standard deviations of the targets over the training images, if it predicts numbers."""
    vectors: Vectors | None = None
    """The targets that are components of vectors, which turn with the image; None for none."""
    masks: bool = False
    """True if labels are masks: a class for each pixel."""
    measured: Callable[[Any, Any], Any] = lambda logits, label: logits
    """Logits and labels to what figures are made of: the logits themselves, or the numbers of
    pixels (`mask_counts`), since logits of pixels are too many to keep."""

    @property
    def numbers(self) -> bool:
        """True if it predicts numbers."""
        return self.scale is not None


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


def regression(scale: np.ndarray, loss: str = "squared", vectors: Vectors | None = None) -> Task:
    """Return the task of numbers with these standard deviations over the training images, some of
    which may be components of vectors."""
    scale = np.asarray(scale, np.float32)
    return Task(
        several=False,
        error="relative error",
        link="no function",
        cross_entropy=number_loss(scale, loss),
        probabilities=lambda values: values.astype(jnp.float32),
        answers=lambda values: values,
        errors=lambda values, label: (abs(values - label) / scale).mean(-1),
        scale=scale,
        vectors=vectors,
    )


MASKS = Task(
    several=False,
    error="pixel error",
    link="softmax",
    cross_entropy=mask_loss(cross_entropy),
    probabilities=_softmax,
    answers=_class,
    errors=wrong_pixels,
    masks=True,
    measured=mask_counts,
)


def said_classes(answers: Any) -> list[int]:
    """Return the classes of one image from its answer, or from its label: a number, or a yes or no
    for each class."""
    answers = np.asarray(answers)
    return [int(answers)] if answers.ndim == 0 else np.flatnonzero(answers).tolist()


def task_of(
    label: np.ndarray,
    scale: np.ndarray | None = None,
    loss: str = "squared",
    vectors: Vectors | None = None,
) -> Task:
    """Return the task of images with such labels: ``[N]``, or ``[N, classes]``, or masks, or
    numbers if these have a ``scale``, of which some are ``vectors``."""
    if scale is not None:
        return regression(scale, loss, vectors)
    if label.ndim > 2:
        return MASKS
    return SEVERAL_LABELS if label.ndim == 2 else ONE_CLASS


def task_of_results(results: dict) -> Task:
    """Return the task of a run, from its results; those of earlier versions have one class."""
    form = results.get("input", {})
    if "scale" in form:
        vectors = vectors_of(form.get("vectors"), len(form["scale"]))
        return regression(np.asarray(form["scale"]), vectors=vectors)
    if "mask_values" in form:
        return MASKS
    several = form.get("several_labels", False)
    return SEVERAL_LABELS if several else ONE_CLASS
