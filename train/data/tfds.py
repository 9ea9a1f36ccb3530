"""Data sets of tensorflow-datasets, as arrays or left on disk."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..config import Config
from ..progress import ImageBar
from .on_disk import ImagesOnDisk
from .splits import Split
from .statistics import chunks, pixel_sums

if TYPE_CHECKING:  # TFDS takes a second to import, and not all data need it
    from gconv_jax.datasets import Records


def _load_tfds(config: Config) -> tuple[Split, Split]:
    from gconv_jax.datasets import load_arrays

    splits = load_arrays(config.dataset, data_dir=config.data_dir, raw_dir=config.raw_dir)
    parts = {name: Split(s["image"], s["label"].astype(np.int32)) for name, s in splits.items()}
    train = parts["train"]
    if "validation" in parts:  # the last images: `validation` of the configuration holds them out
        train = Split(*map(np.concatenate, zip(train, parts["validation"], strict=True)))
    return train, parts["test"]


class RecordImages:
    """Reads the images of records, one split after another, for `ImagesOnDisk`."""

    def __init__(self, splits: "Sequence[Records]"):
        self.splits = tuple(splits)
        self.starts = np.cumsum([0, *map(len, splits)])

    def __call__(self, places: np.ndarray) -> np.ndarray:
        shape, dtype = self.splits[0].features["image"]
        pixels = np.empty((len(places), *shape), dtype)
        which = np.searchsorted(self.starts, places, side="right") - 1
        for i, records in enumerate(self.splits):
            mine = which == i
            if mine.any():
                pixels[mine] = records.read(places[mine] - self.starts[i])["image"]
        return pixels


def _open_tfds(config: Config) -> tuple[Split, Split]:
    """As `_load_tfds`, but the images stay on disk; they are read once, for labels and sums."""
    from gconv_jax.datasets import open_records

    splits = open_records(config.dataset, data_dir=config.data_dir, raw_dir=config.raw_dir)
    train = [splits[name] for name in ("train", "validation") if name in splits]
    total = sum(map(len, splits.values()))
    with ImageBar(total) as bar:
        return _stored(train, bar), _stored([splits["test"]], bar)


def _stored(splits: "Sequence[Records]", bar: ImageBar) -> Split:
    labels, sums = [], []
    for records in splits:
        for part in chunks(len(records)):
            examples = records.read(part)
            labels.append(examples["label"])
            sums.append(pixel_sums(examples["image"]))
            bar.update(len(part))
    label = np.concatenate(labels).astype(np.int32)
    item, dtype = splits[0].features["image"]
    places = np.arange(len(label))
    image = ImagesOnDisk(RecordImages(splits), places, item, dtype, np.concatenate(sums))
    return Split(image, label)
