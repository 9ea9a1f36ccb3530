"""Volumes of one's own: how they are read, and which options go with them."""

import dataclasses

import numpy as np
import pytest

from gconv_jax.export.volume_files import read_volume
from train.config import Config
from train.data.array_file import ArrayFile
from train.data.image_folder import load_folder
from train.options.networks import check_dimension

OF_VOLUMES = Config(
    model="voxel-cnn", dataset="folder", validation=0, batch_size=4, channels="auto"
)


def write(path, images, test=None):
    test = images[:2] if test is None else test
    arrays = {"train_images": images, "train_labels": np.arange(len(images)) % 2}
    np.savez(path, **arrays, test_images=test, test_labels=np.arange(len(test)) % 2)


def load(path, **changes):
    return load_folder(dataclasses.replace(OF_VOLUMES, data=path, **changes))


def masks(count: int, shape: tuple[int, ...], high: int = 1) -> np.ndarray:
    return np.random.default_rng(0).integers(0, high + 1, (count, *shape)).astype(np.uint8)


def index(name: str) -> int:
    return int(name.rpartition("/")[2])


@pytest.mark.parametrize("shape", [(8, 8, 8, 1), (20, 20, 20)])
def test_masks_become_black_and_white_in_their_size(tmp_path, shape):
    stored = masks(8, shape)
    write(tmp_path / "x.npz", stored)
    folder = load(tmp_path / "x.npz")
    names = [file.name for file in folder.files if file.split == "train"]
    assert folder.train.image.shape == (8, *shape[:3], 1)
    for name, image in zip(names, np.asarray(folder.train.image), strict=True):
        np.testing.assert_array_equal(image, 255 * stored[index(name)].reshape(image.shape))
    assert "the training volumes have 2 different values, 0 to 1: these become 0 to 255" in (
        folder.notes
    )


def test_labels_are_spread_and_rare_ones_kept(tmp_path):
    """A label of one voxel in 20,000 is no outlier that may be cut off, as in a photograph."""
    stored = masks(40, (8, 8, 8, 1))
    stored[3, 1, 2, 3] = 5
    write(tmp_path / "x.npz", stored, test=stored)
    for dtype in (np.uint8, np.int16, np.float32):
        write(tmp_path / "x.npz", stored.astype(dtype), test=stored[:2].astype(dtype))
        folder = load(tmp_path / "x.npz")
        assert np.unique(np.asarray(folder.train.image)).tolist() == [0, 51, 255]


def test_gray_volumes_of_8_bits_stay_as_they_are(tmp_path):
    stored = np.random.default_rng(0).integers(0, 100, (8, 8, 8, 8, 2)).astype(np.uint8)
    write(tmp_path / "x.npz", stored)
    folder = load(tmp_path / "x.npz")
    names = [file.name for file in folder.files if file.split == "test"]
    for name, image in zip(names, np.asarray(folder.test.image), strict=True):
        np.testing.assert_array_equal(image, stored[index(name)])
    assert folder.reading.depth == "8"


def test_deep_volumes_have_the_range_of_the_training_ones(tmp_path):
    stored = np.linspace(-1000, 3000, 8 * 512).reshape(8, 8, 8, 8, 1).astype(np.float32)
    write(tmp_path / "x.npz", stored, test=stored[:2] - 500)
    folder = load(tmp_path / "x.npz")
    assert folder.reading.range == (-1000, 3000)
    train = np.asarray(folder.train.image)
    assert train.min() == 0 and train.max() == 255 and len(np.unique(train)) == 256
    own = load(tmp_path / "x.npz", range=(0.0, 1000.0))
    assert np.asarray(own.train.image).mean() != train.mean()


