"""A user's own images as arrays: those to train on, those held out and those to test on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..config import Config
from ..progress import ImageBar
from . import provenance
from .available_memory import available_memory
from .class_folders import (
    SPLITS,
    File,
    Listing,
    join_names,
    pluralize,
    printable,
)
from .csv_lists import Targets
from .held_out import divide
from .image_parts import Part, cut_part, one_channel, read_part, with_masks
from .labels import classes_of, places
from .layouts import is_array_file
from .mask_classes import MaskClasses
from .mask_survey import survey_masks
from .numbers import require_variation
from .on_disk import ImagesOnDisk
from .provenance import Changes, Record
from .reading import Reading
from .sources import ArraySource, MaskSource, Source, open_masks, open_source
from .survey import survey
from .vectors import Vectors, find_vectors
from .volumes import require_dimension, survey_volumes, volume_shape

_NAMED = 3


class Images(NamedTuple):
    """uint8 ``[N, H, W, C]``, in memory or on disk, and labels of a `label_array`, of a
    `number_array`, or masks (`train.data.mask_survey.labels_of_masks`)."""

    image: np.ndarray | ImagesOnDisk
    label: np.ndarray


@dataclass(frozen=True)
class ImageFolder:
    """The images of a folder, read. ``validation`` is None if none were held out."""

    path: Path
    """The folder, or the CSV file that lists them."""
    train: Images
    validation: Images | None
    test: Images
    names: tuple[str, ...]
    """The names of the classes, sorted; a label is a place in it. Those of the targets, if labels
    are numbers."""
    files: tuple[File, ...]
    """All that were found, or are recorded, each with the part that it has in the run: one of
    train, validation, test, unused and unreadable."""
    own_test: bool
    """True if there is a folder of test images."""
    reading: Reading
    """The brightness and the ground that all of them have."""
    notes: tuple[str, ...]
    """Lines for the user: what was left out."""
    numbers: bool = False
    """True if labels are numbers."""
    vectors: Vectors | None = None
    """The numbers that are components of vectors, if any are."""
    masks: MaskClasses | None = None
    """The classes of masks, if labels are such."""

    @property
    def fingerprint(self) -> str:
        """A hash of the names, contents and parts of the files."""
        return provenance.fingerprint(self.files)


def load_folder(
    config: Config,
    record: Record | None = None,
    trained: tuple[int, ...] | None = None,
    reading: Reading | None = None,
    masks: MaskClasses | None = None,
) -> ImageFolder:
    """The images in ``config.data``, scaled to ``config.image_size``.

    The training and test images are in an order in which any first or last part has all classes in
    proportion. Files that cannot be read are named in the notes and left out.

    Args:
        config: which folder, and how to split it.
        record: the files that a run began with. They keep their parts, and others are not used.
        trained: the shape of the images of a finished run, which is only evaluated. Files of the
            record may then be gone or changed, which the notes say.
        reading: how a run reads images that began before; by default it is found here (`survey`).
        masks: the classes of the masks of a finished run.

    Raises:
        ValueError: no such folder, fewer than two classes, a class without images, a class to test
            on that is not trained on, more images than fit in memory, files that are not those of
            the record, or no test image of it.
    """
    if config.data is None:
        raise ValueError("`dataset` folder needs the folder of your images: add --data DIR")
    data = Path(config.data).expanduser()
    of_masks = open_masks(data) if config.task == "segmentation" else None
    source = of_masks or open_source(data, targets_of(config))
    require_dimension(config, source)
    gone: list[File] = []
    if record is None:
        found = source.listing(config.test_fraction, config.groups_by)
    else:
        record = provenance.as_in(record, source.folder)
        found, gone = provenance.still_there(record, data)
    targets = None if targets_of(config) is None else source.target_names
    vectors = find_vectors(config.vectors, targets or (), _dimension(source))
    _require_masks(of_masks, found, gone)
    size = source.size if config.image_size is None else config.image_size
    shape = volume_shape(config, source) or (size, size, _channels(config, source))
    stored = config.loader == "grain"
    if stored and isinstance(source, ArraySource):
        raise ValueError(f"`loader` grain is for image files, and {data} is read as a whole")
    if not stored:
        _require_memory(len(found.files), shape)
    if of_masks is not None:
        with ImageBar(len(found.files), "looking through masks") as bar:
            masks = survey_masks(of_masks, found, shape[-1], trained=masks, advance=bar.update)
    parts, notes = {}, list(found.notes)
    begins = reading is None
    if reading is None and source.volume is not None:
        reading, told = survey_volumes(config, source, found)
        notes += told
    elif reading is None:
        with ImageBar(len(found.files), "looking through") as bar:
            reading, told = survey(config, source, found, shape[-1], bar)
        notes += told
    with ImageBar(len(found.files)) as bar:
        for split in dict.fromkeys(SPLITS.values()):
            files = [file for file in found.files if file.split == split]
            parts[split] = read_part(
                source, files, found, shape, reading, bar, stored=stored, targets=targets
            )
            if of_masks is not None and masks is not None:
                parts[split] = with_masks(parts[split], of_masks, masks, shape[:-1])
    unreadable = {f.name: reason for part in parts.values() for f, reason in part.unreadable}
    reasons = [f"{printable(name)} ({reason})" for name, reason in unreadable.items()]
    skipped = f"skipped {pluralize(len(unreadable), 'file')} that cannot be read: "
    skipped += join_names(reasons)
    if record is not None:
        changes = _changes(record, data, parts, gone)
        told = provenance.told(record, data, changes) if changes else None
        if told and trained is None and any(changes._replace(new=[])):
            raise ValueError(f"{told}; restore the files, or begin another run")
        notes += [told] if told else []
    notes += [skipped] if unreadable else []
    flat = [name for part in parts.values() for name in part.flat]
    if flat and begins:
        verb, few = "is" if len(flat) == 1 else "are", join_names(flat, _NAMED)
        notes.append(f"warning: {pluralize(len(flat), 'image')} {verb} of one value: {few}")
    if trained is None and targets is None and masks is None:
        _require_classes(data, found, parts, skipped)
    divided = divide(config, record, found, unreadable)
    used = {split: part for split in provenance.USED if (part := cut_part(parts, divided, split))}
    if "test" not in used:
        raise ValueError("\n".join(["there is no test image to evaluate", *notes]))
    empty = Part(parts["train"].image[:0], parts["train"].label[:0], [], [], [], [], [])
    used = {"train": empty} | used
    if found.several and trained is None:
        _require_labels(data, found.names, used["train"].label)
    if targets is not None and trained is None:
        require_variation(used["train"].label, targets, vectors)
    seen = set(used["train"].hashes)
    repeated = sum(digest in seen for digest in used["test"].hashes)
    if repeated:
        notes.append(
            f"{repeated:,} of the {len(used['test'].label):,} test images are equal to a "
            "training image, pixel for pixel: the test error is too low"
        )
    gray = config.channels == "auto" and all(all(part.gray) for part in used.values())
    gray = gray and source.volume is None
    if trained is not None:
        gray = trained[-1] < shape[-1]
    images = {
        split: Images(one_channel(part.image) if gray else part.image, part.label)
        for split, part in used.items()
    }
    digests = {f.name: f.digest for part in parts.values() for f in part.files}
    digests |= {f.name: f.digest for part in parts.values() for f, _ in part.unreadable}
    of_masks_digests = {f.name: f.mask for part in parts.values() for f in part.files}
    names = found.names if masks is None else masks.names
    return ImageFolder(
        path=data,
        train=images["train"],
        validation=images.get("validation"),
        test=images["test"],
        names=tuple(map(printable, names if targets is None else targets)),
        files=tuple(
            file._replace(
                split=divided.get(file.name, file.split),
                digest=file.digest or digests.get(file.name),
                mask=file.mask or of_masks_digests.get(file.name),
            )
            for file in (found.files if record is None else record.files)
        ),
        own_test=found.own_test,
        reading=reading,
        notes=tuple(notes),
        numbers=targets is not None,
        vectors=vectors,
        masks=masks,
    )


def targets_of(config: Config) -> Targets:
    """Return the columns of numbers of a configuration; None if images have classes."""
    if config.task != "regression":
        return None
    if config.data is not None and is_array_file(config.data):  # which names them itself
        return config.targets
    return (*config.targets, *(name for name in config.vectors if name not in config.targets))


def _dimension(source: Source) -> int:
    return 2 if source.volume is None else 3


def _require_masks(source: MaskSource | None, found: Listing, gone: list[File]) -> None:
    """Take images of a record whose masks are gone for images that are gone."""
    if source is None:
        return
    there = {file.name: source.has(file.name) for file in found.files}
    gone += [file for file in found.files if not there[file.name]]
    found.files[:] = [file for file in found.files if there[file.name]]


def _changes(record: Record, data: Path, parts: dict[str, Part], gone: list[File]) -> Changes:
    recorded = {file.name: file for file in record.files}
    read = [file for part in parts.values() for file in part.files]
    digests = {file.name: file.digest for file in read}
    return Changes(
        new=provenance.new_files(record, data),
        gone=gone,
        changed=provenance.changed_files(
            [recorded[name] for name in digests], provenance.folder_of(data), digests
        ),
        relabeled=provenance.relabeled_files(record, data)
        + [recorded[file.name] for file in read if file.mask != recorded[file.name].mask],
        # Records of earlier versions do not say which files could not be read from the start.
        unreadable=[
            recorded[file.name]
            for part in parts.values()
            for file, _ in part.unreadable
            if record.divided
        ],
    )


def _require_classes(path: Path, found: Listing, parts: dict[str, Part], skipped: str) -> None:
    """ValueError if no image of a class can be read in a split that has files of it."""
    for split, part in parts.items():
        of_split = [file for file in found.files if file.split == split]
        listed = {place for file in of_split for place in places(file.label)}
        lost = [found.names[i] for i in sorted(listed - set(classes_of(part.label)))]
        if lost:
            raise ValueError(
                f"no {split} image of {join_names(lost)} in {path} can be read; " + skipped
            )


def _require_labels(path: Path, names: Sequence[str], label: np.ndarray) -> None:
    """ValueError if no image of a class is left to train on, once images of several labels were
    held out."""
    if lost := [names[i] for i in sorted(set(range(len(names))) - set(classes_of(label)))]:
        raise ValueError(
            f"`data` {path}: no training image of {join_names(lost)} is left, since others are "
            "held out; use another --validation or more --train-images, or name the images to "
            "validate with yourself"
        )


def _channels(config: Config, source: Source) -> int:
    if isinstance(config.channels, int):
        return config.channels
    if config.channels == "auto" and source.channels is not None:
        return source.channels
    return 1 if config.channels == "grey" else 3


def _require_memory(count: int, shape: tuple[int, ...]) -> None:
    # A second copy on the device, or while gray images are taken out of color.
    needed, available = 2 * count * math.prod(shape), available_memory()
    if available is None or needed <= available:
        return
    volumes = len(shape) == 4
    kinds = ("volumes", "voxels") if volumes else ("images", "pixels")
    remedy = f"choose a smaller --image-size, now {shape[0]}"
    raise ValueError(
        f"{count:,} {kinds[0]} of {' x '.join(map(str, shape[:-1]))} {kinds[1]} need "
        f"{needed / 2**30:.1f} GiB of memory, and {available / 2**30:.1f} are available; "
        + (remedy if volumes else f"{remedy}, or leave them on the disk with --loader grain")
    )
