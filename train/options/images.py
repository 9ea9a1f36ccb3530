"""The options of the images: which there are, how they are read, split and augmented."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

FOLDER = "folder"
FOLDER_OPTIONS = {
    "data": None,
    "image_size": None,
    "channels": "auto",
    "range": "auto",
    "test_fraction": 0.2,
    "groups_by": None,
    "task": "auto",
    "targets": (),
    "vectors": (),
}
"""The settings that only folders of images have, with their defaults."""


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """The part of a `train.config.Config` that decides the images."""

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
    test/ (and val/) that have those; a CSV file with the columns path and label (and split and
    group); or an .npz file with train_images and train_labels (and val_, test_), images or
    volumes. For masks, see task."""
    image_size: int | None = None
    """Pixels on a side to which your own images are scaled without distortion (default: 64, and
    that of the arrays in an .npz file; --size 64 is understood too). Multiples of 4 stay
    equivariant in nearly all networks. Of volumes, blocks of voxels become their mean."""
    channels: Literal["auto", "grey", "colour"] | int = "auto"
    """The color of your own images; auto: gray if all of them are. A number, 2 to 16, takes so many
    channels as they are in TIFF files of several bands and .npy files [H, W, C]."""
    range: tuple[float, float] | Literal["auto", "each"] = "auto"
    """The brightness of your own images that becomes black and the one that becomes white, such as
    --range 0 4095. auto takes 0 and 255 for images of 8 bits, and finds the range of deeper ones in
    the training images; each takes the range of each image by itself."""
    test_fraction: float = 0.2
    """The share of each class of your own images that is kept for the test, chosen by a hash of the
    file names, where there is no test/."""
    groups_by: str | None = None
    """The group of each of your own images, which stays on one side: a regular expression that
    finds it in the path below --data, such as '(patient[0-9]+)_' (default: the folder below that of
    the class, if there is one; '.+' for none)."""
    task: Literal["auto", "regression", "segmentation"] = "auto"
    """The task on your own images. auto: to tell their class, or all their labels; regression: to
    predict numbers, from a CSV file or an .npz file; segmentation: to tell the class of each pixel,
    from a folder with images/ and masks/, or an .npz file with train_images and train_masks."""
    targets: tuple[str, ...] = ()
    """The columns of the CSV file with the numbers for task regression (default: the column
    label)."""
    vectors: tuple[str, ...] = ()
    """Numbers for task regression that are the components of vectors, which turn with the image:
    two columns for each, along x (to the right) and y (down), such as --vectors dx dy; of volumes
    three, along the width, the height and the depth. They are columns like the targets, and need
    not be named there. In an .npz file they are in target_names."""
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
    """jitter: turn by up to 3.14 degrees, as the published code did; rotate: by any angle, and
    volumes, exactly, by a random one of the 24 rotations of the cube; shift-flip: mirror every
    other image and move it by up to two pixels (CIFAR10+)."""
