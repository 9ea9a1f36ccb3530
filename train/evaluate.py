"""What a finished network is worth: test error, equivariance error, accuracy against angle."""

import functools

import jax
import numpy as np

from gconv_jax import P4, FiniteGroup, rotate, transform
from train.data import to_unit
from train.session import Session
from train.step import TrainState

ANGLES = tuple(range(0, 361, 15))
ANGLE_IMAGES = 200
EQUIVARIANCE_IMAGES = 64


def final_figures(session: Session, state: TrainState) -> dict:
    """Test loss and error, and the figures that go with them, as plain numbers."""
    test = session.data.test
    figures = session.feed.evaluate(state, test)
    return {
        "test_loss": figures["loss"],
        "test_error": figures["error"],
        "test_images": len(test.label),
        # One group for all networks, so that the figures can stand beside each other.
        "equivariance_error": invariance_error(session, state, P4),
        "equivariance_group": repr(P4),
        "angles": list(ANGLES),
        "accuracy_at_angle": accuracy_at_angles(session, state),
    }


def invariance_error(session: Session, state: TrainState, group: FiniteGroup) -> float:
    """``max |f(L_g x) - f(x)| / max |f(x)|`` over the elements g, for the logits f of some test
    images x: rounding for an invariant network. What is turned are preprocessed images, since
    whitening is not invariant itself."""
    images = session.feed.preprocess(session.data.test.image[:EQUIVARIANCE_IMAGES])
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


def accuracy_at_angles(session: Session, state: TrainState) -> list[float]:
    """The share of test images that are recognised after a further rotation by each angle."""
    test = session.data.test[:ANGLE_IMAGES]
    pixels = to_unit(test.image)
    turn = jax.jit(functools.partial(rotate, fill=0.0))
    return [
        float(
            np.mean(
                session.feed.logits(state, np.asarray(turn(pixels, np.deg2rad(angle)))).argmax(-1)
                == test.label
            )
        )
        for angle in ANGLES
    ]
