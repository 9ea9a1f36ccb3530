"""What a training run is made of.

The command line is made from these dataclasses, so the strings below each field are its help.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Literal, Union, get_args, get_origin, get_type_hints

import tyro

Group = Literal["z2", "mirror", "p2", "p4", "d2", "p4m", "c8", "c16", "d8", "d16", "so2", "o2"]
CONTINUOUS_GROUPS = ("so2", "o2")
WITH_GROUPS = ("mixed", "e2cnn", "small-e2cnn", "wide-resnet")
WITHOUT_GROUP = ("z2cnn", "plain-cnn", "augerino", *WITH_GROUPS)
WITH_SUPPORT = ("ck-resnet", "gcnn13")
WITH_KERNEL_NETWORK = (*WITH_SUPPORT, "augerino")
WITH_FILTERS = ("group-cnn", "e2cnn", "small-e2cnn", "wide-resnet", "densenet")
WITH_GEOMETRY = ("all-cnn-c", "resnet", "resnet44", "resnet26", "wide-resnet")
WITH_HEAD = ("resnet", "resnet44", "resnet26")
WITH_BLOCKS = (*WITH_HEAD, "wide-resnet", "densenet")
WITH_SEPARABLE = ("separable-cnn", *WITH_HEAD)
FOLDER = "folder"
OF_FOLDERS = {"data": None, "image_size": None, "channels": "auto", "test_fraction": 0.2}
"""The settings that only folders of images have, with their defaults."""
DATA_PLACES = ("data", "raw_dir", "data_dir")
"""The options that say where the files of the data set are."""
PLACES = (*DATA_PLACES, "run")
NO_MATTER = (*PLACES, "report")
"""The options that change nothing of what is trained."""


def _is_choice(hint) -> bool:
    return get_origin(hint) is Literal


def _fits(value, hint) -> bool:
    """Whether a value is of the type of a field; the command line has made sure of that, a file or
    a notebook need not have."""
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, option) for option in get_args(hint))
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(_fits(v, get_args(hint)[0]) for v in value)
    if _is_choice(hint):
        return isinstance(value, str) and value in get_args(hint)
    if hint in (int, float):
        return isinstance(value, int | hint) and not isinstance(value, bool)
    return isinstance(value, hint)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that decides the result of a run, and where it goes."""

    preset: Annotated[str, tyro.conf.Suppress] = "custom"
    """The recipe this began as; for the record."""
    model: Literal[
        "z2cnn",
        "p4cnn",
        "p4cnn-rp",
        "plain-cnn",
        "early-p4cnn",
        "mixed",
        "lenet",
        "group-cnn",
        "e2cnn",
        "small-e2cnn",
        "all-cnn-c",
        "resnet",
        "resnet44",
        "resnet26",
        "wide-resnet",
        "densenet",
        "ck-resnet",
        "gcnn13",
        "augerino",
        "separable-cnn",
    ] = "p4cnn"
    """The network; see gconv_jax.models. The group may be written before it: p4m-resnet."""
    group: Group | None = None
    """The symmetry (default: p4); z2 is translations alone, p4m has reflections too, c8 turns by 45
    degrees, and so on; so2 and o2, for ck-resnet and gcnn13, by any angle. Networks of pixel
    filters have those up to p4m."""
    groups: tuple[Group, ...] = ()
    """Of mixed, the e2cnn and wide-resnet: a group for each part of the depth, each within the one
    before."""
    filters: Literal["pixel", "bilinear", "bicubic", "harmonic"] | None = None
    """Of group-cnn, the e2cnn, wide-resnet and densenet: what filters are made of (default:
    harmonic where they turn by other angles than 90 degrees, and in the e2cnn)."""
    samples: int | None = None
    """Of so2 and o2: elements that each layer is sampled at (default: 8), half of them mirrored."""
    partial: bool = False
    """Of ck-resnet and gcnn13: each layer learns how much of the group to respect."""
    kernel_network: Literal["siren", "multiplicative"] | None = None
    """Of ck-resnet, gcnn13 and augerino: what the filters are computed by (default: siren)."""
    pools: Literal["early", "late"] | None = None
    """Of ck-resnet: halve after the first two stages (default) or the last two."""
    width: int | None = None
    """Channels for each group element; by default what gives the published parameter count. Of
    wide-resnet the widening factor (default: 10), of densenet the growth."""
    blocks: int | None = None
    """Of the resnets: blocks in each of the three stages, if not the published number; of densenet
    layers in each of the five blocks (default: 1)."""
    size: Literal["digits", "letters"] = "digits"
    """Of plain-cnn, p4cnn and early-p4cnn: the published one, or the wider one for letters."""
    geometry: Literal["exact", "published"] = "exact"
    """Of all-cnn-c and the resnets: halving that keeps the law, or the published that breaks it."""
    separable: Literal["none", "g", "gc"] | None = None
    """Of separable-cnn (default: gc) and the resnets (default: none): filters are products of one
    on space, for each pair of channels (g) or each output channel (gc), and one on the group."""
    head: Literal["invariant", "published"] = "invariant"
    """Of resnet, resnet44 and resnet26: the maximum over the group, or its published flattening."""

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
    """Of your own images: pixels on a side, to which they are scaled without distortion (default:
    64; --size 64 is understood too). Multiples of 4 keep the law in nearly all networks."""
    channels: Literal["auto", "grey", "colour"] = "auto"
    """Of your own images; auto: grey if all of them are."""
    test_fraction: float = 0.2
    """Of your own images without test/: the share of each class that is kept for the test, chosen
    by a hash of the file names."""
    raw_dir: Path | None = None
    """Build the data set from original files in this folder instead of downloading them."""
    data_dir: Path | None = None
    """Where prepared TFDS data sets are kept (default: ~/tensorflow_datasets)."""
    validation: int | float = 0
    """Training images held out to make choices with, or their share, such as 0.1; the test split is
    read once, at the end. Of your own images with val/: those, whatever is said here."""
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
    """Of sgd."""
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
    """Of the base filters: decoupled from the gradient in adam, part of it in sgd."""
    support_rate: float = 1.0
    """Of partial networks: the learning rate of what part of the group to keep, beside that of the
    rest."""
    monotone: float = 0.0
    """Of partial networks: weight of the penalty on angles that grow with depth."""
    clip: float | None = None
    """The largest norm of all gradients together; longer ones are shortened."""
    average: float | None = None
    """Evaluate an exponential moving average of the parameters with this decay, e.g. 0.999."""
    patience: int | None = None
    """Stop after so many epochs without a lower validation error, and keep the best epoch."""
    evaluate_every: int = 1
    """Epochs between evaluations on the validation images."""
    seed: int = 0
    """Of initialisation, order, dropout and augmentation."""
    seeds: int = 1
    """Train so many networks, with seeds from seed on, in one compiled program."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of computation; parameters stay float32."""

    parallel: Literal["auto", "jit", "pmap", "sharding"] = "auto"
    """jit on one device, pmap over the local ones, sharding over those of all processes; auto: what
    fits."""
    loop: Literal["auto", "scan", "step"] = "auto"
    """scan: an epoch is one compiled loop; step: a dispatch each step; auto: step on CPU, where
    XLA runs convolutions inside loops on one thread."""
    memory: Literal["auto", "device", "host"] = "auto"
    """Where the images are: on the device, or fed from the host; auto: device up to 1 GiB."""
    loader: Literal["memory", "grain"] = "memory"
    """memory: all images are read at the start; grain: they stay on the disk and Grain reads each
    batch ahead of its step, for data larger than memory. The result is the same."""
    workers: int = 0
    """Of loader grain: processes that read and decode, started for each pass over the images; 0:
    threads, which is enough for most."""
    checkpoint_every: int = 1
    """Epochs between checkpoints."""
    checkpoint_steps: int | None = None
    """Steps between checkpoints within an epoch, for epochs that take hours."""
    report: Literal["full", "quick", "none"] = "full"
    """full: all of it, but for parts that would take longer than the training and than a minute;
    quick: table and curves; none: the test error. python -m train report RUN adds the rest."""
    run: Path | None = None
    """The run folder (default: runs/PRESET-DATE-TIME)."""

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(Config).items():
            if not _fits(getattr(self, name), hint):
                choices = f"one of {', '.join(get_args(hint))}" if _is_choice(hint) else hint
                raise ValueError(f"`{name}` must be {choices}, got {getattr(self, name)!r}")
        positive = ("epochs", "batch_size", "evaluate_every", "checkpoint_every", "seeds")
        optional = ("width", "blocks", "samples", "train_images", "test_images", "patience")
        optional += ("image_size", "checkpoint_steps")
        at_least = dict.fromkeys(positive + optional, 1)
        at_least |= {"validation": 0, "seed": 0, "weight_decay": 0.0, "warmup": 0, "monotone": 0.0}
        at_least |= {"workers": 0}
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
        if not 0 < self.test_fraction < 1:
            raise ValueError(f"`test_fraction` must be above 0 and below 1: {self.test_fraction}")
        for name, default in OF_FOLDERS.items():
            if getattr(self, name) != default and self.dataset != FOLDER:
                raise ValueError(
                    f"`{name}` is for images of your own (--data DIR), not for {self.dataset}"
                )
        self._check_feeding()
        self._check_model()
        self._check_schedule()

    def _check_feeding(self) -> None:
        if self.checkpoint_steps is not None and self.loop == "scan":
            raise ValueError(
                f"`checkpoint_steps` {self.checkpoint_steps} needs --loop step: with scan, an "
                "epoch is one dispatch"
            )
        if self.loader == "memory":
            if self.workers:
                raise ValueError(
                    f"`workers` {self.workers} is for --loader grain: add that, or leave it out"
                )
            return
        for name, value, why in (
            ("dataset", "digits", "is made in memory: leave out --loader grain"),
            ("preprocess", "whiten", "is fitted to all images in memory: use --preprocess scale"),
            ("memory", "device", "and loader grain exclude each other: leave out one"),
            ("loop", "scan", "needs all images on the device: use --loop step"),
        ):
            if getattr(self, name) == value:
                raise ValueError(f"`{name}` {value} {why}")

    def _check_model(self) -> None:
        if self.model in WITHOUT_GROUP and self.group is not None:
            remedy = "; it takes --groups" if self.model in WITH_GROUPS else ""
            raise ValueError(f"`group` is not for {self.model}{remedy}, got {self.group!r}")
        if self.groups and self.model not in WITH_GROUPS:
            raise ValueError(f"`groups` are for {', '.join(WITH_GROUPS)}, not for {self.model}")
        if self.model == "mixed" and not self.groups:
            raise ValueError(
                f"`groups` go with model mixed, e.g. --model mixed --groups p4m p4 z2; got model "
                f"{self.model} and groups {self.groups}"
            )
        for name, default, models in (
            ("geometry", "exact", WITH_GEOMETRY),
            ("head", "invariant", WITH_HEAD),
            ("blocks", None, WITH_BLOCKS),
            ("size", "digits", ("plain-cnn", "p4cnn", "early-p4cnn")),
            ("filters", None, WITH_FILTERS),
            ("samples", None, WITH_SUPPORT),
            ("partial", False, WITH_SUPPORT),
            ("kernel_network", None, WITH_KERNEL_NETWORK),
            ("pools", None, ("ck-resnet",)),
            ("separable", None, WITH_SEPARABLE),
        ):
            if getattr(self, name) != default and self.model not in models:
                raise ValueError(f"`{name}` is for {', '.join(models)}, not for {self.model}")

        for group in (self.group, *self.groups):
            if group in CONTINUOUS_GROUPS and self.model not in WITH_SUPPORT:
                raise ValueError(
                    f"`group` {group} is for {', '.join(WITH_SUPPORT)}, not for {self.model}"
                )
        if self.samples is not None and (self.group or "so2") not in CONTINUOUS_GROUPS:
            raise ValueError(
                f"`samples` are of {', '.join(CONTINUOUS_GROUPS)}; all elements of {self.group} "
                f"are taken: leave out --samples {self.samples}"
            )
        for name, default in (("support_rate", 1.0), ("monotone", 0.0)):
            if getattr(self, name) != default and not self.partial:
                raise ValueError(f"`{name}` is for networks with --partial")
        if self.size != "digits" and self.width is not None:
            raise ValueError(f"`size` {self.size} sets the widths: leave out --width {self.width}")

    def _check_schedule(self) -> None:
        if self.schedule == "exponential":
            if len(self.milestones) != 1:
                raise ValueError(
                    "`milestones` of schedule exponential must be one, the epoch from which on the "
                    f"rate falls, e.g. --milestones 15; got {self.milestones}"
                )
        elif (self.schedule == "step") != bool(self.milestones):
            raise ValueError(
                "`milestones` go with schedule step, e.g. --schedule step --milestones 50 100 (and "
                f"--milestones alone for none); got schedule {self.schedule} and milestones "
                f"{self.milestones}"
            )
        if list(self.milestones) != sorted({m for m in self.milestones if m > 0}):
            raise ValueError(f"`milestones` must be positive and rise, got {self.milestones}")
        if self.milestones and self.milestones[-1] >= self.epochs:
            scaled = {max(1, m * self.epochs // (2 * self.milestones[-1])) for m in self.milestones}
            raise ValueError(
                f"`milestones` {self.milestones} must be below epochs={self.epochs}, or the rate "
                f"never falls; e.g. --milestones {' '.join(map(str, sorted(scaled)))}"
            )
        if self.warmup >= self.epochs:
            raise ValueError(f"`warmup` must be below epochs={self.epochs}, got {self.warmup}")
        if self.patience is not None and not self.validation:
            raise ValueError(
                f"`patience` {self.patience} needs images to choose with: add --validation"
            )
        if self.patience is not None and self.evaluate_every > min(self.patience, self.epochs):
            raise ValueError(
                f"`evaluate_every` {self.evaluate_every} must be at most patience {self.patience} "
                f"and epochs {self.epochs}, or there is nothing to choose between"
            )

    @property
    def title(self) -> str:
        """The network in a table: model and group."""
        groups = self.groups or ((self.group,) if self.group else ())
        parts = [self.model, *(["-".join(groups)] if groups else [])]
        if self.model in WITH_SUPPORT and self.group in CONTINUOUS_GROUPS:
            parts[-1] += f"/{self.samples or 8}"
        if self.separable is not None:
            parts.append(self.separable)
        return " ".join([*parts, *(["partial"] if self.partial else [])])

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
