"""``report.md`` and its pictures."""

import numpy as np
from flax import nnx

from gconv_jax import Z2, filter_bank
from train import pictures
from train.evaluate import ANGLE_IMAGES
from train.rundir import Run
from train.session import Session
from train.step import TrainState

SAMPLES = 32


def write_report(session: Session, state: TrainState, run: Run, results: dict) -> None:
    """Draw the pictures into the run folder, then write ``report.md`` around them."""
    config, name = session.config, session.config.model
    test = session.data.test[:SAMPLES]
    predicted = session.feed.logits(state, test.image).argmax(-1)
    pictures.learning_curves({name: run.metrics()}, run.path / "learning_curves.png")
    pictures.accuracy_against_angle({name: results}, run.path / "accuracy_against_angle.png")
    pictures.predictions(test.image, test.label, predicted, run.path / "predictions.png")
    bank, names = _first_filters(session.steps.model(state.params, state.stats))
    pictures.filters(bank, names, run.path / "filters.png")
    run.write(
        "report.md",
        f"""# {config.model} on {config.dataset}

{results_table([results])}

{protocol(config, results)}

## Learning curves
![loss and error against epochs](learning_curves.png)

## Accuracy against rotation angle
The first {min(ANGLE_IMAGES, results["test_images"])} test images, turned further (bilinear).
![accuracy against angle](accuracy_against_angle.png)

## Predictions
![test images with predicted classes](predictions.png)

## Filters of the first layer
A row for each group element: the same base filters, turned. Mean over the input channels.
![filters](filters.png)
""",
    )


def results_table(rows: list[dict]) -> str:
    """The results of several runs as a Markdown table."""
    header = ("model", "parameters", "test error", "equivariance error", "training time")
    lines = [
        (
            row["model"],
            f"{row['parameters']:,}",
            f"{100 * row['test_error']:.2f} %",
            f"{row['equivariance_error']:.1e}",
            f"{row['train_seconds']:.0f} s",
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(header, *lines, strict=True)]
    rule = tuple("-" * width for width in widths)
    return "\n".join(
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |"
        for line in (header, rule, *lines)
    )


def protocol(config, results: dict) -> str:
    """What a figure means: data, split, epochs, selection."""
    stand_in = {
        "digits": " (stand-in data: the digits inside scikit-learn, enlarged and turned at random)",
        "rotated_mnist/generated": " (generated from MNIST; not the original MNIST-rot-12k)",
    }.get(config.dataset, "")
    return (
        f"Protocol: {config.dataset}{stand_in}; {results['train_images']:,} training, "
        f"{results['validation_images']:,} validation and {results['test_images']:,} test images; "
        f"seed {config.seed}; the last of {config.epochs} epochs, no selection; Adam "
        f"{config.learning_rate:g}, batch {config.batch_size}, augmentation {config.augment}; "
        "batch statistics re-estimated on the training images. The test images are read once, at "
        "the end. Equivariance error: largest change of the logits under "
        f"{results['equivariance_group']}, relative to the largest logit, over 64 test images."
    )


def _first_filters(model: nnx.Module) -> tuple[np.ndarray, list[str]]:
    """The filters of ``model.layer0`` for each group element, ``[k, k, |G|, C]``, and the names
    of the elements."""
    conv = model.layer0.conv
    group = getattr(conv, "group", Z2)
    kernel = conv.kernel[...].astype(np.float32)
    bank = filter_bank(kernel.mean(-2, keepdims=True), group=group, lifting=True)
    bank = np.asarray(bank).reshape(*kernel.shape[:2], group.order, kernel.shape[-1])
    return bank, [group.element_name(g) for g in group.elements]
