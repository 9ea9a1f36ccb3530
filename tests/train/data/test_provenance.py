"""The record of a run's images decides what a file is, whatever becomes of the folder."""

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from train import seeds
from train.config import Config
from train.data.load import load_data
from train.data.provenance import IMAGES, read_record, write_record
from train.data.whitening import WHITENING
from train.run_folder.folder import Run

CLASSES = {"apple": 0, "bread": 100, "cake": 200}
"""The gray values of the images of each class begin here: each image has a value of its own."""
COUNT = 20
BASE = Config(dataset="folder", image_size=8, batch_size=4, validation=0.25, channels="grey")


def paint(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (9, 9), value).save(path)


def values(split) -> list[int]:
    """The gray values of the images of a split, in their order."""
    return [] if split is None else np.asarray(split.image)[:, 0, 0, 0].tolist()


def parts(data) -> dict[str, list[int]]:
    return {name: values(getattr(data, name)) for name in ("train", "validation", "test")}


def begin(config: Config, path: Path):
    """A finished run of that configuration, but for its network, and its data."""
    run, data = Run.create(config, path), load_data(config)
    write_record(run, data.folder.files)
    shape = data.train.image.shape[1:]
    form = {"shape": shape, "mean": data.mean, "std": data.std, "classes": data.classes}
    run.write_json("results.json", {"input": form | {"names": data.names}})
    if data.whitening is not None:
        data.whitening.save(run.path / WHITENING)
    return run, data


def rows_of(run: Run) -> list[dict]:
    return [json.loads(line) for line in (run.path / IMAGES).read_text().splitlines()]


def as_earlier_versions(run: Run) -> None:
    """The record as it was before it had validation and unreadable images."""
    lists = {"test": "test"}
    rows = rows_of(run)
    assert not [row for row in rows if row["split"] == "unused"]
    kept = [{"split": lists.get(r["split"], "train")} | r for r in rows]
    for row, old in zip(rows, kept, strict=True):
        old["split"] = lists.get(row["split"], "train")
        del old["sha256"]
    run.write(IMAGES, "".join(json.dumps(row) + "\n" for row in kept))


@pytest.fixture
def images(tmp_path) -> Path:
    for name, first in CLASSES.items():
        for i in range(COUNT):
            paint(tmp_path / "images" / name / f"{i}.png", first + i)
    return tmp_path / "images"


@pytest.fixture(params=["memory", "grain"])
def config(images, request) -> Config:
    if request.param == "grain":
        pytest.importorskip("grain", reason="pip install 'gconv_jax[grain]'")
    return dataclasses.replace(BASE, data=images, loader=request.param)


def remove_some(folder: Path) -> None:
    """Three of the four test images of each class: others have the smallest hashes then."""
    for name in CLASSES:
        files = [f"{name}/{i}.png" for i in range(COUNT)]
        for file in sorted(files, key=lambda f: hashlib.sha256(f.encode()).digest())[:3]:
            (folder / file).unlink()


def remove_a_class(folder: Path) -> None:
    shutil.rmtree(folder / "bread")


def rename_a_class(folder: Path) -> None:
    (folder / "apple").rename(folder / "zebra")


def add_images(folder: Path) -> None:
    for i in range(30):
        paint(folder / "cake" / f"new{i}.png", 250)


def add_a_class(folder: Path) -> None:
    for i in range(30):
        paint(folder / "aardvark" / f"{i}.png", 250)


@pytest.mark.parametrize("change", [remove_some, remove_a_class, rename_a_class, add_images,
                                    add_a_class])  # fmt: skip
