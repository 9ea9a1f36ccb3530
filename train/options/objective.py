"""Checks of a configuration: its loss, how images are drawn, and what chooses the epoch."""

from typing import Any


def check_objective(config: Any) -> None:
    """Raise ValueError unless the loss, the sampling and the metric of a `Config` go together."""
    if not 0 <= config.label_smoothing < 1:
        raise ValueError(
            f"`label_smoothing` must be at least 0 and below 1, got {config.label_smoothing}"
        )
    _check_numbers(config)
    if config.loss != "focal" and config.focal_gamma != 2:
        raise ValueError(
            f"`focal_gamma` {config.focal_gamma} goes with --loss focal: add that, or leave it out"
        )
    if config.class_weights == "balanced" and config.sampling == "balanced":
        raise ValueError(
            "`class_weights` balanced and `sampling` balanced correct the same imbalance twice: "
            "leave out one"
        )
    if config.metric != "accuracy" and config.patience is None:
        raise ValueError(
            f"`metric` {config.metric} chooses the epoch that is kept: add --patience EPOCHS "
            "and --validation"
        )


def _check_numbers(config: Any) -> None:
    """Raise ValueError unless what is said of classes is said of a `Config` for classes."""
    if config.task != "regression":
        if config.loss in ("squared", "huber"):
            raise ValueError(f"`loss` {config.loss} is for numbers: add --task regression")
        return
    for name, allowed in {
        "loss": ("auto", "squared", "huber"),
        "class_weights": ("none",),
        "sampling": ("plain",),
        "label_smoothing": (0.0,),
        "metric": ("accuracy", "loss"),
    }.items():
        value = getattr(config, name)
        if value not in allowed:
            known = " or ".join(map(str, allowed))
            raise ValueError(
                f"`{name}` {value} is for classes, and --task regression predicts numbers: "
                f"use {known}"
            )
