"""The configuration of a training run.

The command line is made from it, so the strings below the fields are the help of the options.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args, get_type_hints

import tyro

from .options.checks import check_adapt, check_feeding, check_schedule, fits, is_choice
from .options.networks import (
    CONTINUOUS_GROUPS,
    DEFAULTS,
    NETWORKS,
    Model,
    Symmetry,
    describe,
    networks_with,
)

Group = Literal["z2", "mirror", "p2", "p4", "d2", "p4m", "c8", "c16", "d8", "d16", "so2", "o2"]
FOLDER = "folder"
FOLDER_OPTIONS = {"data": None, "image_size": None, "channels": "auto", "test_fraction": 0.2}
"""The settings that only folders of images have, with their defaults."""
DATA_PLACES = ("data", "raw_dir", "data_dir")
"""The options that say where the files of the data set are."""
PLACES = (*DATA_PLACES, "run")
NO_MATTER = (*PLACES, "report", "angles")
"""The options that change nothing of what is trained."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that decides the result of a run, and where it goes."""

    preset: Annotated[str, tyro.conf.Suppress] = "custom"
    """The recipe that the run began as, for the record."""
    model: Model = "p4cnn"
    """The network; see gconv_jax.models. The group may be written before it: p4m-resnet."""
    group: Annotated[
        Group | None,
        tyro.conf.arg(
            help=describe(
                "group",
                "The symmetry (default: p4, and so2 for ck-resnet and gcnn13). z2 is translations "
                "alone, p4m has reflections too, c8 turns by 45 degrees, so2 and o2 by any angle. "
                "Networks of pixel filters have those up to p4m",
            )
        ),
    ] = None
    groups: Annotated[
        tuple[Group, ...],
        tyro.conf.arg(
            help=describe("groups", "Groups per depth stage, each a subgroup of the previous one")
        ),
    ] = ()
    filters: Annotated[
        Literal["pixel", "bilinear", "bicubic", "harmonic"] | None,
        tyro.conf.arg(
            help=describe(
                "filters",
                "The kind of filters (default: harmonic where they turn by other angles than 90 "
                "degrees, and always in the e2cnn)",
            )
        ),
    ] = None
    samples: Annotated[
        int | None,
        tyro.conf.arg(
            help=describe(
                "samples",
                "The elements at which each layer over so2 or o2 is sampled (default: 8), "
                "half of them mirrored for o2",
            )
        ),
    ] = None
    partial: Annotated[
        bool,
        tyro.conf.arg(help=describe("partial", "Learn how much of the group each layer respects")),
    ] = False
    kernel_network: Annotated[
        Literal["siren", "multiplicative"] | None,
        tyro.conf.arg(
            help=describe("kernel_network", "The network that computes filters (default: siren)")
        ),
    ] = None
    pools: Annotated[
        Literal["early", "late"] | None,
        tyro.conf.arg(
            help=describe(
                "pools",
                "The stages after which images are halved: the first two (default) or the last",
            )
        ),
    ] = None
    width: int | None = None
    """The channels for each group element; by default those of the published parameter count. It is
    the width over all elements in vit and convnext, the widening factor of wide-resnet (default:
    10) and the growth of densenet."""
    blocks: Annotated[
        int | None,
        tyro.conf.arg(
            help=describe(
                "blocks",
                "The blocks in each of the three stages, if not the published number; the layers "
                "in each of the five blocks of densenet (default: 1); all blocks of vit (default: "
                "12)",
            )
        ),
    ] = None
    patch_size: Annotated[
        int | None,
        tyro.conf.arg(
            help=describe("patch_size", "The pixels on a side of each patch (default: 4)")
        ),
    ] = None
    size: Annotated[
        Literal["digits", "letters"],
        tyro.conf.arg(
            help=describe("size", "The published widths, or the larger ones for letters")
        ),
    ] = "digits"
    geometry: Annotated[
        Literal["exact", "published"],
        tyro.conf.arg(
            help=describe(
                "geometry",
                "The halving of images: one that stays equivariant, or the published one, which "
                "does not",
            )
        ),
    ] = "exact"
    separable: Annotated[
        Literal["none", "g", "gc"] | None,
        tyro.conf.arg(
            help=describe(
                "separable",
                "Filters that are products of one on the group and one on space, for each pair of "
                "channels (g) or each output channel (gc); default: gc in separable-cnn, else none",
            )
        ),
    ] = None
    relaxed: Annotated[
        int | None,
        tyro.conf.arg(
            help=describe("relaxed", "The base filters that each group element mixes, with weights")
        ),
    ] = None
    head: Annotated[
        Literal["invariant", "published", "ordinary"],
        tyro.conf.arg(
            help=describe(
                "head",
                "The maximum over the group, or logits that depend on the pose: the published "
                "flattening of it (residual networks), an ordinary linear map (convnext)",
            )
        ),
    ] = "invariant"

    adapt: Literal["none", "symmetrize", "canonicalize", "penalty"] = "none"
    """Make the whole network equivariant under adapt-group: average it over all poses, let a small
    network choose one, or add the deviation to the loss."""
    adapt_group: Symmetry = "p4"
    """The symmetry of adapt."""
    adapt_weight: float = 1.0
    """The weight of the deviation, or of the prior that training images are upright
    (canonicalize)."""

    dataset: Literal[
        "digits",
        "mnist",
        "mnist/rotated_test",
        "mnist6_180",
        "mnist6_m",
        "rotated_mnist/generated",
        "rotated_mnist/larochelle2007",
        "emnist/balanced",
        "cifar10",
        "cifar10/packed",
        "cifar100",
        "folder",
    ] = "digits"
    """digits: 1,797 rotated 8x8 digits of scikit-learn, no download; folder: see data. The others
    are TFDS sets."""
    data: Path | None = None
    """Your own images: a folder with a folder of image files for each class, or with train/ and
    test/ (and val/) that have those."""
    image_size: int | None = None
    """Pixels on a side to which your own images are scaled without distortion (default: 64; --size
    64 is understood too). Multiples of 4 stay equivariant in nearly all networks."""
    channels: Literal["auto", "grey", "colour"] = "auto"
    """The color of your own images; auto: gray if all of them are."""
    test_fraction: float = 0.2
    """The share of each class of your own images that is kept for the test, chosen by a hash of the
    file names, where there is no test/."""
    raw_dir: Path | None = None
    """Build the data set from original files in this folder instead of downloading them."""
    data_dir: Path | None = None
    """The folder of prepared TFDS data sets (default: ~/tensorflow_datasets)."""
    validation: int | float = 0
    """Training images held out to make choices with, or their share, such as 0.1; the test split is
    read once, at the end. Your own images with val/ use that, whatever is said here."""
    train_images: int | None = None
    """Use only the first so many training images."""
    test_images: int | None = None
    """Use only the first so many test images; for a quick look."""
    preprocess: Literal["scale", "whiten"] = "scale"
    """scale: one mean and deviation for all pixels; whiten: contrast of each image, then ZCA."""
    augment: Literal["none", "jitter", "rotate", "shift-flip"] = "none"
    """jitter: turn by up to 3.14 degrees, as the published code did; rotate: by any angle;
    shift-flip: mirror every other image and move it by up to two pixels (CIFAR10+)."""

    epochs: int = 20
    """Passes over the training images."""
    batch_size: int = 128
    """Images in a step, over all devices."""
    optimizer: Literal["adam", "sgd"] = "adam"
    """adam: AdamW; sgd: with momentum."""
    learning_rate: float = 1e-3
    """The largest; see schedule."""
    momentum: float = 0.9
    """The momentum of sgd."""
    schedule: Literal["constant", "step", "exponential", "cosine"] = "constant"
    """step: times decay after each of the milestones; exponential: after every epoch from the one
    milestone on; cosine: to 0 at the last epoch."""
    milestones: tuple[int, ...] = ()
    """Epochs after which the schedule lowers the rate, or from which on."""
    decay: float = 0.1
    """The factor each time."""
    warmup: int = 0
    """Epochs over which the rate rises from 0 in a line."""
    weight_decay: float = 0.0
    """The decay of the base filters: decoupled from the gradient in adam, part of it in sgd."""
    support_rate: float = 1.0
    """The learning rate of the supports of partial networks, relative to that of the rest."""
    monotone: float = 0.0
    """The weight of the penalty on angles that grow with depth, in partial networks."""
    clip: float | None = None
    """The largest norm of all gradients together; longer ones are shortened."""
    average: float | None = None
    """Evaluate an exponential moving average of the parameters with this decay, e.g. 0.999."""
    patience: int | None = None
    """Stop after so many epochs without a lower validation error, and keep the best epoch."""
    evaluate_every: int = 1
    """Epochs between evaluations on the validation images."""
    seed: int = 0
    """The seed of initialization, order, dropout and augmentation."""
    seeds: int = 1
    """Train so many networks, with seeds from seed on, in one compiled program."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """The dtype of computation; parameters stay float32."""

    parallel: Literal["auto", "jit", "pmap", "sharding"] = "auto"
    """jit on one device, pmap over the local ones, sharding over those of all processes; auto: what
    fits."""
    loop: Literal["auto", "scan", "step"] = "auto"
    """scan: an epoch is one compiled loop; step: a dispatch each step; auto: step on CPU, where
    XLA runs convolutions inside loops on one thread."""
    memory: Literal["auto", "device", "host"] = "auto"
    """The place of the images: on the device, or fed from the host; auto: device up to 1 GiB."""
    loader: Literal["memory", "grain"] = "memory"
    """memory: all images are read at the start; grain: they stay on the disk and Grain reads each
    batch ahead of its step, for data larger than memory. The result is the same."""
    workers: int = 0
    """Processes that read and decode for loader grain, started for each pass over the images; 0:
    threads, which is enough for most."""
    checkpoint_every: int = 1
    """Epochs between checkpoints."""
    checkpoint_steps: int | None = None
    """Steps between checkpoints within an epoch, for epochs that take hours."""
    report: Literal["full", "quick", "none"] = "full"
    """full: all of it, but for parts that would take longer than the training and than a minute;
    quick: table and curves; none: the test error. The command ``report`` adds the rest."""
    angles: int | None = None
    """The angles of a full turn at which the report shows test images, a multiple of 4 (default: 32
    in its curves, 72 on its slider)."""
    run: Path | None = None
    """The run folder (default: runs/PRESET-DATE-TIME)."""

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(Config).items():
            if not fits(getattr(self, name), hint):
                choices = f"one of {', '.join(get_args(hint))}" if is_choice(hint) else hint
                raise ValueError(f"`{name}` must be {choices}, got {getattr(self, name)!r}")
        positive = ("epochs", "batch_size", "evaluate_every", "checkpoint_every", "seeds")
        optional = ("width", "blocks", "patch_size", "samples", "train_images", "test_images")
        optional += ("patience", "image_size", "checkpoint_steps", "relaxed")
        at_least = dict.fromkeys(positive + optional, 1)
        at_least |= {"validation": 0, "seed": 0, "weight_decay": 0.0, "warmup": 0, "monotone": 0.0}
        at_least |= {"workers": 0, "adapt_weight": 0.0}
        for name, least in at_least.items():
            value = getattr(self, name)
            if value is not None and not least <= value < float("inf"):
                raise ValueError(f"`{name}` must be finite and at least {least}, got {value}")
        for name in ("learning_rate", "support_rate", "clip", "decay"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"`{name}` must be positive and finite, got {value}")
        for name in ("momentum", "average"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise ValueError(f"`{name}` must be at least 0 and below 1, got {value}")
        if self.validation >= 1 and self.validation != int(self.validation):
            raise ValueError(
                f"`validation` must be a number of images, or a share of them below 1, got "
                f"{self.validation}"
            )
        if self.angles is not None and self.angles not in range(4, 361, 4):
            raise ValueError(f"`angles` must be a multiple of 4 from 4 to 360, got {self.angles}")
        if not 0 < self.test_fraction < 1:
            raise ValueError(f"`test_fraction` must be above 0 and below 1: {self.test_fraction}")
        for name, default in FOLDER_OPTIONS.items():
            if getattr(self, name) != default and self.dataset != FOLDER:
                raise ValueError(
                    f"`{name}` is for images of your own (--data DIR), not for {self.dataset}"
                )
        check_feeding(self)
        self._check_model()
        check_schedule(self)
        check_adapt(self)

    def _check_model(self) -> None:
        takes = NETWORKS[self.model].options
        if "group" not in takes and self.group is not None:
            remedy = "; it takes --groups" if "groups" in takes else ""
            raise ValueError(f"`group` is not for {self.model}{remedy}, got {self.group!r}")
        if self.model == "mixed" and not self.groups:
            raise ValueError(
                f"`groups` go with model mixed, e.g. --model mixed --groups p4m p4 z2; got model "
                f"{self.model} and groups {self.groups}"
            )
        for name, default in DEFAULTS.items():
            if getattr(self, name) != default and name not in takes:
                verb = "are" if name == "groups" else "is"
                known = ", ".join(networks_with(name))
                raise ValueError(f"`{name}` {verb} for {known}, not for {self.model}")
        for group in (self.group, *self.groups):
            if group in CONTINUOUS_GROUPS and "samples" not in takes:
                known = ", ".join(networks_with("samples"))
                raise ValueError(f"`group` {group} is for {known}, not for {self.model}")
        if self.samples is not None and (self.group or "so2") not in CONTINUOUS_GROUPS:
            raise ValueError(
                f"`samples` are of {', '.join(CONTINUOUS_GROUPS)}; all elements of {self.group} "
                f"are taken: leave out --samples {self.samples}"
            )
        for name, default in (("support_rate", 1.0), ("monotone", 0.0)):
            if getattr(self, name) != default and not self.partial:
                raise ValueError(f"`{name}` is for networks with --partial")
        if self.head not in ("invariant", "ordinary" if self.model == "convnext" else "published"):
            raise ValueError(f"`head` {self.head} is for another network than {self.model}")
        if self.size != "digits" and self.width is not None:
            raise ValueError(f"`size` {self.size} sets the widths: leave out --width {self.width}")

    @property
    def title(self) -> str:
        """The network in a table: model and group."""
        groups = self.groups or ((self.group,) if self.group else ())
        parts = [self.model, *(["-".join(groups)] if groups else [])]
        if "samples" in NETWORKS[self.model].options and self.group in CONTINUOUS_GROUPS:
            parts[-1] += f"/{self.samples or 8}"
        if self.separable is not None:
            parts.append(self.separable)
        parts += ["partial"] if self.partial else []
        parts += [] if self.adapt == "none" else [f"{self.adapt} {self.adapt_group}"]
        return " ".join(parts)

    @property
    def dataset_title(self) -> str:
        """The data set in a report."""
        return self.dataset if self.data is None else f"the images in {self.data.name or self.data}"

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2, default=str)

    @classmethod
    def from_json(cls, text: str) -> "Config":
        """ValueError names fields that this version does not know."""
        values = json.loads(text)
        unknown = values.keys() - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            raise ValueError(f"unknown settings in the configuration: {', '.join(sorted(unknown))}")
        for name in PLACES:
            values[name] = None if values.get(name) is None else Path(values[name])
        for name in ("groups", "milestones"):
            values[name] = tuple(values.get(name, ()))
        return cls(**values)