def test_odd_volumes_are_put_in_the_middle_of_a_cube_of_a_multiple_of_4(tmp_path):
    stored = masks(8, (4, 6, 6, 1)) * 0 + 1
    stored[:, 1:-1, 1:-1, 1:-1] = 0
    write(tmp_path / "x.npz", stored)
    folder = load(tmp_path / "x.npz")
    image = np.asarray(folder.train.image)
    assert image.shape[1:] == (8, 8, 8, 1)
    np.testing.assert_array_equal(image[0, 2:6, 1:7, 1:7], 255 * stored[0])
    image[:, 2:6, 1:7, 1:7] = 255
    assert (image == 255).all()  # their surface
    (note,) = [note for note in folder.notes if "in the middle" in note]
    assert "volumes of 4 x 6 x 6 voxels are put in the middle of 8 x 8 x 8" in note


def test_larger_volumes_become_the_means_of_blocks(tmp_path):
    """The sides are not multiples of the blocks, and the padding comes before the means."""
    stored = masks(8, (10, 12, 11, 1))
    write(tmp_path / "x.npz", stored)
    folder = load(tmp_path / "x.npz", image_size=4)
    every = np.concatenate([stored, stored[:2]])  # with those to test
    kept = [read_volume(volume, (12, 12, 12, 1), range=(0, 1)) for volume in every]
    expected = np.stack(kept).reshape(-1, 4, 3, 4, 3, 4, 3).mean((2, 4, 6))
    given = np.concatenate([folder.train.image, folder.test.image])[..., 0]
    assert sorted(map(bytes, given)) == sorted(map(bytes, np.rint(expected).astype(np.uint8)))
    assert folder.reading.block == 3
    scaled = "each block of 3 x 3 x 3 voxels becomes one, their mean: 4 x 4 x 4 voxels"
    (padded,) = [note for note in folder.notes if "in the middle" in note]
    assert scaled in folder.notes
    assert "volumes of 10 x 12 x 11 voxels are put in the middle of 12 x 12 x 12" in padded


def test_volumes_of_a_smaller_file_keep_their_scale(tmp_path):
    write(tmp_path / "x.npz", masks(8, (4, 4, 4, 1)))
    folder = load(tmp_path / "x.npz", image_size=8)
    assert folder.train.image.shape[1:] == (8, 8, 8, 1) and folder.reading.block is None


def test_four_axes_are_volumes_if_the_last_is_too_long_for_channels(tmp_path):
    for shape, expected in (((20, 20, 17), True), ((20, 20, 16), False), ((4, 4, 4, 1), True)):
        write(tmp_path / "x.npz", masks(4, shape))
        assert ArrayFile(tmp_path / "x.npz").has_volumes == expected


def test_a_file_is_read_as_the_arrays_are(tmp_path):
    stored = masks(1, (6, 8, 7), 3)[0]
    np.save(tmp_path / "x.npy", stored)
    expected = read_volume(stored, (8, 8, 8, 1), range=(0, 3))
    np.testing.assert_array_equal(expected[1:7, :, :7, 0], 85 * stored)
    again = read_volume(tmp_path / "x.npy", (8, 8, 8, 1), range=(0, 3))
    np.testing.assert_array_equal(again, expected)
    inverted = read_volume(stored, (8, 8, 8, 1), "dark", range=(0, 3))
    np.testing.assert_array_equal(inverted[1:7, :, :7], 255 - expected[1:7, :, :7])


SIZE = (8, 8, 8, 1)
BAD = [
    (np.zeros((9, 8, 8)), {}, "it is of 9 x 8 x 8 voxels, and the network takes 8 x 8 x 8 at most"),
    (np.zeros((8, 8)), {}, r"it must be \[D, H, W\] or \[D, H, W, C\], and is \[8, 8\]"),
    (np.zeros((8, 8, 8, 3)), {}, "it has 3 channels, and the network takes 1"),
    (np.array([[["a"]]]), {}, "its numbers must be integers or floating-point, not <U1"),
    (np.zeros((8, 8, 8)), {"depth": "8"}, "it has more than 8 bits a voxel"),
    (np.zeros((8, 8, 8), np.uint8), {"depth": "deeper"}, "it has 8 bits a voxel"),
]


