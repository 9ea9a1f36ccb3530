"""What the slider of a report's page shows: test images at angles all around, and what a network
makes of each, computed ahead."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np

from gconv_jax import rotate
from train.maps import first_layers, map_sprites, with_maps
from train.pixels import to_unit
from train.session import Session
from train.sprites import image_sheet
from train.step import TrainState

STEP = 5
"""Degrees between frames; divides 90."""
IMAGES = 4
LARGEST_IMAGE = 128
CLASSES = 10
"""Shown of each image; of more, those that are most probable somewhere."""


def turning(session: Session, state: TrainState) -> dict:
    """The frames of a network as plain numbers and PNG files in text, ready for JSON.

    They are of the first test image of each of the first four classes, at every multiple of 5
    degrees: turned with bilinear interpolation below 90 degrees, and exact quarter turns of those
    above.

    Returns:
        ``inputs``, which networks with the same test images have in common: the ``step`` in
        degrees, the names of the ``classes``, the ``images`` and their ``digest``. ``network``: for
        each image ``probabilities`` and ``invariance`` at each angle, and the ``maps`` of the first
        layers. With images larger than 128 pixels, or not square, only a ``note`` that says so.
    """
    test = session.data.test
    height, width = test.image.shape[1:3]
    if height != width or height > LARGEST_IMAGE:
        return {
            "note": f"There is no input to turn here: images must be square and of at most "
            f"{LARGEST_IMAGE} pixels, and these are {height} x {width}."
        }
    chosen = [int(np.argmax(test.label == c)) for c in np.unique(test.label)[:IMAGES]]
    frames = turned(test.image[chosen])
    images = [
        {"index": index, "label": int(test.label[index])} | image_sheet(of_image)
        for index, of_image in zip(chosen, frames, strict=True)
    ]
    logits, maps, note = _run(session, state, frames)
    return {
        "inputs": {
            "step": STEP,
            "classes": class_names(session),
            "images": images,
            "digest": hashlib.sha256(test.image[chosen].tobytes()).hexdigest(),
        },
        "network": {
            "probabilities": [_probabilities(of_image) for of_image in logits],
            "invariance": [
                [float(f"{e:.3g}") for e in invariance_errors(of_image)] for of_image in logits
            ],
            "maps": maps,
            "note": note,
        },
    }


def turned(image: np.ndarray) -> np.ndarray:
    """Stored images ``[N, n, n, C]`` at every angle: ``[N, frames, n, n, C]`` in [0, 1], and 0
    outside of what was turned."""
    pixels = to_unit(image)
    angles = np.deg2rad(np.arange(STEP, 90, STEP, dtype=np.float32))
    between = np.asarray(jax.jit(jax.vmap(rotate, (None, 0), 1))(pixels, angles))
    first = np.concatenate([pixels[:, None], between], 1)
    return np.concatenate([np.rot90(first, k, (2, 3)) for k in range(4)], 1)


def invariance_errors(logits: np.ndarray) -> np.ndarray:
    """``max |f(R x) - f(x)| / max |f(x)|`` for the logits ``[frames, classes]`` of an image."""
    logits = logits.astype(np.float64)
    return np.abs(logits - logits[0]).max(-1) / (np.abs(logits[0]).max() or 1.0)


def class_names(session: Session) -> list[str]:
    """Of all classes: words where the data set has them, else numbers."""
    if session.data.names is not None:
        return list(session.data.names)
    dataset, count = session.config.dataset, session.data.classes
    if dataset.startswith("cifar"):
        from gconv_jax.datasets._cifar_classes import CIFAR10_CLASSES, CIFAR100_CLASSES

        names = CIFAR100_CLASSES if dataset == "cifar100" else CIFAR10_CLASSES
        return [name.replace("_", " ") for name in names[:count]]
    return [str(c) for c in range(count)]


def _run(
    session: Session, state: TrainState, frames: np.ndarray
) -> tuple[np.ndarray, list[dict], str]:
    """Logits ``[image, frame, classes]`` and `map_sprites`; an image at a time in one program, so
    that memory is that of a batch."""

    def prepared(image: np.ndarray) -> jax.Array:
        return session.steps.prepare(session.feed.preprocess(image))

    model = session.steps.model(state.weights, state.stats)
    layers = first_layers(model, prepared(frames[0]))

    @jax.jit
    def run(params, stats, image):
        logits, maps = with_maps(session.steps.model(params, stats), image, layers)
        return logits.astype(jnp.float32), maps

    found = [
        jax.tree.map(np.asarray, run(state.weights, state.stats, prepared(of_image)))
        for of_image in frames
    ]
    maps, note = map_sprites(layers, [maps for _, maps in found])
    if session.data.whitening is not None:
        note = "Whitening, after the image is turned, does not turn with it. " + note
    return np.stack([logits for logits, _ in found]), maps, note


def _probabilities(logits: np.ndarray) -> dict:
    """The numbers of the classes that are shown, and their probabilities ``[frame][class]``."""
    exp = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    probabilities = exp / exp.sum(-1, keepdims=True)
    likely = np.sort(np.argsort(-probabilities.max(0), kind="stable")[:CLASSES])
    return {"classes": likely.tolist(), "values": probabilities[:, likely].round(5).tolist()}
