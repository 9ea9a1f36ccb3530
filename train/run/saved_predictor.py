"""A saved network, ready to classify images as that of a run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx

from gconv_jax import FiniteGroup
from gconv_jax.models import (
    RescaledOutputs,
    Standardized,
    VectorOutputs,
    Whitened,
    load_pretrained,
)
from gconv_jax.models.pretrained_folder import CONFIG
from gconv_jax.nnx import Canonicalized, Symmetrized

from ..data.mask_classes import MaskClasses, kept_classes
from ..data.reading import EARLIER, Reading
from ..data.vectors import vectors_of
from ..data.whitening import Whitening
from ..run_folder.folder import Run
from ..run_folder.saved_network import SavedNetwork
from ..steps.augment import Prepare
from ..steps.model_parts import find_part
from ..steps.step import Steps
from ..steps.task import MASKS, ONE_CLASS, SEVERAL_LABELS, Task, regression
from .predictor import Predictor, load_predictor


def open_predictor(
    run: Run | SavedNetwork,
    log: Callable[[str], None] = print,
    *,
    symmetry: FiniteGroup | None = None,
    **places: Path | None,
) -> Predictor:
    """The network of a run (`load_predictor`), or a saved one; its logits are averaged over the
    poses of the ``symmetry``, if one is given.

    ValueError for ``places`` of the data set of a saved network, which has none.
    """
    if isinstance(run, Run):
        return load_predictor(run, log, symmetry=symmetry, **places)
    for name, place in places.items():
        if place is not None:
            raise ValueError(f"`{name}` is for runs, and {run.path} is a saved network")
    return _saved_predictor(run, symmetry)


def _saved_predictor(saved: SavedNetwork, symmetry: FiniteGroup | None) -> Predictor:
    about, program, file = saved.config, saved.program, saved.path / CONFIG
    if about["images"]["shape"] is None:
        raise ValueError(
            f"{file} names no shape of images: save the network with image_shape=(height, width, "
            "channels)"
        )
    shape, names = tuple(about["images"]["shape"]), about["classes"]
    try:
        reading = Reading.from_arguments(program.get("reading", EARLIER.arguments()))
    except (TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{file} is damaged: `reading`: {error}") from None
    model, whitening = load_pretrained(saved.path), None
    low, high = about["images"]["range"]
    mean, std = -low / (high - low), 1 / (high - low)
    if isinstance(model, Whitened):
        whitening = Whitening(np.asarray(model.mean[...]), np.asarray(model.matrix[...]))
        model, mean, std = model.model, 0.0, 1.0
    elif isinstance(model, Standardized):
        mean, std = (np.asarray(n, np.float32) for n in (model.mean, model.std))
        model = model.model

    rescaled, vectors = (find_part(model, kind) for kind in (RescaledOutputs, VectorOutputs))
    if rescaled is not None and names is not None:
        for name in ("mean", "std"):
            given = np.shape(getattr(rescaled, name))
            if given not in ((), (len(names),)):
                raise ValueError(
                    f"{file}: `{name}` must be one number, or one for each of {len(names)} "
                    f"outputs; it has {given[0]}"
                )
    try:
        _require_turning(model)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None

    def steps_of(task: Task) -> Steps:
        return Steps(model, optax.identity(), Prepare(mean, std), symmetry=symmetry, task=task)

    steps = steps_of(ONE_CLASS)
    state = steps.init()
    stored = jax.ShapeDtypeStruct((1, *shape), np.float32 if whitening else np.uint8)
    try:
        outputs = jax.eval_shape(steps.logits, state.params, state.stats, stored)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{saved.path} does not take images of {shape}: {error}") from None
    classes = outputs.shape[-1]
    if names is not None and len(names) != classes:
        raise ValueError(f"{file} names {len(names)} classes of a network with {classes}")
    names = None if names is None else tuple(names)
    try:
        task, masks = _task(outputs.shape, shape, names, program, rescaled, vectors)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    form = (shape, classes, whitening, names, reading, saved.title, masks)
    return Predictor(steps_of(task), state.params, state.stats, *form)


def _require_turning(model: nnx.Module) -> None:
    """Raise ValueError if the vectors of a network do not turn with the image, since something
    around it treats them as other numbers."""
    vectors = find_part(model, VectorOutputs)
    if vectors is None:
        return
    for kind in (Symmetrized, Canonicalized):
        around = find_part(model, kind)
        if around is not None and around.output_action is None:
            raise ValueError(
                f"`output_action` None of {kind.__name__} does not turn vectors: save the "
                "VectorOutputs in it, and average over poses with --symmetrize"
            )
    rescaled = find_part(model, RescaledOutputs)
    if rescaled is None:
        return
    shape = (vectors.targets,)
    mean, std = (np.broadcast_to(np.asarray(n), shape) for n in (rescaled.mean, rescaled.std))
    for places in map(list, vectors.vectors):
        if mean[places].any() or np.ptp(std[places]):
            raise ValueError(
                f"the components {places} of a vector must have the `mean` 0 and one `std`, or it "
                f"does not turn; got {mean[places].tolist()} and {std[places].tolist()}"
            )


def _task(
    outputs: tuple[int, ...],
    image: tuple[int, ...],
    names: tuple[str, ...] | None,
    program: dict[str, Any],
    rescaled: RescaledOutputs | None,
    vectors: VectorOutputs | None,
) -> tuple[Task, MaskClasses | None]:
    """Return the task of a saved network, and the classes of its masks.

    ValueError if its description contradicts its results.

    Args:
        outputs: the shape of its results for one image.
        image: the shape of an image.
        names: those of the classes, if they have any.
        program: the part of the description that this program has written.
        rescaled: the part of the network that gives numbers their units.
        vectors: the part that makes vectors of feature maps.
    """
    several, values = (program.get(key) for key in ("several_labels", "mask_values"))
    if several not in (None, False, True):
        raise ValueError(f"`several_labels` must be true or false, got {several!r}")
    numbers = rescaled is not None or vectors is not None
    pixels = outputs == (1, *image[:-1], outputs[-1])
    if len(outputs) != 2 and (numbers or not pixels or (names is None and values is None)):
        named = "; name the classes of its pixels with classes=" if pixels else ""
        raise ValueError(
            f"it is no network for classes, numbers or masks: its results are {outputs}{named}"
        )
    if several and (numbers or pixels):
        raise ValueError("`several_labels` is for classes, and the network predicts something else")
    if values is not None and not pixels:
        raise ValueError(f"`mask_values` are for masks, and the network has results {outputs}")
    if pixels:
        names = tuple(map(str, range(outputs[-1]))) if names is None else names
        values = list(range(len(names))) if values is None else values
        return MASKS, kept_classes(values, names)
    if numbers:
        std = np.asarray(1.0 if rescaled is None else rescaled.std)
        places = None if vectors is None else vectors.vectors
        scale = np.broadcast_to(std, outputs[-1:])
        return regression(scale, vectors=vectors_of(places, outputs[-1])), None
    return (SEVERAL_LABELS if several else ONE_CLASS), None
