"""``report.md`` and its pictures."""

import numpy as np
from flax import nnx

from gconv_jax import SO2, Z2, filter_bank, rotate
from gconv_jax.continuous import continuous_bank
from gconv_jax.nnx import ContinuousLiftConv, LiftConv
from train import pictures
from train.config import Config
from train.data import to_unit
from train.evaluate import ANGLE_IMAGES
from train.rundir import Run
from train.session import Session
from train.step import TrainState

SAMPLES = 32
FILTERS = 20


def write_report(session: Session, state: TrainState, run: Run, results: dict) -> None:
    """Draw the pictures into the run folder, then write ``report.md`` around them."""
    config, name = run.config, session.config.title
    test = session.data.test[:SAMPLES]
    predicted = session.feed.logits(state, test.image).argmax(-1)  # pyright: ignore[reportAttributeAccessIssue]
    pictures.learning_curves({name: run.metrics()}, run.path / "learning_curves.png")
    pictures.accuracy_against_angle({name: results}, run.path / "accuracy_against_angle.png")
    pictures.invariance_against_angle({name: results}, run.path / "invariance_against_angle.png")
    pictures.predictions(test.image, test.label, predicted, run.path / "predictions.png")  # pyright: ignore[reportAttributeAccessIssue]
    pictures.turning(
        _turned(test.image[0]),  # pyright: ignore[reportAttributeAccessIssue]
        results["angles"],
        np.array(results["probabilities_at_angle"]),
        run.path / "turning.png",
    )
    learned = ""
    if "supports" in results:
        pictures.supports(results["supports"], run.path / "supports.png")
        learned = _SUPPORTS
    bank, names = _first_filters(session.steps.model(state.params, state.stats))
    pictures.filters(bank, names, run.path / "filters.png")
    run.write(
        "report.md",
        f"""# {name} on {config.dataset}

{results_table([results])}

{protocol(config, results)}

## Learning curves
![loss and error against epochs](learning_curves.png)

## Accuracy against rotation angle
The first {min(ANGLE_IMAGES, results["test_images"])} test images, turned further (bilinear).
![accuracy against angle](accuracy_against_angle.png)

## Invariance error against rotation angle
How much turning those images changes the logits, beside how much another image does: 0 is
invariance, 1 says that an image has nothing to do with itself turned. Between multiples of 90
degrees the image is interpolated, and pooling with strides is of pixels.
![invariance error against angle](invariance_against_angle.png)

## A digit that turns
The probabilities of the classes while the first test image turns; those above 0.1 somewhere.
![class probabilities against angle](turning.png)
{learned}
## Predictions
![test images with predicted classes](predictions.png)

## Filters of the first layer
A row for each group element: the same base filters, turned; the first {FILTERS} at most. Mean over
the input channels.
![filters](filters.png)
""",
    )


_SUPPORTS = """
## Learned equivariance
The part of the group that each layer keeps: its angles, and the probabilities of other elements.
![learned support of each layer](supports.png)
"""


def _turned(image: np.ndarray) -> np.ndarray:
    """The image at nine angles from 0 to 360 degrees, in grey: ``[9, H, W]``."""
    pixels = to_unit(image)
    return np.stack([np.asarray(rotate(pixels, np.pi * i / 4)).mean(-1) for i in range(9)])


def results_table(rows: list[dict]) -> str:
    """The results of several runs as a Markdown table."""
    return markdown_table(
        [
            {
                "model": row["model"],
                "parameters": f"{row['parameters']:,}",
                "test error": f"{100 * row['test_error']:.2f} %",
                "equivariance error": f"{row['equivariance_error']:.1e}",
                "training time": f"{row['train_seconds']:.0f} s",
            }
            for row in rows
        ]
    )


