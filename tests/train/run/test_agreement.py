"""Settings that have to be equal in all processes, and how a difference is told."""

import dataclasses
from pathlib import Path

import numpy as np

from train.data.on_disk import ImagesOnDisk
from train.data.splits import Data, Split
from train.data.statistics import pixel_sums
from train.run.agreement import digests, disagreement, require_agreement


def data_of(seed: int = 0, **splits: Split) -> Data:
    rng = np.random.default_rng(seed)

    def split() -> Split:
        image = rng.integers(0, 256, (6, 4, 4, 1)).astype(np.uint8)
        return Split(image, np.arange(6, dtype=np.int32) % 3)

    parts = {"train": split(), "validation": None, "test": split(), **splits}
    return Data(**parts, classes=3, mean=0.5, std=0.2)


def different(a: dict[str, bytes], b: dict[str, bytes]) -> list[str]:
    return [name for name in a if a[name] != b[name]]


def test_a_digest_sees_settings_pixels_and_labels_but_not_places(tiny):
    data = data_of()
    ours = digests(tiny, data)
    moved = dataclasses.replace(tiny, run=Path("b"), data_dir=Path("elsewhere"))
    assert different(ours, digests(moved, data_of())) == []
    assert different(ours, digests(dataclasses.replace(tiny, seed=1), data)) == ["settings"]
    image, label = data.test.image.copy(), data.test.label.copy()
    image[3, 2, 1, 0] ^= 1
    label[4] = 0
    for test in (Split(image, data.test.label), Split(data.test.image, label)):
        assert different(ours, digests(tiny, data_of(test=test))) == ["test images"]
    with_validation = digests(tiny, data_of(validation=data.test))
    assert different(ours, with_validation) == ["validation images"]


def test_images_on_the_disk_are_compared_without_reading_them(tiny):
    def stored(image: np.ndarray) -> Split:
        def read(_):
            raise AssertionError("read again")

        sums = pixel_sums(image)
        on_disk = ImagesOnDisk(read, np.arange(6), image.shape[1:], image.dtype, sums)
        return Split(on_disk, np.zeros(6, np.int32))

    image = data_of().train.image
    ours = digests(tiny, data_of(train=stored(image)))
    assert different(ours, digests(tiny, data_of(train=stored(image.copy())))) == []
    changed = image.copy()
    changed[5, 0, 0, 0] ^= 1
    assert different(ours, digests(tiny, data_of(train=stored(changed)))) == ["training images"]


def test_the_first_that_differs_is_named():
    names = ("settings", "training images", "test images")
    table = np.zeros((4, 3, 32), np.uint8)
    assert disagreement(names, table) is None
    table[3, 0, 31] = 1
    assert "the settings of process 3 differ from those of process 0: " in disagreement(
        names, table
    )
    table[2, 1:, 7] = 1
    text = "the training images and test images of process 2 differ from those of process 0: "
    assert disagreement(names, table).startswith(text)


def test_one_process_agrees_with_itself(tiny):
    require_agreement(tiny, data_of())
