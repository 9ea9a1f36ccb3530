"""The choice of the images that are held out for validation."""

from ..config import Config
from . import provenance
from .groups import whole_groups_for_validation
from .labels import places
from .listing import File, Listing
from .provenance import UNREADABLE, UNUSED, Record


def held_out(available: int, validation: float) -> int:
    """Return the number of validation images among ``available`` ones.

    Args:
        available: the training images there are.
        validation: a number of images, or below 1 their share; not 0.

    Raises:
        ValueError: none would be left to train on.
    """
    count = int(validation) if validation >= 1 else max(1, round(validation * available))
    if count >= available:
        raise ValueError(f"`validation` must leave images to train on: {validation} of {available}")
    return count


def divide(
    config: Config, record: Record | None, found: Listing, unreadable: dict[str, str]
) -> dict[str, str]:
    """Return what each of a user's own files is: ``train``, ``validation``, ``test``, or unused.

    That is what the record says, or else what the configuration says of the files that can be read.

    Args:
        config: how many images to hold out, to train on and to test on.
        record: what each file was in an earlier part of the run.
        found: the files there are.
        unreadable: those of them that cannot be read, and why.
    """
    if record is not None and record.divided:
        return {file.name: file.split for file in record.files}
    files = found.files if record is None else record.files  # with those that are gone
    names = {split: [] for split in provenance.USED}
    for file in files:
        if file.name not in unreadable:
            names[file.split].append(file.name)
    train, validation, test = names["train"], names["validation"], names["test"]
    if not validation and config.validation:
        count = held_out(len(train), config.validation)
        by_name = {file.name: file for file in files}
        groups = {name: by_name[name].group for name in train}
        if None in groups.values():
            train, validation = train[:-count], train[-count:]
        else:
            files = [by_name[name] for name in train]
            if config.task == "regression":  # all of one class
                files = [file._replace(label=0) for file in files]
            held = _held_groups(files, count)
            train = [name for name, group in groups.items() if group not in held]
            validation = [name for name, group in groups.items() if group in held]
    divided = dict.fromkeys(names["train"] + test, UNUSED) | dict.fromkeys(unreadable, UNREADABLE)
    divided |= dict.fromkeys(train[: config.train_images], "train")
    divided |= dict.fromkeys(test[: config.test_images], "test")
    return divided | dict.fromkeys(validation, "validation")


def _held_groups(train: list[File], count: int) -> set[str]:
    """Return the groups to hold out, which have about so many images together."""
    classes: dict[str, list[str]] = {}
    for file in train:
        for place in places(file.label):
            classes.setdefault(str(place), []).append(str(file.group))
    return whole_groups_for_validation(classes, count / len(train))