def markdown_table(rows: list[dict[str, str]]) -> str:
    """Rows of cells by column, aligned."""
    lines = [tuple(rows[0]), *(tuple(row.values()) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    )


def protocol(config: Config, results: dict) -> str:
    """What a figure means: data, split, epochs, selection."""
    stand_in = {
        "digits": " (stand-in data: the digits inside scikit-learn, enlarged and turned at random)",
        "rotated_mnist/generated": " (generated from MNIST; not the original MNIST-rot-12k)",
        "mnist/rotated_test": " (upright training images; each test image turned at random)",
        "cifar10/packed": " (in another order than the original files)",
    }.get(config.dataset, "")
    selected = results.get("selected_epoch")
    if selected is None:
        epochs = f"the last of {results['epochs']} epochs, no selection"
    else:
        epochs = (
            f"epoch {selected} of {results['epochs']}, that of the lowest validation error "
            f"(stopped after {config.patience} epochs without a lower one)"
        )
    whitened = ", contrast-normalised and whitened" if config.preprocess == "whiten" else ""
    return (
        f"Protocol: {config.dataset}{stand_in}; {results['train_images']:,} training, "
        f"{results['validation_images']:,} validation and {results['test_images']:,} test images"
        f"{whitened}; seed {config.seed}; {epochs}; {_optimizer(config)}, batch "
        f"{config.batch_size}, augmentation {config.augment}; batch statistics, if any, "
        "re-estimated on the training images. The test images are read once, at the end. "
        "Equivariance error: largest change of the logits under "
        f"{results['equivariance_group']}, relative to the largest logit, over 64 test images."
    )


def _optimizer(config: Config) -> str:
    parts = ["Adam" if config.optimizer == "adam" else f"SGD (momentum {config.momentum:g})"]
    parts[0] += f" {config.learning_rate:g}"
    if config.schedule == "step":
        after = ", ".join(map(str, config.milestones))
        parts.append(f"times {config.decay:g} after epochs {after}")
    elif config.schedule == "exponential":
        (first,) = config.milestones
        parts.append(f"times {config.decay:g} after each epoch from {first} on")
    elif config.schedule == "cosine":
        parts.append("cosine to 0")
    if config.warmup:
        parts.append(f"{config.warmup} epochs of warm-up")
    if config.weight_decay:
        parts.append(f"weight decay {config.weight_decay:g}")
    if config.support_rate != 1:
        parts.append(f"rate of the supports times {config.support_rate:g}")
    if config.monotone:
        parts.append(f"monotone penalty {config.monotone:g}")
    if config.clip is not None:
        parts.append(f"gradients clipped at {config.clip:g}")
    if config.average is not None:
        parts.append(f"parameters averaged with decay {config.average:g}")
    if config.dtype != "float32":
        parts.append(f"computed in {config.dtype}")
    return ", ".join(parts)


def _first_filters(model: nnx.Module) -> tuple[np.ndarray, list[str]]:
    """The filters of the first convolution for each group element, ``[k, k, |G|, C]``, and the
    names of the elements."""
    kinds = (LiftConv, ContinuousLiftConv, nnx.Conv)
    layers = [m for _, m in nnx.iter_graph(model) if isinstance(m, kinds)]
    # With rotation pooling every layer lifts; the first one has the fewest channels.
    conv = min(layers, key=lambda layer: layer.in_features)
    if isinstance(conv, ContinuousLiftConv):
        elements = conv.elements()
        of = {"group": conv.group, "elements": elements, "inputs": None}
        bank = continuous_bank(conv.kernel(), kernel_size=conv.kernel_size, **of)
        bank = np.asarray(bank)
        bank = bank.reshape(*bank.shape[:2], conv.in_features, -1, conv.out_features).mean(2)
        angles = np.rad2deg(np.asarray(SO2().log(elements.matrices)))
        mirrored = np.asarray(SO2().is_mirrored(elements.matrices))
        names = [f"{a:.0f}°{' m' * bool(m)}" for a, m in zip(angles, mirrored, strict=True)]
        return bank[..., :FILTERS], names
    group = getattr(conv, "group", Z2)
    kernel = conv.kernel[...].astype(np.float32)[..., :FILTERS]
    bank = filter_bank(
        kernel.mean(-2, keepdims=True),
        group=group,
        lifting=True,
        filters=getattr(conv, "filters", "pixel"),
        kernel_size=conv.kernel_size,
    )
    bank = np.asarray(bank).reshape(*bank.shape[:2], group.order, kernel.shape[-1])
    return bank, [group.element_name(g) for g in group.elements]
