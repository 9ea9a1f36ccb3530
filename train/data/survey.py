"""A look through the image files of a user before they are read: their depth, range and ground."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np
from PIL import Image

from gconv_jax.export.brightness import between, sample
from gconv_jax.export.image_decoders import opened
from gconv_jax.export.image_files import visible

from ..config import Config
from ..names import join_names, pluralize
from ..progress import ImageBar
from .held_out import divide
from .image_files import in_threads
from .listing import Listing
from .reading import Reading, described, number
from .sources import Source

_SAMPLES = 2**22
"""Pixels from which percentiles are taken, of all images together."""
_LUMA = np.array([0.299, 0.587, 0.114])
_NAMED = 3


class Look(NamedTuple):
    """The facts of one file that decide how all are read."""

    deep: bool
    """True if it has more than 8 bits a channel."""
    kind: str = "8 bits"
    extremes: tuple[float, float] | None = None
    """The least and the greatest finite pixel that is to be seen, if they were looked for."""
    sample: np.ndarray = np.empty(0)
    """Some of those pixels."""
    gray: float = 0.0
    """The mean brightness of what is to be seen of an image with transparency."""
    weight: float = 0.0
    """The alpha of all its pixels together."""
    hidden: bool = False
    """True if nothing of it is to be seen."""
    pages: bool = False
    """True if it is a TIFF file with a second page that will not be read."""


def survey(
    config: Config, source: Source, found: Listing, channels: int, bar: ImageBar
) -> tuple[Reading, list[str]]:
    """Return how the images of a folder are to be read, and lines for the user.

    The range of images with more than 8 bits, and the ground of transparent ones, are found from
    the training images alone. They are the same for all images and all channels.

    Args:
        config: the range that was asked for, and which images are trained on.
        source: the place of the images.
        found: those in it.
        channels: the channels of the pixels that will be read.
        bar: is advanced for each file.

    Raises:
        ValueError: images of 8 bits and of more without a range for both, or no range to be found.
    """
    names = [file.name for file in found.files]
    automatic = config.range == "auto"
    most = max(64, _SAMPLES // max(1, len(names)))

    def look(name: str) -> Look | None:
        try:
            return look_at(source.item(name), channels, automatic, most)
        except Exception:  # said when it is read
            return None

    looks: dict[str, Look] = {}
    for name, seen in zip(names, in_threads(look, names), strict=True):
        bar.update()
        if seen is not None:
            looks[name] = seen
    training = []
    if any(seen.deep or seen.weight for seen in looks.values()):
        unreadable = {name: "" for name in names if name not in looks}
        parts = divide(config, None, found, unreadable)
        training = [seen for name, seen in looks.items() if parts[name] == "train"]
    reading, notes = automatic_range(config, looks, training)
    ground = _ground(training, reading.range)
    if ground is not None:
        notes.append(f"transparent parts of images are put on {ground}, in all of them")
    hidden = [name for name, seen in looks.items() if seen.hidden]
    if hidden:
        notes.append(f"warning: {_count(hidden)} transparent everywhere: {_first(hidden)}")
    several = [name for name, seen in looks.items() if seen.pages]
    if several:
        notes.append(
            f"warning: of {pluralize(len(several), 'image')} with several pages the first is read: "
            f"{_first(several)}; --channels N takes N pages as channels"
        )
    return reading._replace(ground=ground), notes


def look_at(path: Path | np.ndarray, channels: int, measured: bool, most: int) -> Look:
    """Return the facts of a file. Its pixels are decoded if it may be transparent, or if its
    brightness is to be ``measured`` from up to ``most`` of them and 8 bits do not hold it."""
    pages = channels in (1, 3) and _is_tiff(path) and _has_pages(path)
    with opened(path, channels) as file:
        if not file.alpha and not (measured and file.deep):
            return Look(file.deep, pages=pages)
        values, alpha = file.read(None)
    shown = visible(values, alpha)
    finite = shown[np.isfinite(shown)]
    extremes = (float(finite.min()), float(finite.max())) if finite.size else None
    some = sample(finite, most).astype(np.float64)
    look = Look(file.deep, _kind(values.dtype), extremes, some, pages=pages)
    if alpha is None:
        return look
    weight = alpha[alpha > 0].astype(np.float64)
    gray = shown.astype(np.float64) @ _LUMA if shown.shape[-1] == 3 else shown[:, 0]
    known = np.isfinite(gray)
    total = float(weight[known].sum())
    mean = float((gray[known] * weight[known]).sum()) / (total or 1.0)
    return look._replace(gray=mean, weight=total, hidden=not alpha.any())


def automatic_range(
    config: Config, looks: dict[str, Look], training: Sequence[Look]
) -> tuple[Reading, list[str]]:
    """Return the range of `survey` and lines on it, from what was seen of the files."""
    if config.range != "auto":
        reading = Reading(range=config.range)
        return reading, [described(reading)]
    deep = [name for name, seen in looks.items() if seen.deep]
    flat = [name for name, seen in looks.items() if not seen.deep]
    if not deep:
        return Reading(range=(0.0, 255.0), depth="8"), []
    if flat:
        counts = " and ".join(
            f"{pluralize(len(of), 'image')} of {bits} ({_first(of)})"
            for of, bits in ((flat, "8 bits"), (deep, "more"))
        )
        raise ValueError(
            f"`range` auto needs images of one depth, and there are {counts}: save them with one "
            "depth or leave some out, name the brightness that becomes black and white with "
            "--range LOW HIGH, or scale each image on its own with --range each"
        )
    extremes = [seen.extremes for seen in training if seen.extremes is not None]
    low = min((pair[0] for pair in extremes), default=0.0)
    high = max((pair[1] for pair in extremes), default=0.0)
    if not low < high or not high - low < np.inf:
        every = f"from {number(low)} to {number(high)}" if extremes else "not finite"
        raise ValueError(
            f"`range` auto finds none: all pixels of the {len(training):,} training images are "
            f"{every}; name it with --range LOW HIGH"
        )
    limits = between(np.concatenate([seen.sample for seen in training]), low, high)
    reading = Reading(range=limits, depth="deeper")
    kinds = " and ".join(sorted({seen.kind for seen in training}))
    note = described(reading).replace(" become", f" in {kinds} become")
    if limits != (low, high):
        note += (
            "; 0.1 % of the training pixels are below and 0.1 % above, from "
            f"{number(low)} to {number(high)}"
        )
    return reading, [note]


def _ground(training: Sequence[Look], limits: Any) -> str | None:
    """The ground in contrast to what is to be seen of transparent training images; None if there
    are none."""
    seen = [look for look in training if look.weight]
    if not seen:
        return None
    total = sum(look.weight for look in seen)
    light = sum(look.weight * _scaled(look, limits) for look in seen)
    return "black" if light > 0.5 * total else "white"


def _scaled(look: Look, limits: Any) -> float:
    low, high = (look.extremes or (0.0, 1.0)) if limits == "each" else limits
    return (look.gray - low) / (high - low or 1.0)


def _is_tiff(path: Path | np.ndarray) -> TypeGuard[Path]:
    return isinstance(path, Path) and path.suffix.lower() in (".tif", ".tiff")


def _has_pages(path: Path) -> bool:
    """Return whether the second page of a TIFF file has the size of the first."""
    try:
        with Image.open(path, formats=["TIFF"]) as image:
            size = image.size
            image.seek(1)
            return image.size == size
    except Exception:  # there is none, or it is said when the file is read
        return False


def _kind(dtype: np.dtype) -> str:
    return "floating-point numbers" if dtype.kind == "f" else f"{8 * dtype.itemsize} bits"


def _count(names: Sequence[str]) -> str:
    return f"{pluralize(len(names), 'image')} {'is' if len(names) == 1 else 'are'}"


def _first(names: Sequence[str]) -> str:
    return join_names(sorted(names), _NAMED)
