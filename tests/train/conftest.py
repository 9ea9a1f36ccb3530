import dataclasses
import types

import pytest

from train import evaluate, loop, report
from train.config import Config


@pytest.fixture(scope="session")
def tiny() -> Config:
    """A run of seconds: real digits, the real networks, few images and narrow layers."""
    return Config(
        model="p4cnn",
        width=2,
        dataset="digits",
        train_images=96,
        test_images=40,
        epochs=2,
        batch_size=16,
        parallel="jit",
    )


@pytest.fixture(scope="session")
def smaller(tiny) -> Config:
    """Two convolutions: for what training does around the network."""
    return dataclasses.replace(tiny, model="lenet", group="p4")


@pytest.fixture(scope="module")
def quick_report():
    """Few angles and no pictures, which others look at: half the time of a tiny run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "ANGLES", (0.0, 90.0, 360.0))
        names = ("learning_curves", "accuracy_against_angle", "invariance_against_angle")
        names += ("predictions", "turning", "filters")
        nothing = {name: lambda *args: None for name in names}
        patch.setattr(report, "pictures", types.SimpleNamespace(**nothing))
        patch.setattr(report, "_first_filters", lambda model: (None, None))
        patch.setattr(loop, "write_page", lambda *args: None)
        yield
