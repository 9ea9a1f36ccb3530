"""The network of a run as a folder that `gconv_jax.models.load_pretrained` opens."""

import dataclasses
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gconv_jax.models import Standardized, Whitened, save_pretrained

from ..config import FOLDER, NO_MATTER, Config
from ..recipes.presets import PRESETS
from ..report.protocol import how_measured
from ..run.main_figures import main_figures
from ..run.predictor import Predictor
from ..run.snapshot import Snapshot
from ..run_folder.command_line import PROGRAM
from ..run_folder.environment import read_environment
from ..run_folder.folder import Run
from ..run_folder.saved_network import PROGRAM_KEY
from ..steps.rescaled import with_fixed_numbers

LICENSES = {
    "digits": "CC BY 4.0: the digits inside scikit-learn are a part of Optical Recognition of "
    "Handwritten Digits (Alpaydin and Kaynak 1998, UCI, doi:10.24432/C50P49)",
}
"""The licences of data sets, and whose they are, by their names in a configuration."""


def save_network(run: Run, network: Predictor, path: Path) -> Path:
    """Write the network of a run, with the preparation of pixels in front, to a folder; one that
    was saved there before is replaced."""
    config = run.config
    model = with_fixed_numbers(network.steps.model(network.params, network.stats))
    if network.whitening is not None:
        model = Whitened(model, image_shape=network.shape)
        model.mean[...] = network.whitening.mean
        model.matrix[...] = network.whitening.matrix
    else:
        model = Standardized(model, mean=network.steps.prepare.mean, std=network.steps.prepare.std)
    results = {} if isinstance(run, Snapshot) else run.results or {}
    figures = main_figures(config, results)
    return save_pretrained(
        model,
        path,
        classes=[network.name(i) for i in range(network.classes)],
        image_shape=network.shape,
        figures=figures,
        protocol=how_measured(config, results) if figures else None,
        about=_about(run, network, results),
        overwrite=True,
    )


def training_command(config: Config) -> str:
    """Return the command that trains with a configuration; DIR is where the user's images are.

    >>> config = dataclasses.replace(PRESETS["digits-p4cnn"][1], epochs=3, groups=())
    >>> training_command(config).partition(" digits")[2]
    '-p4cnn --epochs 3'
    """
    recipe = config.preset if config.preset in PRESETS else None
    base = PRESETS[recipe][1] if recipe else Config()
    words = [recipe] if recipe else []
    for field in dataclasses.fields(Config):
        value = getattr(config, field.name)
        if field.name in (*NO_MATTER, "preset") or value == getattr(base, field.name):
            continue
        if value is None and config.model != base.model:  # what --model alone does
            continue
        if field.name == "init":
            value = Path(value).name  # where that lay is of no use to others
        words += _option(field.name.replace("_", "-"), value)
    if config.dataset == FOLDER:
        words += ["--data", "DIR"]
    return f"{PROGRAM} {shlex.join(words)}"


def _option(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, bool):
        yield f"--{name}" if value else f"--no-{name}"
        return
    yield f"--{name}"
    yield from map(str, value if isinstance(value, tuple) else (value,))


def _about(run: Run, network: Predictor, results: dict) -> dict[str, Any]:
    """Return what the card of a network says beside its figures."""
    config, devices = run.config, read_environment(run.path)
    kind = "labels" if network.task.several else "classes"
    kind = "numbers" if network.task.numbers else kind
    kind = "classes of pixels" if network.task.masks else kind
    about = {
        "title": f"{network.title} on {config.dataset_title}",
        "task": f"{config.dataset_title}: {network.classes} {kind}",
        "output": _output(network),
        "trained by": f"`{training_command(config)}`",
    }
    if "train_seconds" in results:
        epochs = f"{results['epochs']} of {config.epochs} epochs"
        about["training"] = (
            f"{results['train_seconds']:,.0f} seconds, {epochs}, "
            f"{devices.get('device', 'an unknown device')}, {devices.get('cores', '?')} cores"
        )
    if isinstance(run, Snapshot):
        about["unfinished"] = run.title
    if config.dataset in LICENSES:
        about["data"] = LICENSES[config.dataset]
    program = {
        "title": network.title,
        "several_labels": network.task.several,
        **({} if network.masks is None else {"mask_values": list(network.masks.values)}),
        "reading": network.reading.arguments(),
    }
    return about | {PROGRAM_KEY: program}


def _output(network: Predictor) -> str:
    """Return in words what the network gives for a batch."""
    task = network.task
    if task.numbers:
        return f"`[N, {network.classes}]`, numbers in their own units"
    pixels, each = (network.shape[:-1], " of each pixel") if task.masks else ((), "")
    axes = ", ".join(map(str, (*pixels, network.classes)))
    return f"`[N, {axes}]`, logits{each}; their {task.link} are probabilities"
