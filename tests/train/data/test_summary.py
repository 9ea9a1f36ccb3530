"""The lines at the start of a run: which images were found, and how they are split."""

import dataclasses

from tests.train.data.test_image_folder import OF_FOLDER, paint, touch
from train.data.image_folder import load_folder
from train.data.summary import summary_lines


def lines_of(config) -> list[str]:
    return summary_lines(config, load_folder(config))


def images(counts: dict[str, int], color=50, form="{c}__{i}") -> dict:
    return {form.format(c=c, i=i): ((9, 9), color) for c in counts for i in range(counts[c])}


def test_classes_sizes_and_splits_are_said(tmp_path):
    folder = paint(tmp_path / "x", **images({"cat": 10, "dog": 25}))
    config = dataclasses.replace(OF_FOLDER, data=folder, validation=0.25)
    lines = lines_of(config)
    assert lines[:3] == [
        f"35 images of 2 classes in {folder}: cat 10, dog 25",
        "16 x 16 pixels, gray; 21 training, 7 validation and 7 test images",
        "test images: 0.2 of each class, chosen by hashes of the file names",
    ]
    touch(folder, "cat/notes.txt", "cat/broken.png")
    paint(folder, dog__red=((9, 9), (200, 0, 0)))
    lines = lines_of(dataclasses.replace(config, validation=0))
    assert lines[0].endswith("cat 10, dog 26") and lines[1].startswith("16 x 16 pixels, in color")
    assert "30 training, 0 validation and 6 test images" in lines[1]
    assert f"ignored 1 file in {folder}: 1 .txt" in lines
    assert "skipped 1 file that cannot be read: cat/broken.png (it is empty)" in lines


def test_at_most_ten_classes_are_named(tmp_path):
    folder = paint(tmp_path, **images({f"c{i:02}": 2 for i in range(13)}))
    (first, *_) = lines_of(dataclasses.replace(OF_FOLDER, data=folder))
    assert first.startswith(f"26 images of 13 classes in {folder}: c00 2, c01 2, ")
    assert first.endswith(", c09 2 and 3 more")


def test_classes_of_very_different_sizes_are_warned_of(tmp_path):
    config = dataclasses.replace(OF_FOLDER, data=paint(tmp_path, **images({"a": 20, "b": 4})))
    assert lines_of(config)[-1] == (
        "warning: a has 20 images and b only 4: the accuracy over all images says little of b; "
        "--sampling balanced draws each class equally often"
    )
    paint(tmp_path, b__more=((9, 9), 50))
    assert not [line for line in lines_of(config) if line.startswith("warning: a has")]


def test_groups_are_said_and_classes_that_have_too_few(tmp_path):
    folder = paint(tmp_path / "x", **images({"a": 12}, form="{c}__pa{i}__1"))
    paint(folder, **images({"b": 2}, form="{c}__pb{i}__1"))
    config = dataclasses.replace(OF_FOLDER, data=folder, validation=0.2)
    lines = lines_of(config)
    counts = "14 groups, 9 to train on, 2 to validate with, 3 to test on"
    assert lines[2] == f"split by folder below the class: {counts}"
    assert "warning: no validation images of b: too few groups" in lines
    own = paint(tmp_path / "own", **images({"train__a": 3, "train__b": 3, "test__a": 1}))
    config = dataclasses.replace(config, data=own, validation=0)
    assert lines_of(config)[2] == "test images: those in test/"
    grouped = dataclasses.replace(config, groups_by="(train|test)")
    assert lines_of(grouped)[2] == (
        "split by --groups-by '(train|test)': 2 groups, 1 to train on, 1 to test on; test images: "
        "those in test/"
    )
