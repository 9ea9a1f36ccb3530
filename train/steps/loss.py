"""The losses of a training step: for each image, of its logits and its label."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ..config import Config
from .label_loss import make_label_loss
from .mask_loss import balanced_pixels, mask_loss
from .number_loss import number_loss

Loss = Callable[[jax.Array, jax.Array], jax.Array]
"""A function of logits ``[N, classes]`` and labels, ``[N]`` or 0 and 1 as ``[N, classes]``, or of
those of pixels, ``[N, *spatial, classes]`` and ``[N, *spatial]``, that returns the loss of each
image."""
_SMALLEST = float(np.finfo(np.float32).eps)


def cross_entropy(logits: jax.Array, label: jax.Array) -> jax.Array:
    """Return ``-log p[y]`` for the probabilities ``p = softmax(logits)`` and the label ``y``."""
    return optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), label)


def focal_loss(
    logits: jax.Array, label: jax.Array, *, gamma: float, smoothing: float = 0.0
) -> jax.Array:
    """Return the focal loss of each image, ``-sum_c q[c] (1 - p[c])^gamma log p[c]``.

    ``p = softmax(logits)``, and ``q`` is the target: ``q[c] = (1 - smoothing) [c = y] + smoothing /
    classes``. Without smoothing this is ``-(1 - p[y])^gamma log p[y]`` (Lin et al. 2017), and with
    ``gamma`` 0 it is the cross-entropy with smoothed labels.
    """
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
    target = optax.smooth_labels(jax.nn.one_hot(label, logits.shape[-1]), smoothing)
    terms = target * log_p
    if gamma:
        # Where p rounds to 1, a power below 1 would have an infinite derivative.
        terms *= jnp.maximum(-jnp.expm1(log_p), _SMALLEST) ** gamma
    return -terms.sum(-1)


def balanced_weights(label: np.ndarray, classes: int) -> np.ndarray:
    """Return the weight of each class, inversely proportional to its number of images.

    Args:
        label: the labels of the training images.
        classes: the number of classes.

    Returns:
        float32 ``[classes]``, ``w[c] = N / (K n[c])`` for N images, K classes that have images, and
        ``n[c]`` of them in class c; 0 for a class without images. The mean over the images is 1,
        so the learning rate keeps its meaning, and each class has the same sum.
    """
    from sklearn.utils.class_weight import compute_class_weight

    weights = np.zeros(classes, np.float32)
    present = np.unique(label)
    weights[present] = compute_class_weight("balanced", classes=present, y=label)
    return weights


def balanced_decisions(label: np.ndarray) -> np.ndarray:
    """Return the weight of each answer to each class, inversely proportional to its number.

    Args:
        label: those of the training images, 0 or 1, ``[N, classes]``.

    Returns:
        float32 ``[2, classes]``, ``N / (2 n)`` for the n images without a label and with it. In
        each class the weights of all images have the mean 1, and both answers the same sum. If all
        images have the same answer, its weight is 1, and that of the other 0.
    """
    columns = [balanced_weights(column.astype(np.int32), 2) for column in label.T]
    return np.stack(columns, -1)


def make_loss(
    config: Config, label: np.ndarray, classes: int, scale: np.ndarray | None = None
) -> Loss:
    """Return the loss that a configuration asks for.

    Args:
        config: its ``loss``, ``focal_gamma``, ``label_smoothing`` and ``class_weights``.
        label: the labels of the training images, ``[N]``, or ``[N, classes]`` where they may have
            several, or masks; none if they are only evaluated.
        classes: the number of classes.
        scale: the deviations of the targets, if labels are numbers.
    """
    if scale is not None:
        return number_loss(scale, config.loss)
    gamma = config.focal_gamma if config.loss == "focal" else 0.0
    if label.ndim == 2:
        balanced = config.class_weights == "balanced" and len(label)
        weights = balanced_decisions(label) if balanced else None
        return make_label_loss(gamma, config.label_smoothing, weights)
    loss = cross_entropy
    if gamma or config.label_smoothing:

        def loss(logits: jax.Array, label: jax.Array) -> jax.Array:
            return focal_loss(logits, label, gamma=gamma, smoothing=config.label_smoothing)

    if label.ndim > 2:
        balanced = config.class_weights == "balanced" and len(label)
        weights = balanced_pixels(label, classes) if balanced else None
        return mask_loss(loss, weights, dice=config.loss == "dice")
    if config.class_weights == "none" or not len(label):
        return loss
    weights = balanced_weights(label, classes)

    def weighted(logits: jax.Array, label: jax.Array) -> jax.Array:
        """The mean over a batch is divided by its images, not by their weights, so that batches and
        parts of them on several devices count alike."""
        return jnp.asarray(weights)[label] * loss(logits, label)

    return weighted
