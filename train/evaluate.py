"""What a finished network is worth: test error, equivariance error, accuracy against angle."""

import functools

import jax
import numpy as np

from gconv_jax import P4, FiniteGroup, Support, rotate, transform
from gconv_jax.nnx import supports
from train.pixels import to_unit
from train.session import Session
from train.step import TrainState

ANGLES = tuple(11.25 * i for i in range(33))
ANGLE_IMAGES = 200
EQUIVARIANCE_IMAGES = 64


def final_figures(session: Session, state: TrainState, untrained: TrainState | None = None) -> dict:
    """Test loss and error, and the figures that go with them, as plain numbers.

    ``untrained``, the network as it was initialised, is for what training does to its invariance.
    """
    test = session.data.test
    figures = session.feed.evaluate(state, test)
    logits = logits_at_angles(session, state)
    labels = test.label[:ANGLE_IMAGES]
    found = {
        "test_loss": figures["loss"],
        "test_error": figures["error"],
        "test_images": len(test.label),
        # One group for all networks, so that the figures can stand beside each other.
        "equivariance_error": invariance_error(session, state, P4),
        "equivariance_group": repr(P4),
        "angles": list(ANGLES),
        "accuracy_at_angle": (logits.argmax(-1) == labels).mean(-1).tolist(),
        "invariance_error_at_angle": invariance_error_at_angles(logits),
    }
    found["probabilities_at_angle"] = _softmax(logits[:, 0]).tolist()
    kept = supports(session.steps.model(state.params, state.stats))
    if kept:
        found["supports"] = {name: _plain(support) for name, support in kept.items()}
    if untrained is not None:
        logits = logits_at_angles(session, untrained)
        found["invariance_error_at_angle_untrained"] = invariance_error_at_angles(logits)
    return found


def _softmax(logits: np.ndarray) -> np.ndarray:
    exp = np.exp(logits - logits.max(-1, keepdims=True))
    return exp / exp.sum(-1, keepdims=True)


def _plain(support: Support) -> dict:
    """As plain numbers, by name; what there is nothing to learn of is left out."""
    return {
        name: np.asarray(value, np.float64).tolist()
        for name, value in support._asdict().items()
        if value is not None
    }


def invariance_error(session: Session, state: TrainState, group: FiniteGroup) -> float:
    """``max |f(L_g x) - f(x)| / max |f(x)|`` over the elements g, for the logits f of some test
    images x: rounding for an invariant network. What is turned are preprocessed images, since
    whitening is not invariant itself."""
    images = session.feed.preprocess(np.asarray(session.data.test.image[:EQUIVARIANCE_IMAGES]))
    turned = [
        session.feed.logits(
            state,
            np.asarray(transform(images, group=group, element=g, lifted=False)),
            preprocessed=True,
        )
        for g in group.elements
    ]
    logits = turned[group.identity]
    return float(max(np.abs(t - logits).max() for t in turned) / np.abs(logits).max())


def logits_at_angles(session: Session, state: TrainState) -> np.ndarray:
    """Of the first test images, turned further by each angle (bilinear): ``[angle, N, classes]``,
    float64."""
    pixels = to_unit(np.asarray(session.data.test.image[:ANGLE_IMAGES]))
    turn = jax.jit(functools.partial(rotate, fill=0.0))
    return np.stack(
        [session.feed.logits(state, np.asarray(turn(pixels, np.deg2rad(a)))) for a in ANGLES]
    ).astype(np.float64)


def invariance_error_at_angles(logits: np.ndarray) -> list[float]:
    """How much turning changes the logits, beside how much another image does: root mean squares
    of ``f(R x) - f(x)`` and of ``f(x') - f(x)`` over images x and x', divided. 0 is invariance, and
    about 1 says that an image has nothing to do with itself turned."""
    change = np.sqrt(np.square(logits - logits[0]).mean((1, 2)))
    # Of two independent images, the difference has twice the variance.
    other = np.sqrt(2 * logits[0].var(0).mean())
    return (change / (other or 1.0)).tolist()
