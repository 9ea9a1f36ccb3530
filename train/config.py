"""The configuration of a training run.

The command line is made from it, so the strings below the fields are the help of the options. Most
fields are those of its parts, in `train.options`.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, get_args, get_type_hints

import tyro

from .options.checks import (
    check_adapt,
    check_feeding,
    check_groups_by,
    check_on_epoch,
    check_schedule,
    fits,
    is_choice,
)
from .options.fine_tuning import FineTuningOptions, check_fine_tuning
from .options.image_checks import check_images
from .options.images import FOLDER, ImageOptions
from .options.network import Group, NetworkOptions
from .options.networks import (
    CONTINUOUS_GROUPS,
    DEFAULTS,
    check_dimension,
    check_fine,
    networks_with,
    row_of,
)
from .options.objective import check_objective
from .options.own_model import check_own_model, own_name
from .options.plain import check_compare_plain
from .options.segmentation import check_segmentation
from .options.training import TrainingOptions
from .options.vectors import check_vectors
from .options.volume_checks import check_volumes

__all__ = ["DATA_PLACES", "FOLDER", "NO_MATTER", "PLACES", "Config", "Group"]

DATA_PLACES = ("data", "raw_dir", "data_dir")
"""The options that say where the files of the data set are."""
PLACES = (*DATA_PLACES, "run")
NO_MATTER = (*PLACES, "report", "angles", "on_epoch")
"""The options that change nothing of what is trained."""


@dataclass(frozen=True, kw_only=True)
class Config(FineTuningOptions, TrainingOptions, ImageOptions, NetworkOptions):
    """Everything that decides the result of a run, and where it goes."""

    preset: Annotated[str, tyro.conf.Suppress] = "custom"
    """The recipe that the run began as, for the record."""
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
        at_least |= {"workers": 0, "adapt_weight": 0.0, "focal_gamma": 0.0}
        for name, least in at_least.items():
            value = getattr(self, name)
            if value is not None and not least <= value < float("inf"):
                raise ValueError(f"`{name}` must be finite and at least {least}, got {value}")
        for name in ("learning_rate", "support_rate", "head_rate", "clip", "decay"):
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
        check_images(self)
        check_groups_by(self.groups_by)
        check_on_epoch(self.on_epoch)
        check_feeding(self)
        check_own_model(self)
        self._check_model()
        check_volumes(self)
        check_schedule(self)
        check_adapt(self)
        check_objective(self)
        check_segmentation(self)
        check_vectors(self)
        check_compare_plain(self)
        check_fine_tuning(self)

    def _check_model(self) -> None:
        takes = row_of(self.model).options
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
            check_dimension(self.model, group)
            check_fine(self.model, group, self.filters)
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
    def name(self) -> str:
        """The network by its name alone."""
        return own_name(self.model)

    @property
    def title(self) -> str:
        """The network in a table: model and group."""
        groups = self.groups or ((self.group,) if self.group else ())
        parts = [self.name, *(["-".join(groups)] if groups else []), *self.model_args]
        if "samples" in row_of(self.model).options and self.group in CONTINUOUS_GROUPS:
            parts[-1] += f"/{self.samples or 8}"
        if self.separable is not None:
            parts.append(self.separable)
        parts += ["partial"] if self.partial else []
        parts += [] if self.adapt == "none" else [f"{self.adapt} {self.adapt_group}"]
        parts += [] if self.init is None else [f"from {Path(self.init).name}"]
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
        for name in ("groups", "milestones", "model_args", "targets", "vectors", "freeze"):
            values[name] = tuple(values.get(name, ()))
        if isinstance(values.get("range"), list):
            values["range"] = tuple(values["range"])
        return cls(**values)