@pytest.mark.parametrize(("stored", "how", "message"), BAD, ids=[message for *_, message in BAD])
def test_volumes_that_are_refused(stored, how, message):
    with pytest.raises(ValueError, match=f"cannot read an array as a volume: {message}"):
        read_volume(stored, SIZE, **how)


def test_files_that_are_refused(tmp_path):
    (tmp_path / "x.png").write_bytes(b"\x89PNG and more")
    with pytest.raises(ValueError, match=r"x.png as a volume: it is no .npy file"):
        read_volume(tmp_path / "x.png", SIZE)
    np.save(tmp_path / "x.npy", np.zeros((8, 8, 8)))
    content = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(content[:-9])
    with pytest.raises(ValueError, match=r"x.npy as a volume"):
        read_volume(tmp_path / "x.npy", SIZE)
    with pytest.raises(ValueError, match="no such file"):
        read_volume(tmp_path / "no.npy", SIZE)
    with pytest.raises(ValueError, match=r"`size` must be \(depth, height, width, channels\)"):
        read_volume(np.zeros((8, 8)), (8, 8, 1))
    with pytest.raises(ValueError, match="`ink` must be auto, light or dark, got 'blue'"):
        read_volume(np.zeros((8, 8, 8)), SIZE, "blue")


WRONG = [
    ({"image_size": 18}, "`image_size` 18 must be a multiple of 4, since networks halve volumes"),
    (
        {"image_size": 8, "task": "segmentation", "model": "group-unet", "group": "octahedral"},
        "`image_size` 8 is for volumes with classes or numbers",
    ),
    ({"augment": "jitter"}, "`augment` jitter is for images.*use rotate"),
    ({"augment": "shift-flip"}, "`augment` shift-flip is for images"),
    ({"preprocess": "whiten"}, "`preprocess` whiten is for images"),
    ({"adapt": "symmetrize"}, "`adapt` symmetrize is for images"),
    ({"angles": 8}, "`angles` 8 is for images"),
    ({"group": "p4m"}, "`group` p4m is of images, and voxel-cnn is for volumes: it takes one of"),
    (
        {"group": "octahedral", "model": "densenet"},
        "`group` octahedral is of volumes, for resnet, vit, voxel-cnn; densenet is for images",
    ),
    ({"channels": 3}, "`channels` 3 is for images: volumes keep theirs, here 1"),
    ({"model": "resnet"}, "has volumes, and resnet is for images: name the recipe folder-voxels"),
    ({"model": "vit"}, "has volumes, and vit is for images.*--group octahedral"),
    ({"loader": "grain"}, "`loader` grain is for image files"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[message for _, message in WRONG])
def test_options_that_are_refused(tmp_path, changes, message):
    write(tmp_path / "x.npz", masks(8, (8, 8, 8, 1)))
    with pytest.raises(ValueError, match=message):
        load(tmp_path / "x.npz", **changes)


def test_images_are_refused_by_a_network_for_volumes(tmp_path):
    write(tmp_path / "x.npz", masks(8, (8, 8, 8)))  # 8 channels, for all that is known
    with pytest.raises(ValueError, match=r"has images; a volume with at most 16.*\[n, D, H, W, 1]"):
        load(tmp_path / "x.npz")


def test_known_data_sets_are_images():
    with pytest.raises(ValueError, match=r"`model` voxel-cnn is for volumes of your own"):
        Config(model="voxel-cnn", dataset="mnist")


def test_networks_say_which_groups_they_take():
    for model, group in (("vit", "p4"), ("vit", "z3"), ("voxel-cnn", "about-depth")):
        check_dimension(model, group)


def test_each_volume_has_the_range_that_an_image_would_have():
    """The readers share it: a voxel far outside does not decide the range of the others."""
    volume = np.linspace(100, 300, 16**3).reshape(16, 16, 16).astype(np.float32)
    volume[0, 0, 0] = 1e6
    voxels = read_volume(volume, (16, 16, 16, 1), range="each")
    assert len(np.unique(voxels)) >= 250
