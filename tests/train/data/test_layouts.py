"""Layouts of a user's folder: names of splits, wrappers, what systems leave behind, Unicode."""

import dataclasses
import json
import unicodedata
from pathlib import Path

import pytest

from tests.train.data.test_image_folder import OF_FOLDER, paint, splits, touch
from train.config import Config
from train.data.class_folders import list_images
from train.data.image_folder import load_folder
from train.data.load import load_data
from train.data.provenance import IMAGES, read_record, write_record
from train.run_folder.folder import Run

NFC, NFD = "Äpfel", unicodedata.normalize("NFD", "Äpfel")


def begin(config: Config, path: Path):
    """A run folder with the record of its images, and its data."""
    run, data = Run.create(config, path), load_data(config)
    write_record(run, data.folder.files)
    return run, data


@pytest.mark.parametrize("train", ["train", "Train", "TRAINING"])
@pytest.mark.parametrize("test", ["test", "Testing"])
@pytest.mark.parametrize("val", ["val", "valid", "Validation", "DEV"])
def test_splits_have_many_names(tmp_path, train, test, val):
    names = [f"{split}/{c}/1.png" for split in (train, test, val) for c in "ab"]
    listing = list_images(touch(tmp_path, *names), 0.5)
    assert listing.names == ("a", "b") and listing.own_test
    expected = {train: "train", test: "test", val: "validation"}
    assert {f.name.split("/")[0]: f.split for f in listing.files} == expected
    assert all("ab"[f.label] == f.name.split("/")[1] for f in listing.files)


