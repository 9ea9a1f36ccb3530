"""``report.md`` and its pictures."""

from typing import NamedTuple

import numpy as np
from flax import nnx

from gconv_jax import Z2, filter_bank, rotate
from gconv_jax.continuous import continuous_bank
from gconv_jax.nnx import ContinuousLiftConv, LiftConv
from train import pictures
from train.config import FOLDER, Config
from train.data import Split
from train.evaluate import ANGLE_IMAGES
from train.maps import sampled_names
from train.pixels import to_unit
from train.provenance import IMAGES
from train.rundir import Run
from train.session import Session
from train.step import TrainState

SAMPLES = 32
FILTERS = 20


class Section(NamedTuple):
    """A picture of a report with what is said of it."""

    title: str
    text: str
    picture: str
    alt: str


CURVES = (
    Section("Learning curves", "", "learning_curves.png", "loss and error against epochs"),
    Section(
        "Accuracy against rotation angle",
        "",
        "accuracy_against_angle.png",
        "accuracy against angle",
    ),
    Section(
        "Invariance error against rotation angle",
        "",
        "invariance_against_angle.png",
        "invariance error against angle",
    ),
)
"""Of one run or of several in one picture."""


def write_report(session: Session, state: TrainState, run: Run, results: dict) -> None:
    """Draw the pictures into the run folder, then write ``report.md`` around them."""
    config, name = run.config, session.config.title
    test = Split(*(np.asarray(part[:SAMPLES]) for part in session.data.test))
    predicted = session.feed.logits(state, test.image).argmax(-1)
    pictures.learning_curves({name: run.metrics()}, run.path / "learning_curves.png")
    pictures.accuracy_against_angle({name: results}, run.path / "accuracy_against_angle.png")
    pictures.invariance_against_angle({name: results}, run.path / "invariance_against_angle.png")
    names = np.array(session.data.names or range(session.data.classes))
    pictures.predictions(
        test.image, names[test.label], names[predicted], run.path / "predictions.png"
    )
    if "probabilities_at_angle" in results:  # runs of earlier versions lack them
        pictures.turning(
            _turned(test.image[0]),
            results["angles"],
            np.array(results["probabilities_at_angle"]),
            names,
            run.path / "turning.png",
        )
    if "supports" in results:
        pictures.supports(results["supports"], run.path / "supports.png")
    bank, elements = _first_filters(session.steps.model(state.params, state.stats))
    pictures.filters(bank, elements, run.path / "filters.png")
    parts = [
        f"## {title}\n{text + chr(10) if text else ''}![{alt}]({picture})"
        for title, text, picture, alt in sections(results)
    ]
    run.write(
        "report.md",
        "\n\n".join(
            [
                f"# {title(config, results)}",
                results_table([results]),
                protocol(config, results),
                *parts,
            ]
        )
        + "\n",
    )


def title(config: Config, results: dict) -> str:
    """The heading of a report."""
    unfinished = results.get("unfinished")
    so_far = f", not finished: {unfinished}" if unfinished else ""
    return f"{config.title} on {config.dataset_title}{so_far}"


def sections(results: dict) -> list[Section]:
    """The pictures of a finished run, in order."""
    learning, accuracy, invariance = CURVES
    found = [
        learning,
        accuracy._replace(
            text=f"The first {min(ANGLE_IMAGES, results['test_images'])} test images, turned "
            "further (bilinear)."
        ),
        invariance._replace(
            text="How much turning those images changes the logits, beside how much another image "
            "does: 0 is\ninvariance, 1 says that an image has nothing to do with itself turned. "
            "Between multiples of 90\ndegrees the image is interpolated, and pooling with strides "
            "is of pixels."
        ),
        Section(
            "An image that turns",
            "The probabilities of the classes while the first test image turns; those above 0.1 "
            "somewhere.",
            "turning.png",
            "class probabilities against angle",
        ),
        Section(
            "Learned equivariance",
            "The part of the group that each layer keeps: its angles, and the probabilities of "
            "other elements.",
            "supports.png",
            "learned support of each layer",
        ),
        Section("Predictions", "", "predictions.png", "test images with predicted classes"),
        Section(
            "Filters of the first layer",
            f"A row for each group element: the same base filters, turned; the first {FILTERS} at "
            "most. Mean over\nthe input channels.",
            "filters.png",
            "filters",
        ),
    ]
    absent = {
        picture
        for key, picture in (
            ("probabilities_at_angle", "turning.png"),
            ("supports", "supports.png"),
        )
        if key not in results
    }
    return [section for section in found if section.picture not in absent]


def _turned(image: np.ndarray) -> np.ndarray:
    """The image at nine angles from 0 to 360 degrees, in grey: ``[9, H, W]``."""
    pixels = to_unit(image)
    return np.stack([np.asarray(rotate(pixels, np.pi * i / 4)).mean(-1) for i in range(9)])


def results_table(rows: list[dict]) -> str:
    """The results of several runs as a Markdown table."""
    return markdown_table([result_cells(row) for row in rows])


def result_cells(row: dict) -> dict[str, str]:
    """What a table says of the results of a run, by column."""
    return {
        "model": row["model"],
        "parameters": f"{row['parameters']:,}",
        "test error": f"{100 * row['test_error']:.2f} %",
        "equivariance error": f"{row['equivariance_error']:.1e}",
        "training time": f"{row['train_seconds']:.0f} s",
    }


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
    if config.dataset == FOLDER:
        stand_in = f" (of {results['input']['classes']} classes, {_images(config, results)})"
    selected = results.get("selected_epoch")
    unfinished = results.get("unfinished")
    when = "once, at the end"
    if unfinished:
        epochs = f"{unfinished}, of a run that is not finished"
        if selected is not None:
            epochs = f"epoch {selected}, that of the lowest validation error up to {epochs}"
        when = "for this report, before the end"
    elif selected is None:
        epochs = f"the last of {results['epochs']} epochs, no selection"
    else:
        epochs = f"epoch {selected} of {results['epochs']}, that of the lowest validation error"
        if results["epochs"] < config.epochs:
            epochs += f" (stopped after {config.patience} epochs without a lower one)"
    whitened = ", contrast-normalised and whitened" if config.preprocess == "whiten" else ""
    return (
        f"Protocol: {config.dataset_title}{stand_in}; {results['train_images']:,} training, "
        f"{results['validation_images']:,} validation and {results['test_images']:,} test images"
        f"{whitened}; seed {config.seed}; {epochs}; {_optimizer(config)}, batch "
        f"{config.batch_size}, augmentation {config.augment}; batch statistics, if any, "
        f"re-estimated on the training images. The test images are read {when}. "
        "Equivariance error: largest change of the logits under "
        f"{results['equivariance_group']}, relative to the largest logit, over 64 test images."
    )


def _images(config: Config, results: dict) -> str:
    """What became of the images of a folder, and which they are."""
    height, width, channels = results["input"]["shape"]
    kind = "grey" if channels == 1 else "in colour"
    test = "those in test/"
    if not results["own_test"]:
        test = f"{config.test_fraction:g} of each class, chosen by hashes of the file names"
    return (
        f"scaled to {height} x {width} pixels, {kind}; test images: {test}; files in {IMAGES}, "
        f"fingerprint {results['fingerprint']}"
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
        parts.append(f"{config.warmup} epoch{'s' * (config.warmup > 1)} of warm-up")
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
        return bank[..., :FILTERS], sampled_names(elements.matrices)
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
