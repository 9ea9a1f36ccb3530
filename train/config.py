"""What a training run is made of, and the recipes that have a name.

The command line is made from these dataclasses, so the strings below each field are its help.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

Group = Literal["z2", "mirror", "p2", "p4", "d2", "p4m"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that decides the result of a run, and where it goes."""

    preset: Annotated[str, tyro.conf.Suppress] = "custom"
    """The recipe this began as; for the record."""
    model: Literal["z2cnn", "p4cnn", "p4cnn-rp"] = "p4cnn"
    """The network: plain, group convolutions, or with rotation pooling after every layer."""
    group: Group | None = None
    """The symmetry of p4cnn and p4cnn-rp (default: p4); p4m has reflections too, and so on."""
    width: int | None = None
    """Channels for each group element; by default what gives the published parameter count."""

    dataset: Literal[
        "digits", "mnist", "rotated_mnist/generated", "rotated_mnist/larochelle2007"
    ] = "digits"
    """digits: 1,797 rotated 8x8 digits of scikit-learn, no download. The others are TFDS sets."""
    raw_dir: Path | None = None
    """Build the data set from original files in this folder instead of downloading them."""
    data_dir: Path | None = None
    """Where prepared TFDS data sets are kept (default: ~/tensorflow_datasets)."""
    validation: int = 0
    """Training images held out to make choices with; the test split is read once, at the end."""
    train_images: int | None = None
    """Use only the first so many training images."""
    test_images: int | None = None
    """Use only the first so many test images; for a quick look."""
    augment: Literal["none", "jitter", "rotate"] = "none"
    """jitter: turn by up to 3.14 degrees, as the published code did; rotate: by any angle."""

    epochs: int = 20
    """Passes over the training images."""
    batch_size: int = 128
    """Images in a step, over all devices."""
    learning_rate: float = 1e-3
    """Of Adam; constant."""
    weight_decay: float = 0.0
    """Decoupled decay of the base filters (AdamW)."""
    evaluate_every: int = 1
    """Epochs between evaluations on the validation images."""
    seed: int = 0
    """Of initialisation, order, dropout and augmentation."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of computation; parameters stay float32."""

    parallel: Literal["auto", "jit", "pmap"] = "auto"
    """jit on one device, or pmap over the local ones; auto: pmap if there are several."""
    loop: Literal["auto", "scan", "step"] = "auto"
    """scan: an epoch is one compiled loop; step: a dispatch each step; auto: step on CPU, where
    XLA runs convolutions inside loops on one thread."""
    memory: Literal["auto", "device", "host"] = "auto"
    """Where the images are: on the device, or fed from the host; auto: device up to 1 GiB."""
    checkpoint_every: int = 1
    """Epochs between checkpoints."""
    run: Path | None = None
    """The run folder (default: runs/PRESET-DATE-TIME)."""

    def __post_init__(self) -> None:
        positive = ("epochs", "batch_size", "evaluate_every", "checkpoint_every")
        optional = ("width", "train_images", "test_images")
        at_least = dict.fromkeys(positive + optional, 1)
        at_least |= {"validation": 0, "seed": 0, "weight_decay": 0.0}
        for name, least in at_least.items():
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise ValueError(f"`{name}` must be at least {least}, got {value}")
        if self.model == "z2cnn" and self.group is not None:
            raise ValueError(
                f"`group` is for p4cnn and p4cnn-rp; z2cnn has none, got {self.group!r}"
            )
        if not 0 < self.learning_rate < float("inf"):
            raise ValueError(
                f"`learning_rate` must be positive and finite, got {self.learning_rate}"
            )

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2, default=str)

    @classmethod
    def from_json(cls, text: str) -> "Config":
        """ValueError names fields that this version does not know."""
        values = json.loads(text)
        unknown = values.keys() - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            raise ValueError(f"unknown settings in the configuration: {', '.join(sorted(unknown))}")
        for name in ("raw_dir", "data_dir", "run"):
            values[name] = None if values.get(name) is None else Path(values[name])
        return cls(**values)


def _rotmnist(model: str, epochs: int) -> Config:
    return Config(
        preset=f"rotmnist-{model}",
        model=model,
        dataset="rotated_mnist/generated",
        epochs=epochs,
    )


# Small batches: a thousand images have to give enough steps in a few minutes.
_DIGITS = Config(dataset="digits", epochs=15, batch_size=48)

PRESETS: dict[str, tuple[str, Config]] = {
    "digits-z2cnn": (
        "Z2CNN on the rotated digits inside scikit-learn; no download.",
        dataclasses.replace(_DIGITS, preset="digits-z2cnn", model="z2cnn"),
    ),
    "digits-p4cnn": (
        "P4CNN on the rotated digits inside scikit-learn; no download.",
        dataclasses.replace(_DIGITS, preset="digits-p4cnn", model="p4cnn"),
    ),
    "rotmnist-z2cnn": (
        "Z2CNN on rotated MNIST: the plain CNN of Cohen & Welling 2016.",
        _rotmnist("z2cnn", 300),
    ),
    "rotmnist-p4cnn": (
        "P4CNN on rotated MNIST: the G-CNN of Cohen & Welling 2016.",
        _rotmnist("p4cnn", 100),
    ),
    "rotmnist-p4cnn-rp": (
        "P4CNN with rotation pooling after every layer, on rotated MNIST.",
        _rotmnist("p4cnn-rp", 100),
    ),
}
"""Name -> (what it is, configuration). The rotmnist ones follow Cohen & Welling 2016
(arXiv:1602.07576): all 12,000 training images, Adam 1e-3, batch 128, no weight decay, batch
statistics re-estimated before evaluation. No augmentation, as the paper has it; the authors' code
turned images by +-3.14 *degrees* (a uniform angle in +-pi handed to a function that takes degrees),
which is ``augment="jitter"``."""
