"""The figures of a finished network: test error, figures by class, invariance error, and accuracy
against angle."""

import time
from collections.abc import Callable, Sequence

import numpy as np

from gconv_jax import P4M, Support, full_octahedral
from gconv_jax.nnx import supports

from ..data.pixels import to_unit
from ..data.volumes import is_volume
from ..steps.step import TrainState
from ..steps.turned_images import Turn, in_batches, turned, turns_of
from ..steps.turned_volumes import AXES, QUARTERS, CubeTurn, quarter_turns
from .early_stopping import CHOICES
from .figures import figures_of
from .invariance import described, invariance_errors, symmetry
from .mask_turns import equivariance_errors, overlaps_at_turns
from .relaxed_layers import departures
from .report_parts import NOT_OF_MASKS, NOT_OF_VOLUMES, Parts
from .session import Session

ANGLES = 32
"""The angles of a full turn that figures are measured at, if the configuration says nothing else.
"""
ANGLE_IMAGES = 200
"""The first test images, on which the accuracy against the angle is measured."""
INVARIANCE_IMAGES = 64
"""The first test images, on which the invariance error is measured."""
VOLUMES = 32
"""The first test volumes, on which it is measured; a volume takes as long as many images."""


def final_figures(session: Session, state: TrainState, parts: Parts | None = None) -> dict:
    """The figures of a finished network as plain numbers: those of a table, and those of other
    ``parts`` of a report."""
    return test_figures(session, state) | more_figures(session, state, parts or Parts("table"))


def test_figures(session: Session, state: TrainState) -> dict:
    """Loss and error on all test images, the figures by class, and images to look at."""
    test = session.data.test
    figures, logits = session.trainer.evaluate_with_logits(state, test, "testing")
    found = {
        "test_loss": figures["loss"],
        "test_error": figures["error"],
        "test_images": len(test.label),
    }
    if not np.isfinite(logits).all():  # the run has diverged, which is told elsewhere
        return found
    of = figures_of(session.task)
    return found | of.by_class(logits, test.label) | of.examples(logits, session.data)


def validation_figures(session: Session, state: TrainState) -> dict[str, float]:
    """Loss and error on the validation images, and the figure that chooses the epoch."""
    held_out = session.data.validation
    name = CHOICES[session.config.metric].key.removeprefix("validation_")
    if name in ("loss", "error"):
        return session.trainer.evaluate(state, held_out)
    figures, logits = session.trainer.evaluate_with_logits(state, held_out)
    return figures | {name: figures_of(session.task).metrics[name](logits, held_out.label)}


def more_figures(
    session: Session,
    state: TrainState,
    parts: Parts,
    *,
    page_images: int = 0,
    untrained: Callable[[], TrainState] | None = None,
    known: dict | None = None,
) -> dict:
    """The figures that the parts of a report are made of, but for those that are ``known``.

    Args:
        session: its test images are turned.
        state: the trained network.
        parts: which parts are made; the others leave nothing. What does not fit into their time is
            decided here.
        page_images: how many images the page with the slider needs, if it is to be made.
        untrained: makes the network as it was initialized, for what training does to its
            invariance.
        known: figures of the same run.
    """
    found, known = {}, known or {}
    model = session.steps.model(state.params, state.stats)
    if kept := supports(model):
        found["supports"] = {name: _plain(support) for name, support in kept.items()}
    if departed := departures(model):
        found["symmetry_breaking"] = departed
    count = len(session.data.test.label)
    volumes = is_volume(session.data.test.image.shape[1:])
    few, many = min(VOLUMES if volumes else INVARIANCE_IMAGES, count), min(ANGLE_IMAGES, count)
    if few < 2:  # nothing to compare a change with
        parts.leave_out(("elements", "untrained"), "needs two test images")
    angles = _angles(session)
    turns = [Turn(angle % 360) for angle in angles]
    several = list(dict.fromkeys(turns))
    measured = known.keys() >= figures_of(session.task).measured_at_angles
    if parts.has("elements") and "invariance_error_at_element" not in known:
        found |= _at_elements(session, state, parts, few)
    if session.task.masks and not volumes:
        parts.left_out |= dict.fromkeys(("page", "untrained"), NOT_OF_MASKS)
        return found | _masks_at_angles(session, state, parts, measured, few, many)
    if volumes:
        parts.left_out |= dict.fromkeys(("page", "untrained"), NOT_OF_VOLUMES)
        return found | _at_quarter_turns(session, state, parts, known, many)
    parts.fit(
        {
            "angles": 0 if measured else many * len(several),
            "page": page_images,
            "untrained": few * len(several) if untrained is not None else 0,
        },
        {"page": 1},
    )
    if parts.has("angles") and not measured:
        logits = logits_of_turns(session, state, several, many, parts, "angles")
        found |= _at_angles(logits[[several.index(turn) for turn in turns]], session, few)
    missing = "invariance_error_at_angle_untrained" not in known
    if parts.has("untrained") and missing and untrained is not None:
        logits = logits_of_turns(session, untrained(), several, few, parts, "untrained")
        errors = invariance_errors(logits, logits[several.index(Turn(0.0))]).tolist()
        by_turn = dict(zip(several, errors, strict=True))
        found["invariance_error_at_angle_untrained"] = [by_turn[turn] for turn in turns]
        found["angles"] = angles
    return found