MISTAKES = {
    r"x has train/, as splits are named, and beside that the folders cars; move those into train/ "
    "if they are classes": ("x/train/a/1.png", "x/train/b/1.png", "x/cars/1.png"),
    "x has test/, as .* beside that the folders a, b; .* rename test/ if that is a class": (
        *("x/a/1.png", "x/a/2.png", "x/b/1.png", "x/b/2.png", "x/test/1.png"),
    ),
    "x has Val/, as splits": ("x/a/1.png", "x/a/2.png", "x/b/1.png", "x/b/2.png", "x/Val/a/1.png"),
    "x has test/, train/, as splits": ("x/train/1.png", "x/test/1.png", "x/car/1.png"),
    "x has val/ and validation/, which both mean validation: keep one": (
        *("x/train/a/1.png", "x/train/b/1.png", "x/val/a/1.png", "x/validation/a/1.png"),
    ),
    "x has Train/ and train/, which both mean train": (
        *("x/train/a/1.png", "x/train/b/1.png", "x/Train/a/1.png"),
    ),
    "x has Test/, dev/ and no train/: add train/": ("x/Test/a/1.png", "x/dev/a/1.png"),
    "x must have a folder .* there is none; or --data .*x/labels.csv": ("x/1.png", "x/labels.csv"),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_layouts_that_look_like_splits_and_are_none(tmp_path, message):
    touch(tmp_path, *MISTAKES[message])
    with pytest.raises(ValueError, match=message):
        list_images(tmp_path / "x", 0.2)


def test_what_systems_leave_behind_is_no_class_and_no_file(tmp_path):
    names = [f"{c}/{i}.png" for c in "ab" for i in range(4)]
    clean = touch(tmp_path / "clean", *names)
    left = touch(
        tmp_path / "left",
        *names,
        *(
            "@eaDir/a.png",
            "a/@eaDir/1.png",
            ".ipynb_checkpoints/1.png",
            "a/.ipynb_checkpoints/1.png",
        ),
        *("__MACOSX/a/._1.png", "a/._1.png", "a/.DS_Store", "Thumbs.db", "a/thumbs.db"),
        *("b/desktop.ini", "b/Desktop.ini", "$RECYCLE.BIN/1.png"),
    )
    assert list_images(left, 0.25) == list_images(clean, 0.25)
    # A negative control: a folder that nobody left behind is a class.
    assert list_images(touch(left, "more/1.png", "more/2.png"), 0.25).names == ("a", "b", "more")


def test_a_wrapping_folder_is_looked_through(tmp_path):
    names = [f"{c}/{i}.png" for c in "ab" for i in range(8)]
    inner = touch(tmp_path / "photos" / "photos", *names)
    touch(tmp_path / "photos", "readme.txt", "__MACOSX/1.png")
    listing, direct = list_images(tmp_path / "photos", 0.25), list_images(inner, 0.25)
    assert listing.names == ("a", "b")
    assert listing.notes == (
        f"the classes are in {inner}, the only folder in {tmp_path / 'photos'}",
    )
    pairs = [(f.split, f.label, f.name) for f in direct.files]
    assert [(f.split, f.label, f.name.removeprefix("photos/")) for f in listing.files] == pairs
    # Splits may be wrapped, too; one class with folders below it is no wrapper of them.
    touch(tmp_path / "wrapped" / "in" / "two", "Train/a/1.png", "Train/b/1.png", "Test/a/1.png")
    assert {f.split for f in list_images(tmp_path / "wrapped", 0.25).files} == {"train", "test"}
    touch(tmp_path / "beside", "photos/a/1.png", "photos/b/1.png", "1.png")
    with pytest.raises(ValueError, match=r"beside must have a folder .* there is only photos"):
        list_images(tmp_path / "beside", 0.25)
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop" / "again").symlink_to(tmp_path / "loop")
    with pytest.raises(ValueError, match="there is only again"):
        list_images(tmp_path / "loop", 0.25)


def test_composed_and_decomposed_names_are_one_name(tmp_path):
    assert NFC != NFD
    files = ("ä1.png", "ä2.png", "ö3.png", "ü4.png")
    here = touch(tmp_path / "here", *(f"{c}/{f}" for c in (NFC, "Birnen") for f in files))
    there = touch(
        tmp_path / "there",
        *(unicodedata.normalize("NFD", f"{c}/{f}") for c in (NFC, "Birnen") for f in files),
    )
    composed, decomposed = splits(here, 0.5), splits(there, 0.5)
    assert composed != decomposed, "the names on the disk stay what they are"
    for split, names in decomposed.items():
        assert {unicodedata.normalize("NFC", name) for name in names} == composed[split]
    assert list_images(there, 0.5).names == list_images(here, 0.5).names == ("Birnen", NFC)
    both = touch(tmp_path / "both", f"train/{NFD}/1.png", "train/b/1.png", f"test/{NFC}/1.png")
    listing = list_images(both, 0.5)
    assert listing.names == ("b", NFC) and [
        f.label for f in listing.files if f.split == "test"
    ] == [1]


def test_a_run_goes_on_where_names_are_stored_in_another_form(tmp_path):
    """As after a copy from a Mac: the files of the record are found, and nothing is new."""
    images = {
        f"{c}__ä{i}": ((9, 9), 90 * k + i) for k, c in enumerate((NFC, "b")) for i in range(8)
    }
    folder = paint(tmp_path / "images", **images)
    config = dataclasses.replace(OF_FOLDER, data=folder, validation=0.25)
    run, before = begin(config, tmp_path / "run")
    moved = tmp_path / "moved"
    for path in folder.glob("*/*.png"):
        place = moved / unicodedata.normalize("NFD", path.relative_to(folder).as_posix())
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
    data = load_data(run.config_at(data=moved), run)
    assert not data.folder.notes and data.folder.fingerprint == before.folder.fingerprint
    for split in ("train", "validation", "test"):
        a, b = getattr(before, split), getattr(data, split)
        assert (a.image == b.image).all() and (a.label == b.label).all()
    write_record(run, data.folder.files)
    assert all((moved / file.name).is_file() for file in read_record(run).files)


@pytest.mark.parametrize("layout", ["Training/{}/{}", "in/{}/{}"])
def test_records_of_other_layouts_say_the_classes(tmp_path, layout):
    folder = tmp_path / "images"
    for c, value in (("a", 10), ("b", 90)):
        for i in range(8):
            split = "Testing" if layout[0] == "T" and i > 5 else layout.split("/")[0]
            paint(folder, **{f"{split}__{c}__{i}": ((9, 9), value + i)})
    config = dataclasses.replace(OF_FOLDER, data=folder, validation=0.25)
    run, before = begin(config, tmp_path / "run")
    rows = [json.loads(line) for line in (run.path / IMAGES).read_text().splitlines()]
    assert all(row["class"] == row["file"].split("/")[1] for row in rows)
    record = read_record(run)
    assert record.names == ("a", "b") and record.own_test == (layout[0] == "T")
    paint(folder, **{layout.format("a", "new").replace("/", "__"): ((9, 9), 250)})
    touch(folder, "stray.png", f"{layout.split('/')[0]}/stray.png")
    data = load_folder(config, record)
    assert data.files == before.folder.files and data.own_test == before.folder.own_test
    (note,) = [note for note in data.notes if "one value" not in note]
    assert f"1 new, not used ({layout.format('a', 'new.png')})" in note


def test_records_of_plain_layouts_are_what_they_were(tmp_path):
    folder = paint(
        tmp_path / "images", **{f"{c}__{i}": ((9, 9), i) for c in "ab" for i in range(4)}
    )
    run, _ = begin(dataclasses.replace(OF_FOLDER, data=folder), tmp_path / "run")
    rows = [json.loads(line) for line in (run.path / IMAGES).read_text().splitlines()]
    assert all(list(row) == ["split", "file", "bytes", "sha256"] for row in rows)


def test_records_of_earlier_versions_keep_the_order_of_their_classes(tmp_path):
    """They were sorted as they were stored: decomposed, an Ä is before a B, and composed after
    it."""
    rows = [{"split": s, "file": f"{c}/{s}.png", "bytes": 1, "sha256": "0"} for c in (NFD, "Birnen")
            for s in ("train", "test")]  # fmt: skip
    (tmp_path / IMAGES).write_text("".join(json.dumps(row) + "\n" for row in rows))
    record = read_record(Run(tmp_path))
    assert record.names == (NFD, "Birnen") and not record.own_test
    assert [file.label for file in record.files] == [0, 0, 1, 1]
