"""Images with masks that are none of a run's own, to test a finished network on."""

from pathlib import Path

from .labelled_folder import LabelledFiles
from .listing import File, Listing
from .mask_classes import MaskClasses
from .mask_survey import labels_of_masks, survey_masks
from .sources import open_masks


def list_masks(data: Path, classes: MaskClasses, shape: tuple[int, ...]) -> LabelledFiles:
    """Return images and their masks, as a network is given them: those to test on, if the folder or
    the file has such.

    Args:
        data: a folder with images/ and masks/, or with test/ that has those, or an ``.npz`` file.
        classes: those that the network knows.
        shape: of the images that the network takes.

    Raises:
        ValueError: an image has no mask, or a mask has a value that is none of the classes.
    """
    source = open_masks(data.expanduser())
    by_split = source.by_split
    names, notes = by_split.get("test"), []
    if names is None:
        names = [name for of_split in by_split.values() for name in of_split]
    elif len(by_split) > 1:
        notes = [f"only the test images of {data} are evaluated"]
    found = Listing([File("test", 0, name, 0) for name in names], (), True, ())
    survey_masks(source, found, shape[-1], trained=classes)
    labels = labels_of_masks(source, names, classes, shape[:-1])
    return LabelledFiles([source.item(name) for name in names], list(labels), notes)
