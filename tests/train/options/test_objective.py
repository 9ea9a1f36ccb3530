"""The options of the loss, of the sampling and of the choice of an epoch: what goes together."""

import dataclasses

import pytest

from train.config import Config

CHOOSING = {"patience": 2, "validation": 0.1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_smoothing": 1.0}, "`label_smoothing` must be at least 0 and below 1, got 1.0"),
        ({"label_smoothing": float("nan")}, "`label_smoothing` must be at least 0 and below 1"),
        ({"focal_gamma": 1.0}, "`focal_gamma` 1.0 goes with --loss focal"),
        ({"loss": "focal", "focal_gamma": -1.0}, "`focal_gamma` must be finite and at least 0"),
        (
            {"class_weights": "balanced", "sampling": "balanced"},
            "correct the same imbalance twice: leave out one",
        ),
        ({"metric": "auc"}, "`metric` auc chooses the epoch that is kept: add --patience EPOCHS"),
        ({"metric": "f1", **CHOOSING}, "`metric` must be one of accuracy, class-mean, auc, loss"),
    ],
    ids=str,
)
def test_options_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Config(**options)


def test_options_that_go_together():
    Config(loss="focal", focal_gamma=0.5, label_smoothing=0.1, class_weights="balanced")
    for metric in ("accuracy", "class-mean", "auc", "loss"):
        Config(sampling="balanced", metric=metric, **CHOOSING)


def test_configurations_of_earlier_versions_have_the_defaults():
    new = ("loss", "focal_gamma", "label_smoothing", "class_weights", "sampling", "metric")
    config = Config()
    text = config.to_json()
    for name in new:
        assert f'"{name}"' in text
    lines = [line for line in text.splitlines() if not any(f'"{name}"' in line for name in new)]
    assert Config.from_json("\n".join(lines)) == config
    assert dataclasses.replace(config, loss="focal") != config
