"""The protocol of a run in words: data, split, epochs, optimizer, and how it was measured."""

from collections.abc import Sequence

from ..config import FOLDER, Config
from ..data.provenance import IMAGES
from ..data.reading import Reading, described
from ..data.summary import which_test_images
from ..data.volumes import is_volume, of_volumes
from ..names import pluralize
from ..options.fine_tuning import starting_point
from ..run.early_stopping import CHOICES, choice_in_words
from ..run.invariance import checked, is_exact, sentence_of
from ..run_folder.command_line import PROGRAM
from ..steps.task import Task, task_of_results


def protocol(config: Config, results: dict, beside: Sequence[dict] = ()) -> str:
    """Return what a figure means: `how_measured`, and what the invariance error is.

    Args:
        config: of the run.
        results: of the run.
        beside: the results of all runs in the same table.
    """
    return f"Protocol: {how_measured(config, results)}. {_invariance(config, results, beside)}"


def how_measured(config: Config, results: dict) -> str:
    """Return what the error of a run means: data, split, epochs and selection."""
    stand_in = {
        "digits": " (stand-in data: the digits inside scikit-learn, enlarged and turned at random)",
        "rotated_mnist/generated": " (generated from MNIST; not the original MNIST-rot-12k)",
        "mnist/rotated_test": " (upright training images; each test image turned at random)",
        "cifar10/packed": " (in another order than the original files)",
    }.get(config.dataset, "")
    if config.dataset == FOLDER:
        what = f"of {results['input']['classes']} classes"
        if task_of_results(results).masks:
            what = f"with masks of {results['input']['classes']} classes"
        if task_of_results(results).numbers:
            what = f"with {pluralize(results['input']['classes'], 'number')}"
        stand_in = f" ({what}, {_images(config, results)})"
    selected = results.get("selected_epoch")
    unfinished = results.get("unfinished")
    when, choice, task = "once, at the end", CHOICES[config.metric], task_of_results(results)
    best = choice_in_words(config.metric, task.error)
    if unfinished:
        epochs = f"{unfinished}, of a run that is not finished"
        if selected is not None:
            epochs = f"epoch {selected}, that of the {best} up to {epochs}"
        when = "for this report, before the end"
    elif selected is None:
        epochs = f"the last of {results['epochs']} epochs, no selection"
    else:
        epochs = f"epoch {selected} of {results['epochs']}, that of the {best}"
        if results["epochs"] < config.epochs:
            epochs += f" (stopped after {config.patience} epochs without a {choice.better} one)"
    training = _optimizer(config, task)
    if config.init is not None:
        training = f"{starting_point(config)}; {training}"
    whitened = ", contrast-normalized and whitened" if config.preprocess == "whiten" else ""
    return (
        f"{config.dataset_title}{stand_in}; {results['train_images']:,} training, "
        f"{results['validation_images']:,} validation and {results['test_images']:,} test images"
        f"{whitened}; seed {config.seed}; {epochs}; {training}, batch "
        f"{config.batch_size}, augmentation {config.augment}; batch statistics, if any, "
        f"re-estimated on the training images. The test images are read {when}"
    )


def _invariance(config: Config, results: dict, beside: Sequence[dict]) -> str:
    """Return what the table says of the invariance error: its definition, the images, the group."""
    group = checked(results, beside)
    if group is None:
        missing = "The invariance error was not measured"
        if "equivariance_error" in results:
            missing += " as it is defined now: the run is of an earlier version"
        return f"{missing}. `{PROGRAM} report` and the run folder adds it."
    exact = sum(map(is_exact, group["elements"]))
    between = len(group["elements"]) - exact
    images = lower(first_images(results, "invariance_images"))
    sentence = sentence_of(results)
    sentences = [
        f"{sentence} (root mean squares over {images} and all outputs)",
        f"The table has the largest over the {exact} elements of {group['group']}"
        + (" that move pixels onto pixels" if between else ""),
    ]
    if between:
        sentences.append(
            f'The column "interpolated" has the largest over the other {between}, between the '
            "pixels, where nothing is exact"
        )
    if group == results["symmetry"]:
        sentences.append(f"{group['group']} is the symmetry that this network was built with")
    else:
        alone = "the rotations of the cube" if of_volumes(results) else "quarter turns"
        whose = "that of the network beside it" if group in _symmetries(beside) else alone
        sentences.append(
            f"This network was built without such a symmetry; {group['group']} is {whose}, for "
            "comparison"
        )
    if config.preprocess == "whiten":
        sentences.append("What is turned are whitened images")
    return ". ".join(sentences) + "."


def first_images(results: dict, key: str, most: int = 200) -> str:
    """Return which test images were used, by the key of their number.

    Args:
        results: of a run.
        key: its number of images is there; in earlier versions it was not.
        most: their number at that time, or all.
    """
    count = results.get(key, min(most, results["test_images"]))
    every = count == results["test_images"]
    return f"All {count} test images" if every else f"The first {count} test images"


def lower(sentence: str) -> str:
    """The sentence, to go on with after others."""
    return sentence[0].lower() + sentence[1:]


def _symmetries(every: Sequence[dict]) -> list[dict]:
    return [results["symmetry"] for results in every if "symmetry" in results]


def _images(config: Config, results: dict) -> str:
    """Return what became of the images of a folder, and which they are."""
    *sides, channels = results["input"]["shape"]
    volumes = is_volume(results["input"]["shape"])
    size = " x ".join(map(str, sides))
    size = f"volumes of {size} voxels" if volumes else f"scaled to {size} pixels"
    kind = {1: "gray", 3: "in color", 2: "with 2 channels, shown as their mean"}.get(
        channels, f"with {channels} channels, of which pictures show the first three as RGB"
    )
    reading = Reading.from_arguments(results["input"].get("reading", {}))
    kind += f"; {described(reading)}" if described(reading) else ""
    groups = results.get("groups")
    test = which_test_images(config, own=results["own_test"], grouped=groups is not None)
    split = f"; split by {groups}" if groups else ""
    return f"{size}, {kind}; {test}{split}; files in {IMAGES}, fingerprint {results['fingerprint']}"


def _optimizer(config: Config, task: Task) -> str:
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
    if config.adapt in ("canonicalize", "penalty"):
        parts.append(f"{config.adapt} weight {config.adapt_weight:g}")
    if config.monotone:
        parts.append(f"monotone penalty {config.monotone:g}")
    if config.clip is not None:
        parts.append(f"gradients clipped at {config.clip:g}")
    if config.average is not None:
        parts.append(f"parameters averaged with decay {config.average:g}")
    if task.masks:
        dice = " plus 1 - soft Dice" if config.loss == "dice" else ""
        parts.append(f"cross-entropy of each pixel{dice}")
    if task.several:
        parts.append("sigmoid cross-entropy of each label, mean over the classes")
    if task.numbers:
        kind = "Huber loss" if config.loss == "huber" else "squared error"
        parts.append(f"{kind} relative to the deviations of the training numbers")
    if config.loss == "focal":
        parts.append(f"focal loss with gamma {config.focal_gamma:g}")
    if config.label_smoothing:
        parts.append(f"label smoothing {config.label_smoothing:g}")
    if config.class_weights == "balanced":
        what = "of each answer" if task.several else "of the class"
        parts.append(f"loss weighted by the inverse frequency {what}")
    if config.sampling == "balanced":
        parts.append("each class equally often in an epoch")
    if config.dtype != "float32":
        parts.append(f"computed in {config.dtype}")
    return ", ".join(parts)
