"""The frames of the slider of a report's page: test images at angles all around, and what a network
makes of each, computed ahead."""

import hashlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ..data.pixels import to_unit
from ..data.vectors import Vectors
from ..data.volumes import is_volume
from ..run.examples import file_names
from ..run.figures import figures_of
from ..run.invariance import difference
from ..run.metrics import INVARIANCE_IMAGES, middle
from ..run.session import Session
from ..steps.step import TrainState
from ..steps.task import Task, said_classes
from ..steps.turned_images import Turn, turned
from .feature_maps import first_layers, map_sprites, with_maps
from .sprite_sheets import image_sheet

FRAMES = 72
"""The angles of a full turn that are shown, if the configuration says nothing else."""
IMAGES = 5
"""Odd, so that one of them is in the middle."""
LARGEST_IMAGE = 128
NO_VOLUMES = {"note": "There is no input to turn here: the slider is for images, not volumes."}
NO_MASKS = {"note": "There is no input to turn here: the slider is for what is said of an image."}
CLASSES = 10
"""Shown of each image; of more, those that are most probable somewhere."""


def page_images(session: Session) -> int:
    """Return how many images pass through the network for `turning`."""
    return min(IMAGES, len(session.data.test.label)) * _frames(session)


def _frames(session: Session) -> int:
    return session.config.angles or FRAMES


def turning(
    session: Session, state: TrainState, advance: Callable[[int], None] = lambda images: None
) -> dict:
    """The frames of a network as plain numbers and PNG files in text, ready for JSON.

    They are of the first test image of each of the first five classes, and of the first others if
    there are fewer, at 72 angles or as many as the configuration says (`turned_images`).

    Args:
        session: its test images are turned.
        state: the network.
        advance: is told how many images are done.

    Returns:
        ``inputs``, which networks with the same test images have in common: the ``step`` in
        degrees, the names of the ``classes``, the ``images`` and their ``digest``. ``network``: for
        each image ``probabilities`` and ``invariance`` at each angle, and the ``maps`` of the first
        layers. With images larger than 128 pixels, or not square, only a ``note`` that says so.
    """
    test = session.data.test
    if is_volume(test.image.shape[1:]):
        return dict(NO_VOLUMES)
    height, width = test.image.shape[1:3]
    if height != width or height > LARGEST_IMAGE:
        return {
            "note": f"There is no input to turn here: images must be square and of at most "
            f"{LARGEST_IMAGE} pixels, and these are {height} x {width}."
        }
    if session.task.masks:
        return dict(NO_MASKS)
    chosen = _spread(test.label) if session.task.numbers else _chosen(test.label)
    stored = np.asarray(test.image[chosen])
    count = _frames(session)
    files = file_names(session.data)
    images = [
        {"index": index, **({"file": files[index]} if files else {})}
        | _labels(test.label[index], numbers=session.task.numbers)
        | _turning_numbers(session.task, test.label[index], count)
        | image_sheet(image_frames)
        for index, image_frames in zip(chosen, frames_of(stored, count), strict=True)
    ]
    frames = frames_of(session.trainer.preprocess(stored), count)
    logits, maps, note = _run(session, state, frames, advance)
    few = to_unit(session.trainer.preprocess(np.asarray(test.image[:INVARIANCE_IMAGES])))
    upright = session.trainer.logits(state, few, preprocessed=True)
    return {
        "inputs": {
            "step": 360 / count,
            "classes": class_names(session),
            **(_ranges(test.label, session.task.vectors) if session.task.numbers else {}),
            "images": images,
            "digest": hashlib.sha256(stored.tobytes()).hexdigest(),
        },
        "network": {
            "probabilities": [
                _probabilities(
                    figures_of(session.task).probabilities(image_logits),
                    numbers=session.task.numbers,
                )
                for image_logits in logits
            ],
            "invariance": [
                [
                    float(f"{e:.3g}")
                    for e in _errors(_turned_back(session.task, image_logits), upright)
                ]
                for image_logits in logits
            ],
            "maps": maps,
            "note": note,
        },
    }


def frames_of(image: np.ndarray, count: int) -> np.ndarray:
    """Return images ``[N, n, n, C]`` at so many angles of a full turn: ``[N, count, n, n, C]``, of
    the range that the network is given."""
    pixels = to_unit(image)
    return np.stack([turned(pixels, Turn(360 * i / count)) for i in range(count)], 1)


def first_image(images: list[dict], networks: list[dict]) -> int:
    """The place of the image that a page begins with.

    It is in the middle, when the images are in the order of the mean probability of their
    class, or of what is right of each class that is shown, or of the errors of numbers, over
    all angles: that of the last network less that of the first, if there are several. Neither
    network is shown where it happens to be best.
    """
    means = np.array([_mean_probabilities(images, network) for network in networks])
    return middle(means[-1] - means[0] if len(means) > 1 else means[0])


def _mean_probabilities(images: list[dict], network: dict) -> list[float]:
    found = []
    span = np.ptp([image.get("numbers", [0.0]) for image in images], axis=0)
    for image, shown in zip(images, network["probabilities"], strict=True):
        values = np.array(shown["values"])
        if "numbers" in image:  # in parts of what they differ by, since each has its own unit
            right = np.array(image.get("turning", image["numbers"]))[..., shown["classes"]]
            unit = np.where(span > 0, span, 1.0)[shown["classes"]]
            found.append(-float((np.abs(values - right) / unit).mean()))
            continue
        if "labels" in image:
            has = np.isin(shown["classes"], image["labels"])
            found.append(float(np.where(has, values, 1 - values).mean()))
            continue
        is_label = np.array(shown["classes"]) == image["label"]
        # A class that is not among those shown is hardly likely.
        found.append(float((values * is_label).sum(-1).mean()))
    return found