@pytest.mark.parametrize("earlier", [False, True], ids=["", "record of an earlier version"])
def test_images_keep_their_parts(config, change, earlier, images, tmp_path):
    run, before = begin(config, tmp_path / "run")
    if earlier:
        as_earlier_versions(run)
    expected = parts(before)
    assert [len(part) for part in expected.values()] == [36, 12, 12]
    moved = tmp_path / "moved"
    shutil.copytree(images, moved)
    change(moved)
    config = run.config_at(data=moved)
    data = load_data(config, run, finished=True)
    first = sorted(CLASSES)
    left = {
        CLASSES[name] + i
        for name in first
        for i in range(COUNT)
        if (moved / name / f"{i}.png").exists()
    }
    kept = {name: [v for v in part if v in left] for name, part in expected.items()}
    assert parts(data) == kept and data.names == before.names == tuple(first)
    for name in kept:
        labels = getattr(data, name).label
        assert labels.tolist() == [v // 100 for v in kept[name]], "classes keep their numbers"
    assert (data.mean, data.std) == (before.mean, before.std)
    (note,) = data.folder.notes
    if left != {v for part in expected.values() for v in part}:
        lost = len(expected["test"]) - len(kept["test"])
        assert f"{lost} of 12 test images gone (" in note
    else:
        assert "gone" not in note and "30 new, not used (" in note and "and 27 more)" in note
    if change is rename_a_class:
        assert "20 new, not used (zebra/0.png, zebra/1.png, zebra/10.png and 17 more)" in note
    if change in (remove_some, add_images):  # a negative control
        anew = set(values(load_data(config).test))
        assert anew & {250, *expected["train"]}, "a new split mixes them"


def test_a_record_says_what_became_of_each_file(config, images, tmp_path):
    (images / "cake" / "broken.png").write_text("no image")
    (images / "apple" / "empty.png").touch()
    config = dataclasses.replace(config, train_images=30, test_images=10)
    run, data = begin(config, tmp_path / "run")
    rows = rows_of(run)
    named = {split: [r["file"] for r in rows if r["split"] == split] for split in
             ("train", "validation", "test", "unused", "unreadable")}  # fmt: skip
    assert [len(files) for files in named.values()] == [30, 12, 10, 8, 2]
    assert set(named["unreadable"]) == {"cake/broken.png", "apple/empty.png"}
    for split, found in parts(data).items():
        stems = [(name.split("/")[0], int(Path(name).stem)) for name in named[split]]
        assert [CLASSES[c] + i for c, i in stems] == found, "in their order"
    assert all(len(row["sha256"]) == 64 for row in rows)
    # Files that can be read by now, or were beyond a limit, stay out; nothing is to be said.
    paint(images / "cake" / "broken.png", 250)
    (images / named["unused"][0]).unlink()
    more = dataclasses.replace(config, train_images=40)
    for finished in (False, True):
        again = load_data(more, run, finished=finished)
        assert parts(again) == parts(data) and again.folder.files == data.folder.files
        assert not again.folder.notes


def gone(file: Path) -> None:
    file.unlink()


def changed(file: Path) -> None:
    paint(file, 77)


def unreadable(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("change", [gone, changed, unreadable])
def test_a_run_does_not_go_on_with_other_images(images, change, split, tmp_path):
    run, before = begin(dataclasses.replace(BASE, data=images), tmp_path / "run")
    row = next(row for row in rows_of(run) if row["split"] == split)
    size = (images / row["file"]).stat().st_size
    change(images / row["file"])
    kind = "training" if split == "train" else split
    total = 36 if split == "train" else 12
    said = f"1 of {total} {kind} images {change.__name__} ({row['file']})"
    with pytest.raises(ValueError, match="restore the files, or begin another run") as error:
        load_data(run.config, run)
    assert said in str(error.value) and str(run.path) in str(error.value)
    data = load_data(run.config, run, finished=True)
    assert said in data.folder.notes[0]
    assert len(parts(data)[split]) == total - (change is not changed)
    assert (data.mean, data.std) == (before.mean, before.std)
    if change is changed:
        assert (images / row["file"]).stat().st_size == size, "told by the content alone"


def test_a_run_goes_on_without_files_that_are_new(images, tmp_path):
    run, before = begin(dataclasses.replace(BASE, data=images), tmp_path / "run")
    record = (run.path / IMAGES).read_text()
    add_images(images)
    (images / "beside.png").touch()  # ignored from the start, as is what is hidden
    paint(images / "cake" / ".hidden.png", 250)
    data = load_data(run.config, run)
    assert parts(data) == parts(before) and data.folder.fingerprint == before.folder.fingerprint
    assert len(data.folder.notes) == 1 and "30 new, not used" in data.folder.notes[0]
    write_record(run, data.folder.files)
    assert (run.path / IMAGES).read_text() == record


def test_a_record_of_an_earlier_version_is_brought_up_to_date(images, tmp_path):
    run, before = begin(dataclasses.replace(BASE, data=images), tmp_path / "run")
    record = (run.path / IMAGES).read_text()
    as_earlier_versions(run)
    assert not read_record(run).divided
    data = load_data(run.config, run)
    assert parts(data) == parts(before)
    write_record(run, data.folder.files)
    assert (run.path / IMAGES).read_text() == record


def test_folders_of_training_and_test_images_keep_their_parts(images, tmp_path):
    folder = tmp_path / "divided"
    for split, numbers in (("train", range(12)), ("val", range(12, 16)), ("test", range(16, 20))):
        for name in CLASSES:
            for i in numbers:
                (folder / split / name).mkdir(parents=True, exist_ok=True)
                shutil.copy(images / name / f"{i}.png", folder / split / name)
    run, before = begin(dataclasses.replace(BASE, data=folder), tmp_path / "run")
    assert {len(part) for part in parts(before).values()} == {36, 12}
    # Without its folder, test images would be taken from train/.
    shutil.rmtree(folder / "test" / "apple")
    shutil.rmtree(folder / "val")
    data = load_data(run.config, run, finished=True)
    assert values(data.test) == [v for v in values(before.test) if v >= 100]
    assert data.validation is None and values(data.train) == values(before.train)
    (note,) = data.folder.notes
    assert "4 of 12 test images gone" in note and "12 of 12 validation images gone" in note
    shutil.rmtree(folder / "test")
    with pytest.raises(ValueError, match=r"no test image to evaluate\n.*12 of 12 test images gone"):
        load_data(run.config, run, finished=True)


def test_a_finished_run_keeps_its_channels_and_whitening(images, tmp_path):
    """One image is in color, and it is a training image that is gone."""
    files = sorted(images.glob("*/*.png"))
    plain, _ = begin(dataclasses.replace(BASE, data=images), tmp_path / "plain")
    in_training = next(row["file"] for row in rows_of(plain) if row["split"] == "train")
    Image.new("RGB", (9, 9), "red").save(images / in_training)
    config = dataclasses.replace(BASE, data=images, channels="auto", preprocess="whiten")
    run, before = begin(config, tmp_path / "run")
    for path in files:
        if path == images / in_training or path.stem == "3":
            path.unlink()
    data = load_data(run.config, run, finished=True)
    assert data.train.image.shape[1:] == data.test.image.shape[1:] == (8, 8, 3)
    np.testing.assert_array_equal(data.whitening.matrix, before.whitening.matrix)
    anew = load_data(run.config)
    assert anew.train.image.shape[-1] == 1, "a negative control"


def test_all_training_images_may_be_gone(images, tmp_path):
    config = dataclasses.replace(BASE, data=images, validation=0)
    run, before = begin(config, tmp_path / "run")
    for row in rows_of(run):
        if row["split"] == "train":
            (images / row["file"]).unlink()
    data = load_data(run.config, run, finished=True)
    assert parts(data) == {"train": [], "validation": [], "test": values(before.test)}
    assert (data.mean, data.std) == (before.mean, before.std)


DAMAGED = {
    "no JSON": "x\n",
    "a part that is none": '{"split": "tset", "file": "a/b.png", "bytes": 1}\n',
    "no file": '{"split": "test", "bytes": 1}\n',
    "a number": "1\n",
    "nothing": "",
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_record_is_named(images, tmp_path, kind):
    run, _ = begin(dataclasses.replace(BASE, data=images), tmp_path / "run")
    (run.path / IMAGES).write_text(DAMAGED[kind])
    with pytest.raises(ValueError, match=r"run/images.jsonl is damaged: \S"):
        load_data(run.config, run)


def test_seeds_that_are_added_have_the_split_of_the_first(images, tmp_path):
    """Files that came in between are not used."""
    config = dataclasses.replace(
        BASE, data=images, model="lenet", group="p4", width=2, image_size=28, parallel="jit",
        epochs=1, report="none",
    )  # fmt: skip
    (first,) = seeds.train_seeds(config, tmp_path / "runs", lambda line: None)
    before = parts(load_data(config, first))
    add_images(images)
    runs = seeds.train_seeds(
        dataclasses.replace(config, seeds=2), tmp_path / "runs", lambda line: None
    )
    assert rows_of(runs[0]) == rows_of(runs[1])
    assert all(parts(load_data(config, run)) == before for run in runs)
    # A negative control: a run beside them takes the new images, and its record fits no other run.
    _, data = begin(config, tmp_path / "alone")
    assert parts(data) != before
    with pytest.raises(ValueError, match="lists other images than those of the runs"):
        write_record(runs[0], data.folder.files)
