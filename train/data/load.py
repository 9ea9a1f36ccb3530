"""Data sets as arrays: training, validation and test images, and the statistics to scale with."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from tqdm import tqdm

from ..config import FOLDER, Config
from ..run_folder.folder import Run
from .image_folder import Folder, load_folder
from .on_disk import Stored, chunks, moments
from .pixels import pixel_sums
from .provenance import IMAGES, read_record
from .splits import held_out
from .whitening import WHITENING, Whitening

if TYPE_CHECKING:  # TFDS takes a second to import, and not all data need it
    from gconv_jax.datasets import Records

MOST_WHITENED = 6000
"""Numbers in an image: those of CIFAR-10 have 3,072, and the work grows with their cube."""


class Split(NamedTuple):
    """Images ``[N, H, W, C]`` (uint8, or float32 in [0, 1]), in memory or on disk, and labels int32
    ``[N]``."""

    image: np.ndarray | Stored
    label: np.ndarray

    def __getitem__(self, index) -> Any:  # of images, not of fields
        if isinstance(index, slice):
            return Split(self.image[index], self.label[index])
        return tuple.__getitem__(self, index)


@dataclass(frozen=True)
class Data:
    """The splits of a data set. ``mean`` and ``std`` are single numbers over all training pixels
    in [0, 1]: one for each pixel would break the equivariance. With ``whitening``, which is applied
    to stored images, they are 0 and 1."""

    train: Split
    validation: Split | None
    test: Split
    classes: int
    mean: float
    std: float
    whitening: Whitening | None = None
    folder: Folder | None = None
    """Where the images come from, if they are the user's own."""

    @property
    def names(self) -> tuple[str, ...] | None:
        """Of the classes, if they are known."""
        return None if self.folder is None else self.folder.names


def load_data(config: Config, run: Run | None = None, *, finished: bool = False) -> Data:
    """The data set that the configuration names, split as it says.

    Args:
        config: which data set, and how to split it.
        run: a run that began with images of the user's own. Its record of them decides what each
            image is.
        finished: whether the run is finished and is only evaluated. The statistics are then those
            that it was trained with, and some of its images may be gone.

    Raises:
        ValueError: more validation images than there are, or fewer than one batch left.
            What images of one's own can have wrong is in `load_folder`.
        FileNotFoundError: no network and no files; says what to fetch and where to put it.
    """
    trained = run.results["input"] if run is not None and finished else None
    folder = None
    if config.dataset == FOLDER:
        folder = _load_own(config, run, None if trained is None else tuple(trained["shape"]))
        train, test = Split(*folder.train), Split(*folder.test)
        validation = folder.validation and Split(*folder.validation)
    else:
        train, validation, test = _load_known(config)
    classes = int(max(train.label.max(initial=0), test.label.max())) + 1
    mean, std, whitening = 0.0, 1.0, None
    if trained is not None:
        classes, mean, std = trained["classes"], trained["mean"], trained["std"]
        if config.preprocess == "whiten":
            whitening = Whitening.load(run.path / WHITENING)
    elif len(train.label) < config.batch_size:
        raise ValueError(
            f"`batch_size` must be at most the number of training images: {config.batch_size} > "
            f"{len(train.label)}"
        )
    elif config.preprocess == "whiten":
        _require_whitenable(train.image)
        whitening = Whitening.fit(train.image)
    else:
        mean, std = moments(train.image)
    return Data(
        train=train,
        validation=validation,
        test=test[: config.test_images],
        classes=classes if folder is None else len(folder.names),
        mean=mean,
        std=std,
        whitening=whitening,
        folder=folder,
    )


def _load_own(config: Config, run: Run | None, trained: tuple[int, int, int] | None) -> Folder:
    record = None if run is None else read_record(run)
    folder = load_folder(config, record, trained)
    if trained is None or record is not None:
        return folder
    note = f"{run.path} has no {IMAGES}: the images are split anew, and test images may have been "
    return dataclasses.replace(folder, notes=(*folder.notes, f"{note}trained on"))


def _load_known(config: Config) -> tuple[Split, Split | None, Split]:
    """Training, validation and test images of a data set that is not the user's own."""
    if config.loader == "grain":
        train, test = _open_tfds(config)
    else:
        train, test = load_digits() if config.dataset == "digits" else _load_tfds(config)
    validation = None
    if config.validation:
        count = held_out(len(train.label), config.validation)
        train, validation = train[:-count], train[-count:]
    return train[: config.train_images], validation, test


def _require_whitenable(image: np.ndarray) -> None:
    size = int(np.prod(image.shape[1:]))
    if size > MOST_WHITENED:
        raise ValueError(
            f"`preprocess` whiten takes a matrix of {size:,} x {size:,} for images of "
            f"{' x '.join(map(str, image.shape[1:]))}: use --preprocess scale, or smaller images"
        )


def _load_tfds(config: Config) -> tuple[Split, Split]:
    from gconv_jax.datasets import load_arrays

    splits = load_arrays(config.dataset, data_dir=config.data_dir, raw_dir=config.raw_dir)
    parts = {name: Split(s["image"], s["label"].astype(np.int32)) for name, s in splits.items()}
    train = parts["train"]
    if "validation" in parts:  # the last images: `validation` of the configuration holds them out
        train = Split(*map(np.concatenate, zip(train, parts["validation"], strict=True)))
    return train, parts["test"]


class RecordImages:
    """Reads the images of records, one split after another, for `Stored`."""

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
    with tqdm(total=total, unit="image", desc="reading", disable=None, leave=False) as bar:
        return _stored(train, bar), _stored([splits["test"]], bar)


def _stored(splits: "Sequence[Records]", bar: tqdm) -> Split:
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
    image = Stored(RecordImages(splits), places, item, dtype, np.concatenate(sums))
    return Split(image, label)


def load_digits() -> tuple[Split, Split]:
    """The 1,797 handwritten digits inside scikit-learn, each turned by a random angle: 1,197 to
    train and 600 to test, enlarged from 8 x 8 to 24 x 24 pixels on a 28 x 28 canvas.

    Same images, angles and split for everyone. Digits of one writer may be on both sides of the
    split: a small data set to see a difference with, not a benchmark.
    """
    from scipy.ndimage import zoom
    from sklearn.datasets import load_digits as sklearn_digits

    from gconv_jax.datasets import rotate_images

    digits = sklearn_digits()
    small = digits.images / 16.0  # pyright: ignore[reportAttributeAccessIssue]
    large = zoom(small, (1, 3, 3), order=1, grid_mode=True, mode="nearest")
    large = np.rint(255 * np.clip(large, 0, 1)).astype(np.uint8)  # pyright: ignore[reportCallIssue]
    canvas = np.pad(large, ((0, 0), (2, 2), (2, 2)))
    # RandomState is frozen: the same stream in every NumPy.
    random = np.random.RandomState(2016)
    order = random.permutation(len(canvas))
    angles = random.uniform(0, 2 * np.pi, len(canvas))
    image = rotate_images(canvas[order][..., None], angles)
    every = Split(image, digits.target[order].astype(np.int32))  # pyright: ignore[reportAttributeAccessIssue]
    return every[:1197], every[1197:]  # pyright: ignore[reportReturnType]