def _angles(session: Session) -> list[float]:
    """Return the angles of a full turn in degrees, with both of its ends."""
    count = session.config.angles or ANGLES
    return [360.0 * i / count for i in range(count + 1)]


def _at_elements(session: Session, state: TrainState, parts: Parts, count: int) -> dict:
    """The invariance error at each element of the network's own group. Without one, it may be
    compared with others at the symmetries of the square, or of the cube."""
    group = symmetry(session.config)
    every = full_octahedral() if group.dimension == 3 else P4M
    turns = turns_of(group if group.order > 1 else every)
    if session.task.masks:
        errors = equivariance_errors(session, state, turns, count, parts, "elements")
    else:
        upright = [turn.name for turn in turns].index("e")
        logits = logits_of_turns(session, state, turns, count, parts, "elements")
        errors = invariance_errors(logits, logits[upright]).tolist()
    return {
        "symmetry": described(group),
        "invariance_images": count,
        "invariance_error_at_element": {
            turn.name: error for turn, error in zip(turns, errors, strict=True)
        },
    }


def _at_quarter_turns(
    session: Session, state: TrainState, parts: Parts, known: dict, count: int
) -> dict:
    """The accuracy on the first test volumes at quarter turns about each axis; of numbers, the
    relative error; of masks, the Dice, too."""
    by_axis = {name: quarter_turns(axis) for axis, name in enumerate(AXES)}
    turns = list(dict.fromkeys(turn for turns in by_axis.values() for turn in turns))
    key = f"{'error' if session.task.numbers else 'accuracy'}_at_quarter_turn"
    measured = key in known
    parts.fit({"angles": 0 if measured else count * len(turns)}, {})
    if measured or not parts.has("angles"):
        return {}
    about = {"angle_images": count, "quarter_turns": list(QUARTERS)}
    if session.task.masks:
        at = overlaps_at_turns(session, state, turns, count, parts)
        by_turn = [dict(zip(turns, at[name], strict=True)) for name in ("accuracy", "dice")]
        at_turn = [{a: [of[t] for t in ts] for a, ts in by_axis.items()} for of in by_turn]
        return about | {key: at_turn[0], "dice_at_quarter_turn": at_turn[1]}
    logits = logits_of_turns(session, state, turns, count, parts, "angles")
    right = _accuracy(session, logits, session.data.test.label[:count])
    if session.task.numbers:
        right = [1 - share for share in right]
    at = dict(zip(turns, right, strict=True))
    return about | {
        key: {axis: [at[turn] for turn in turns] for axis, turns in by_axis.items()},
    }