def _labels(label: np.ndarray, *, numbers: bool) -> dict:
    """The class of an image, all its labels, or its numbers, as a page has them."""
    if numbers:
        return {"numbers": [float(f"{value:.4g}") for value in label]}
    return {"labels": said_classes(label)} if label.ndim else {"label": int(label)}


def _chosen(label: np.ndarray) -> list[int]:
    """The images that are shown, by their places in the test split."""
    has = label.T > 0 if label.ndim == 2 else label == np.unique(label)[:, None]
    firsts = list(dict.fromkeys(int(np.argmax(of_class)) for of_class in has if of_class.any()))
    others = [i for i in range(min(len(label), len(firsts) + IMAGES)) if i not in firsts]
    return [*firsts, *others][:IMAGES]


def _spread(label: np.ndarray) -> list[int]:
    """The images that are shown, by their places in the test split, from the least first number to
    the greatest."""
    order = np.argsort(label[:, 0], kind="stable")
    places = np.linspace(0, len(label) - 1, min(IMAGES, len(label))).round().astype(int)
    return order[places].tolist()


def _ranges(label: np.ndarray, vectors: Vectors | None) -> dict:
    """The least and the greatest of each number; of the components of vectors, those that a turn
    may give them."""
    ranges = np.stack([label.min(0), label.max(0)], -1).astype(np.float64)
    if vectors is None:
        return {"ranges": ranges.tolist()}
    longest = vectors.lengths(label).max(0)
    for places, length in zip(vectors.places, longest, strict=True):
        ranges[list(places)] = -length, length
    return {"ranges": ranges.tolist(), "vectors": vectors.places, "longest": longest.tolist()}


def _turning_numbers(task: Task, label: np.ndarray, count: int) -> dict:
    """The numbers of an image in each frame, if some are vectors, which turn with it."""
    if task.vectors is None:
        return {}
    values = task.vectors.turn(label.astype(np.float64)[None], _matrices(count))
    return {"turning": [[float(f"{value:.4g}") for value in frame] for frame in values]}


def _matrices(count: int) -> np.ndarray:
    return np.stack([Turn(360 * i / count).matrix for i in range(count)])


def _turned_back(task: Task, logits: np.ndarray) -> np.ndarray:
    """Logits ``[frames, classes]``, their vectors as they would be in the image upright."""
    if task.vectors is None:
        return logits
    return task.vectors.turn(logits, np.swapaxes(_matrices(len(logits)), -1, -2))


def _errors(logits: np.ndarray, upright: np.ndarray) -> np.ndarray:
    """The invariance error of one image in each frame, from its logits ``[frames, classes]``; those
    of several test images, upright, tell how much two images differ."""
    logits = logits.astype(np.float64)
    size = difference(upright) if len(upright) > 1 else 1.0
    return np.sqrt(np.square(logits - logits[0]).mean(-1)) / (size or 1.0)


def class_names(session: Session) -> list[str]:
    """Return the names of all classes: words where the data set has them, else numbers."""
    if session.data.names is not None:
        return list(session.data.names)
    dataset, count = session.config.dataset, session.data.classes
    if dataset.startswith("cifar"):
        from gconv_jax.datasets._cifar_classes import CIFAR10_CLASSES, CIFAR100_CLASSES

        names = CIFAR100_CLASSES if dataset == "cifar100" else CIFAR10_CLASSES
        return [name.replace("_", " ") for name in names[:count]]
    return [str(c) for c in range(count)]


def _run(
    session: Session, state: TrainState, frames: np.ndarray, advance: Callable[[int], None]
) -> tuple[np.ndarray, list[dict], str]:
    """Logits ``[image, frame, classes]`` and `map_sprites`; an image at a time in one program, so
    that memory is that of a batch."""

    model = session.steps.model(state.weights, state.stats)
    layers = first_layers(model, session.steps.prepare(frames[0]))

    @jax.jit
    def run(params, stats, image):
        logits, maps = with_maps(session.steps.model(params, stats), image, layers)
        return logits.astype(jnp.float32), maps

    found = []
    for image_frames in frames:
        image = session.steps.prepare(image_frames)
        found.append(jax.tree.map(np.asarray, run(state.weights, state.stats, image)))
        advance(len(image_frames))
    maps, note = map_sprites(layers, [maps for _, maps in found])
    if session.data.whitening is not None:
        note = "The network is given the whitened image, turned. " + note
    return np.stack([logits for logits, _ in found]), maps, note


def _probabilities(probabilities: np.ndarray, *, numbers: bool) -> dict:
    """The places of the classes that are shown, and their probabilities ``[frame][class]``; or of
    the first numbers, and what is predicted."""
    if numbers:
        values = [[float(f"{value:.5g}") for value in frame[:CLASSES]] for frame in probabilities]
        return {"classes": list(range(len(values[0]))), "values": values}
    likely = np.sort(np.argsort(-probabilities.max(0), kind="stable")[:CLASSES])
    return {"classes": likely.tolist(), "values": probabilities[:, likely].round(5).tolist()}
