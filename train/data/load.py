"""Data sets as arrays: training, validation and test images, and the statistics to scale with."""

import dataclasses

import numpy as np

from ..config import FOLDER, Config
from ..run_folder.folder import Run
from .digits import load_digits
from .held_out import held_out
from .image_folder import ImageFolder, load_folder, targets_of
from .mask_classes import MaskClasses
from .provenance import IMAGES, read_record
from .reading import EARLIER, read_reading
from .splits import Data, Split
from .statistics import moments
from .tfds import _load_tfds, _open_tfds
from .vectors import center_and_scale
from .whitening import WHITENING, Whitening

MOST_WHITENED = 6000
"""Numbers in an image: those of CIFAR-10 have 3,072, and the work grows with their cube."""


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
        folder = _load_own(config, run, trained)
        train, test = Split(*folder.train), Split(*folder.test)
        validation = folder.validation and Split(*folder.validation)
    else:
        train, validation, test = _load_known(config)
    classes = 0 if folder else int(max(train.label.max(initial=0), test.label.max())) + 1
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
    center, scale = _targets(folder, trained)
    return Data(
        train=train,
        validation=validation,
        test=test[: config.test_images],
        classes=classes if folder is None else len(folder.names),
        mean=mean,
        std=std,
        whitening=whitening,
        folder=folder,
        center=center,
        scale=scale,
    )


def _targets(
    folder: ImageFolder | None, trained: dict | None
) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    """Return mean and deviation of the numbers over the training images, or those of a finished
    run, whose mean is in its network; nothing if labels are classes."""
    if folder is None or not folder.numbers:
        return None, None
    if trained is not None:
        scale = np.asarray(trained["scale"], np.float32)
        return np.zeros_like(scale), scale
    return center_and_scale(folder.train.label, folder.vectors)


def _load_own(config: Config, run: Run | None, trained: dict | None) -> ImageFolder:
    """The images of the user's own; those of a finished run as its ``trained`` input says."""
    record = None if run is None else read_record(run, targets_of(config))
    reading = None if run is None else read_reading(run)
    if reading is None and run is not None and (record or trained or run.metrics()):
        reading = EARLIER
    shape, masks = None if trained is None else tuple(trained["shape"]), None
    if trained is not None and "mask_values" in trained:
        masks = MaskClasses(tuple(trained["mask_values"]), tuple(trained["names"]))
    folder = load_folder(config, record, shape, reading, masks)
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