def _masks_at_angles(
    session: Session, state: TrainState, parts: Parts, measured: bool, few: int, many: int
) -> dict:
    """The overlaps of masks at each angle, and the error at each, unless they are ``measured``."""
    angles = _angles(session)
    turns = [Turn(angle % 360) for angle in angles]
    several = list(dict.fromkeys(turns))
    parts.fit({"angles": 0 if measured else (few + many) * len(several)}, {})
    if measured or not parts.has("angles"):
        return {}
    at = overlaps_at_turns(session, state, several, many, parts)
    places = [several.index(turn) for turn in turns]
    found: dict = {"angles": angles, "angle_images": many}
    found |= {f"{name}_at_angle": [values[i] for i in places] for name, values in at.items()}
    if few > 1:
        errors = equivariance_errors(session, state, several, few, parts, "angles")
        found["invariance_error_at_angle"] = [errors[i] for i in places]
    return found


def _at_angles(logits: np.ndarray, session: Session, few: int) -> dict:
    """Figures from logits ``[angles, N, classes]``, and the class probabilities of one image: that
    in the middle, when images are in the order of the mean probability of their class, or of what
    is right of each label."""
    labels = session.data.test.label[: logits.shape[1]]
    of = figures_of(session.task)
    found = {
        "angles": _angles(session),
        "angle_images": len(labels),
        **of.at_angles(logits, labels),
    }
    if not session.task.numbers:
        probabilities = of.probabilities(logits)
        image = middle(of.rightness(probabilities, labels).mean(0))
        found |= {
            "accuracy_at_angle": _accuracy(session, logits, labels),
            "turning_image": image,
            "probabilities_at_angle": probabilities[:, image].tolist(),
        }
    if few > 1:
        errors = invariance_errors(logits[:, :few], logits[0, :few])
        found["invariance_error_at_angle"] = errors.tolist()
    return found


def _accuracy(session: Session, logits: np.ndarray, label: np.ndarray) -> list[float]:
    """The share of right answers at each turn, from logits ``[turns, N, classes]``."""
    return (1 - session.task.errors(logits, label).astype(np.float64)).mean(-1).tolist()


def logits_of_turns(
    session: Session,
    state: TrainState,
    turns: Sequence[Turn | CubeTurn],
    count: int,
    parts: Parts,
    part: str,
) -> np.ndarray:
    """Logits of the first test images, moved by each turn: ``[turns, count, classes]``, float64.
    Vectors are turned back, so that they are to be those of the images as they are.

    What is turned is what the network is given: images are whitened before, if at all, since
    whitening is not invariant itself.
    """
    pixels = to_unit(session.trainer.preprocess(np.asarray(session.data.test.image[:count])))
    batches = in_batches((turned(pixels, turn) for turn in turns), session.trainer.logits_batch)
    found: list[np.ndarray] = []
    seconds, places = 0.0, 0
    with parts.making(part, count * len(turns)) as advance:
        for batch in batches:
            if parts.seconds_per_image is None:
                parts.seconds_to_compile = _seconds(session, state, batch, [])
            seconds += _seconds(session, state, batch, found)
            places += session.trainer.logits_batch  # a smaller batch is filled up
            parts.seconds_per_image = seconds / places
            advance(len(batch))
    logits = np.concatenate(found).reshape(len(turns), count, -1).astype(np.float64)
    if (vectors := session.task.vectors) is None:
        return logits
    back = [vectors.turn(y, turn.matrix.T) for y, turn in zip(logits, turns, strict=True)]
    return np.stack(back)


def middle(values: Sequence[float] | np.ndarray) -> int:
    """The index of the median; of an even number of values, of the lower one."""
    order = np.argsort(np.asarray(values), kind="stable")
    return int(order[(len(order) - 1) // 2])


def _seconds(session: Session, state: TrainState, batch: np.ndarray, found: list) -> float:
    """The time that a batch takes, whose logits are added to those that were found."""
    started = time.perf_counter()
    found.append(session.trainer.logits(state, batch, preprocessed=True))
    return time.perf_counter() - started


def _plain(support: Support) -> dict:
    """The support as plain numbers, by name, without what there is nothing to learn of."""
    return {
        name: np.asarray(value, np.float64).tolist()
        for name, value in support._asdict().items()
        if value is not None
    }
