"""The figures of masks against rotation: images are turned, and their masks with them."""

from collections.abc import Iterator, Sequence

import jax
import numpy as np

from ..data.mask_classes import IGNORED
from ..data.pixels import to_unit
from ..steps.augment import rotate_mask
from ..steps.mask_loss import mask_counts
from ..steps.step import TrainState
from ..steps.turned_images import Turn, turned
from ..steps.turned_volumes import CubeTurn, turned_volume
from .class_figures import mean
from .invariance import difference
from .mask_figures import by_mask_class, pixel_accuracy
from .report_parts import Parts
from .session import Session

AnyTurn = Turn | CubeTurn
_rotated = jax.jit(jax.vmap(rotate_mask, (0, None)))
_counts = jax.jit(mask_counts)


def turned_mask(mask: np.ndarray, turn: AnyTurn) -> np.ndarray:
    """Masks ``[N, *spatial]``, moved as `train.steps.turned_images.turned` moves images: exactly,
    or each pixel to the class of the nearest one. `IGNORED` comes from outside."""
    if isinstance(turn, CubeTurn):
        return turned_volume(mask[..., None], turn)[..., 0]
    quarters, rest = divmod(turn.degrees, 90)
    if turn.mirrored:
        mask = mask[..., ::-1]
    if rest:
        mask = np.asarray(_rotated(mask, np.float32(np.deg2rad(rest))))
    return np.rot90(mask, int(quarters), (-2, -1))


def turned_back(logits: np.ndarray, turn: AnyTurn) -> np.ndarray:
    """Logits of moved images ``[N, *spatial, K]``, moved back to where the images were."""
    if isinstance(turn, CubeTurn):
        return _volume_back(logits, turn)
    back = turned(logits, Turn(-turn.degrees % 360))
    return back[..., ::-1, :] if turn.mirrored else back


def in_disc(side: int) -> np.ndarray:
    """Return which pixels of a square are within the circle that no rotation leaves, ``[n, n]``."""
    places = np.arange(side) - (side - 1) / 2
    return np.hypot(places[:, None], places) <= side / 2 - 1


def overlaps_at_turns(
    session: Session, state: TrainState, turns: Sequence[AnyTurn], count: int, parts: Parts
) -> dict[str, list]:
    """Return the figures of the first test images at each turn, by name: ``accuracy``, ``dice``,
    ``iou`` and ``dice_by_class``. Of images, the pixels in the inscribed disc count alone, at every
    angle: others leave the image."""
    label = session.data.test.label[:count]
    if label.ndim == 3:
        label = np.where(in_disc(label.shape[-1]), label, np.uint8(IGNORED))
    found: dict[str, list] = {name: [] for name in ("accuracy", "dice", "iou", "dice_by_class")}
    for turn, logits in _logits(session, state, turns, count, parts, "angles"):
        counts = np.asarray(_counts(logits, turned_mask(label, turn))).sum(0, dtype=np.int64)
        by_class = by_mask_class(counts)
        found["accuracy"].append(pixel_accuracy(counts))
        found["dice"].append(mean(by_class["dice"]))
        found["iou"].append(mean(by_class["iou"]))
        found["dice_by_class"].append(by_class["dice"])
    return found


def equivariance_errors(
    session: Session,
    state: TrainState,
    turns: Sequence[AnyTurn],
    count: int,
    parts: Parts,
    part: str,
) -> list[float]:
    """Return the error of each turn g: the root mean square of ``g^-1 f(g x) - f(x)`` over the
    first test images, classes and pixels, divided by that of ``f(x') - f(x)`` for two images. Where
    a turn interpolates, the pixels in the inscribed disc count alone."""
    first = next(turn for turn in turns if turn.name == "e")
    logits = _logits(session, state, [first, *(t for t in turns if t != first)], count, parts, part)
    upright = next(logits)[1].astype(np.float64)
    size = difference(upright.reshape(count, -1)) or 1.0
    errors = {first: 0.0}
    for turn, moved in logits:
        change = np.square(turned_back(moved, turn) - upright)
        if not _is_exact(turn):
            change = change[:, in_disc(change.shape[1])]
        errors[turn] = float(np.sqrt(change.mean()) / size)
    return [errors[turn] for turn in turns]


def _logits(
    session: Session,
    state: TrainState,
    turns: Sequence[AnyTurn],
    count: int,
    parts: Parts,
    part: str,
) -> Iterator[tuple[AnyTurn, np.ndarray]]:
    """Yield the logits of the first test images at each turn: those of all turns are too many to
    keep."""
    pixels = to_unit(session.trainer.preprocess(np.asarray(session.data.test.image[:count])))
    with parts.making(part, count * len(turns)) as advance:
        for turn in turns:
            yield turn, session.trainer.logits(state, turned(pixels, turn), preprocessed=True)
            advance(count)


def _is_exact(turn: AnyTurn) -> bool:
    return isinstance(turn, CubeTurn) or turn.is_exact


def _volume_back(logits: np.ndarray, turn: CubeTurn) -> np.ndarray:
    isometry = turn.isometry
    backwards = tuple(1 + i for i, sign in enumerate(isometry.signs) if sign < 0)
    order = (0, *(1 + int(axis) for axis in np.argsort(isometry.axes)), logits.ndim - 1)
    return np.flip(logits, backwards).transpose(order)
