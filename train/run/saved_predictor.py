"""A saved network, ready to classify images as that of a run."""

from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import optax

from gconv_jax import FiniteGroup
from gconv_jax.models import Standardized, Whitened, load_pretrained
from gconv_jax.models.pretrained_folder import CONFIG

from ..data.reading import EARLIER, Reading
from ..data.whitening import Whitening
from ..run_folder.folder import Run
from ..run_folder.saved_network import SavedNetwork
from ..steps.augment import Prepare
from ..steps.step import Steps
from ..steps.task import ONE_CLASS, SEVERAL_LABELS
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
    except (TypeError, AttributeError) as error:
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
    task = SEVERAL_LABELS if program.get("several_labels") else ONE_CLASS
    steps = Steps(model, optax.identity(), Prepare(mean, std), symmetry=symmetry, task=task)
    state = steps.init()
    stored = jax.ShapeDtypeStruct((1, *shape), np.float32 if whitening else np.uint8)
    try:
        logits = jax.eval_shape(steps.logits, state.params, state.stats, stored)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{saved.path} does not take images of {shape}: {error}") from None
    if logits.ndim != 2:
        raise ValueError(f"{saved.path} is no classifier: it has results {logits.shape}")
    classes = logits.shape[-1]
    if names is not None and len(names) != classes:
        raise ValueError(f"{file} names {len(names)} classes of a network with {classes}")
    names = None if names is None else tuple(names)
    return Predictor(
        steps, state.params, state.stats, shape, classes, whitening, names, reading, saved.title
    )
