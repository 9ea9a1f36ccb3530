"""The content of the ``results.json`` of a run, and the parameters that it is about."""

import dataclasses

from ..config import Config
from ..data.image_folder import ImageFolder
from ..data.summary import groups_in_words
from ..steps.build_model import parameter_count
from ..steps.step import TrainState
from .session import Session


def network_to_use(
    session: Session, state: TrainState, best: tuple | None, which: int = 0
) -> TrainState:
    """The state to evaluate and to keep: that of the ``best`` epoch, parameters and statistics, or
    else ``state``, with the average of its parameters if there is one, and with statistics
    re-estimated on the training images."""
    if best is not None:
        params, stats = best
    else:
        state = session.trainer.calibrate(state, which, "batch statistics")
        params, stats = state.weights, state.stats
    state = dataclasses.replace(state, params=params, stats=stats, average=None)
    return session.trainer.parallel.local(state)


def collect(
    session: Session,
    config: Config,
    state: TrainState,
    records: list[dict],
    selected: int | None,
    figures: dict,
) -> dict:
    """The results of a network, trained for the epochs in ``records``, with the ``figures`` of
    `train.run.metrics.final_figures`."""
    held_out, folder = session.data.validation, session.data.folder
    return {
        "model": config.title,
        "parameters": parameter_count(state.params),
        "epochs": len(records),
        "selected_epoch": selected,
        "train_images": len(session.data.train.label),
        "validation_images": len(held_out.label) if held_out else 0,
        "train_seconds": sum(record["seconds"] for record in records),
        "input": input_form(session),
        **(_of_folder(config, folder) if folder else {}),
        **figures,
    }


def _of_folder(config: Config, folder: ImageFolder) -> dict:
    """Return what is recorded of a user's own images."""
    groups = groups_in_words(config, folder)
    return {
        "fingerprint": folder.fingerprint,
        "own_test": folder.own_test,
        **({"groups": groups} if groups else {}),
    }


def input_form(session: Session) -> dict:
    """The images that a network takes and the classes that it tells apart, or the numbers that it
    predicts."""
    folder = session.data.folder
    return {
        "shape": session.data.test.image.shape[1:],
        "mean": session.data.mean,
        "std": session.data.std,
        "classes": session.data.classes,
        "names": session.data.names,
        **({"several_labels": True} if session.task.several else {}),
        **({"mask_values": list(folder.masks.values)} if folder and folder.masks else {}),
        **({} if session.task.scale is None else {"scale": session.task.scale.tolist()}),
        **({} if session.task.vectors is None else {"vectors": session.task.vectors.places}),
        **({"reading": folder.reading.arguments()} if folder else {}),
    }
