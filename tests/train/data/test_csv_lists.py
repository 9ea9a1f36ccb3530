"""A list of images in a CSV file: what it may look like, and what it is used for."""

import dataclasses
import json
import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from tests.train.data.test_groups import sides
from tests.train.data.test_image_folder import OF_FOLDER, paint, touch
from tests.train.data.test_layouts import begin
from train.__main__ import main
from train.data.class_folders import list_images
from train.data.load import load_data
from train.data.provenance import IMAGES, read_record
from train.data.summary import groups_in_words
from train.run_folder.folder import Run

FILES = [f"{c}/{i}.png" for c in "ab" for i in range(8)]


def write(path: Path, header: str, rows, separator=",", encoding="utf-8") -> Path:
    lines = [header.replace(",", separator), *(separator.join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    return touch(tmp_path / "images", *FILES)


def rows(*more):
    """The path and the label of each file, with further cells."""
    return [(name, name[0], *more) for name in FILES]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("header", ["path,label", "File,CLASS", "filename,target", "Image,Label"])
def test_a_list_is_what_a_folder_is(folder, header, separator, encoding):
    path = write(folder / "list.csv", header, rows(), separator, encoding)
    listing, of_folder = list_images(path, 0.25), list_images(folder, 0.25)
    same = [file._replace(class_name=None) for file in listing.files]
    assert same == of_folder.files, "the same files in the same order, split in the same way"
    assert (listing.names, listing.own_test, listing.notes) == (("a", "b"), False, ())


def test_columns_may_be_in_any_order_and_quoted(folder):
    order = [("7", f'"{name[0]}, or so"', f'"{name}"', "") for name in FILES]
    path = write(folder / "list.csv", "age,label,path,", order)
    listing = list_images(path, 0.25)
    assert listing.names == ("a, or so", "b, or so") and len(listing.files) == 16
    assert listing.notes == ("columns of list.csv that are not used: age",)
    assert all(file.size == 0 and file.class_name == file.name[0] + ", or so" for file in
               listing.files)  # fmt: skip


WORDS = {"train": "train", "Training": "train", "TEST": "test", "testing": "test",
         "val": "validation", "Dev": "validation", "valid": "validation"}  # fmt: skip


def test_splits_and_groups_are_columns(folder, tmp_path):
    words = [*WORDS, "train"] * 2
    table = [(*row, word) for row, word in zip(rows(), words, strict=True)]
    listing = list_images(write(folder / "l.csv", "path,label,subset", table), 0.25)
    assert listing.own_test
    expected = {name: WORDS[word] for name, word in zip(FILES, words, strict=True)}
    assert {file.name: file.split for file in listing.files} == expected
    table = [(*row, f"p{i // 2}") for i, row in enumerate(rows())]
    for name in ("group", "Patient", "subject", "specimen"):
        listing = list_images(write(folder / "l.csv", f"path,label,{name}", table), 0.25)
        assert {frozenset(splits) for splits in sides(listing.files).values()} == {
            frozenset({"train"}),
            frozenset({"test"}),
        }
        assert len(sides(listing.files)) == 8
        assert sum(file.split == "test" for file in listing.files) == 4
    # What is asked for goes before the column; columns without a word say nothing.
    listing = list_images(folder / "l.csv", 0.25, r"(\d)\.png")
    assert {file.group for file in listing.files} == set("01234567")
    empty = write(folder / "l.csv", "path,label,split,group", rows("", ""))
    listing = list_images(empty, 0.25)
    assert not listing.own_test and not any(file.group for file in listing.files)


def test_groups_of_a_list_in_two_splits_are_counted(folder):
    table = [(*row, ("train", "test")[i % 2], f"p{i // 2}") for i, row in enumerate(rows())]
    listing = list_images(write(folder / "l.csv", "path,label,split,group", table), 0.25)
    assert listing.notes == (
        "warning: 8 of 8 groups of the test images (group column of the CSV file) are among the "
        "training images, too (p0, p1, p2 and 5 more): the test error is too low",
    )


def test_paths_may_lead_elsewhere(folder, tmp_path, monkeypatch):
    """Those to the folder of the list are kept without it, so that it can be moved."""
    lists = tmp_path / "lists"
    lists.mkdir()
    written = [f"../images/{name}" for name in FILES]
    path = write(lists / "l.csv", "path,label", [(name, name[10]) for name in written])
    assert {file.name for file in list_images(path, 0.25).files} == set(written)
    table = [(str(folder / name), name[0]) for name in FILES]
    outside = list_images(write(lists / "l.csv", "path,label", table), 0.25)
    assert {file.name for file in outside.files} == {str(folder / name) for name in FILES}
    inside = list_images(write(folder / "l.csv", "path,label", table), 0.25)
    assert {file.name for file in inside.files} == set(FILES)
    table = [(f"./a/../{name}".replace("/", "\\"), name[0]) for name in FILES]
    windows = list_images(write(folder / "l.csv", "path,label", table), 0.25)
    assert windows == inside
    monkeypatch.setenv("HOME", str(folder))
    table = [(f"~/{name}", name[0]) for name in FILES]
    assert list_images(write(folder / "l.csv", "path,label", table), 0.25) == inside


def test_names_in_another_unicode_form_are_found(tmp_path):
    stored = unicodedata.normalize("NFD", "ä")
    folder = touch(tmp_path, *(f"{stored}{i}.png" for i in range(4)))
    table = [(f"ä{i}.png", "xö"[i % 2]) for i in range(4)]
    listing = list_images(write(folder / "l.csv", "path,label", table), 0.5)
    assert {file.name for file in listing.files} == {f"{stored}{i}.png" for i in range(4)}
    table[0] = ("ä0.png", "x")
    table[2] = (f"{stored}0.png", "x")
    with pytest.raises(ValueError, match=r"line 4: .* is in line 2, too"):
        list_images(write(folder / "l.csv", "path,label", table), 0.5)


GOOD = [("a/0.png", "a"), ("a/1.png", "a"), ("b/0.png", "b"), ("b/1.png", "b")]
MISTAKES = {
    "must be a header with a column path .* the columns are a/0.png, a": (None, GOOD),
    "a header with a column label (label, class, target); the columns are path, kind": (
        *("path,kind", GOOD),
    ),
    "has 2 columns that may say the label: Class, target; name one of them label": (
        *("path,Class,target", [(*row, "1") for row in GOOD]),
    ),
    "has 2 columns that may say the path: path, PATH": ("path,PATH", GOOD),
    "has 1 wrong row: line 3: no file a/9.png": (
        *("path,label", [*GOOD[:1], ("a/9.png", "a"), *GOOD[2:]]),
    ),
    "no file a": ("path,label", [*GOOD, ("a", "a")]),
    "line 2: empty label; line 3: empty path": (
        *("path,label", [("a/0.png", " "), ("", "a"), *GOOD]),
    ),
    "line 6: a/../a/0.png is in line 2, too": ("path,label", [*GOOD, ("a/../a/0.png", "a")]),
    "line 2: unknown split tset (known are train, training, test, testing, validation, valid, val, "
    "dev); line 3: empty split": (
        "path,label,split",
        [(*row, word) for row, word in zip(GOOD, ["tset", "", "train", "test"], strict=True)],
    ),
    "line 2: empty group": (
        "path,label,group",
        [(*row, word) for row, word in zip(GOOD, ["", "x", "y", "z"], strict=True)],
    ),
    "line 4: label b;;c: a name before or after ; is empty; line 5: label b; b: a name .* twice": (
        *("path,label", [*GOOD[:2], ("b/0.png", "b;;c"), ("b/1.png", "b; b")]),
    ),
    "line 3: empty label": ("path,label", [GOOD[0], ("a/1.png", ""), *GOOD[2:]]),
    "has one image of c: with no test": ("path,label", [*GOOD[:3], ("b/1.png", "b;c")]),
    "line 6: 3 columns, and the header has 2": ("path,label", [*GOOD, ("b/2.png", "b", "c")]),
    "must have training images of two or more classes; there is only a": ("path,label", GOOD[:2]),
    "must have training images of two or more classes; there is none": (
        "path,label,split",
        [(*row, "test") for row in GOOD],
    ),
    "has test images of classes that are not trained on: c": (
        "path,label,split",
        [*((*row, "train") for row in GOOD), ("b/2.png", "c", "test")],
    ),
    "has one image of c: with no test images of your own": (
        *("path,label", [*GOOD, ("b/2.png", "c")]),
    ),
    "has a single group of images of a (group column of the CSV file: p)": (
        "path,label,group",
        [(*row, word) for row, word in zip(GOOD, "ppqr", strict=True)],
    ),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_lists_that_cannot_be_trained_on(folder, message):
    header, table = MISTAKES[message]
    path = write(folder / "l.csv", header or ",".join(table[0]), table)
    with pytest.raises(ValueError) as error:  # noqa: PT011
        list_images(path, 0.25)
    before, _, after = message.partition(" .* ")
    assert before in str(error.value) and after in str(error.value)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_files_that_are_no_lists(folder):
    with pytest.raises(ValueError, match=r"l.csv is empty; it must have a header"):
        list_images(touch(folder, "l.csv") / "l.csv", 0.25)
    write(folder / "l.csv", "path,label", [("a/ä.png", "a")], encoding="latin-1")
    with pytest.raises(ValueError, match=r"l.csv is no text in UTF-8 \(byte 13\): save it as"):
        list_images(folder / "l.csv", 0.25)
    (folder / "l.csv").write_text('path,label\n"a/0.png"x,b\n')
    with pytest.raises(ValueError, match=r"l.csv line 2: "):
        list_images(folder / "l.csv", 0.25)
    many = [(f"none{i}.png", "a") for i in range(12)]
    with pytest.raises(ValueError, match=r"12 wrong rows: .* no file none9.png; and 2 more$"):
        list_images(write(folder / "l.csv", "path,label", many), 0.25)


def test_lines_are_counted_as_an_editor_does(folder):
    """Blank lines count, and a cell may go over several; other breaks of Unicode are none."""
    text = 'path,label\r\n\r\n"a/0.png","a\nb"\r\na/1.png,a\u2028b\x0c\r\nnone,b\r\n'
    (folder / "l.csv").write_bytes(text.encode())
    with pytest.raises(ValueError, match=r"1 wrong row: line 6: no file none$"):
        list_images(folder / "l.csv", 0.25)


@pytest.fixture
def config(tmp_path):
    """Images whose labels only the list says: gray values from 0 and from 100."""
    images = {
        f"images__{c}{i}": ((9, 9), {"a": 0, "b": 100}[c] + i) for c in "ab" for i in range(8)
    }
    paint(tmp_path / "own", **images)
    table = [(f"images/{c}{i}.png", {"a": "low", "b": "high"}[c], f"{c}{i // 2}") for c in "ab"
             for i in range(8)]  # fmt: skip
    path = write(tmp_path / "own" / "list.csv", "path;label;patient", table, ";")
    return dataclasses.replace(OF_FOLDER, data=path, validation=0.3, channels="grey")


def values(split) -> list[int]:
    return np.asarray(split.image)[:, 0, 0, 0].tolist()


def test_a_run_keeps_the_parts_of_a_list(config, tmp_path):
    run, before = begin(config, tmp_path / "run")
    assert before.names == ("high", "low") and before.folder.names == before.names
    for split in (before.train, before.validation, before.test):
        assert split.label.tolist() == [int(value < 100) for value in values(split)]
    assert [len(s.label) for s in (before.train, before.validation, before.test)] == [8, 4, 4]
    words = (
        "group column of the CSV file: 8 groups, 4 to train on, 2 to validate with, 2 to test on"
    )
    assert groups_in_words(config, before.folder) == words
    (row, *_) = [json.loads(line) for line in (run.path / IMAGES).read_text().splitlines()]
    assert row["class"] in ("low", "high") and row["group"] == row["file"][7] + str(
        int(row["file"][8]) // 2
    )
    moved = shutil.copytree(config.data.parent, tmp_path / "moved")
    for data in (config.data, moved / "list.csv", moved):
        again = load_data(run.config_at(data=data), run)
        assert again.folder.files == before.folder.files == read_record(run).files
        assert values(again.train) == values(before.train) and not again.folder.notes


def test_changes_of_a_list_are_named(config, tmp_path):
    run, before = begin(config, tmp_path / "run")
    rows = [json.loads(line) for line in (run.path / IMAGES).read_text().splitlines()]
    train, test = (next(r["file"] for r in rows if r["split"] == s) for s in ("train", "test"))
    text = config.data.read_text()
    shutil.copy(config.data.parent / train, config.data.parent / "new.png")
    config.data.write_text(text + "new.png;low;x\n")
    data = load_data(config, run)
    assert values(data.train) == values(before.train)
    assert len(data.folder.notes) == 1 and "1 new, not used (new.png)" in data.folder.notes[0]
    lines = text.splitlines(keepends=True)
    (place,) = [i for i, line in enumerate(lines) if line.startswith(train)]
    changed = [*lines]
    other = {"low": "high", "high": "low"}
    name, label, group = changed[place].split(";")
    changed[place] = f"{name};{other[label]};{group}"
    config.data.write_text("".join(changed))
    with pytest.raises(ValueError, match=f"1 of 8 training images relabeled .{train}.; restore"):
        load_data(config, run)
    config.data.write_text("".join(line for line in lines if not line.startswith(test)))
    with pytest.raises(ValueError, match=f"1 of 4 test images gone .{test}.; restore"):
        load_data(config, run)
    run.write_json("results.json", {"input": {
        "shape": before.train.image.shape[1:], "mean": 0.0, "std": 1.0, "classes": 2,
        "names": before.names,
    }})  # fmt: skip
    fewer = load_data(config, run, finished=True)
    assert len(fewer.test.label) == 3 and set(values(fewer.test)) < set(values(before.test))
    config.data.write_text(text)
    os.remove(config.data.parent / test)
    fewer = load_data(config, run, finished=True)
    assert len(fewer.test.label) == 3 and "1 of 4 test images gone" in fewer.folder.notes[0]


def test_a_list_is_trained_on_and_used_as_a_folder_is(own_images, tmp_path, capsys):
    """Splits and labels are those of the list, from the start to predictions."""
    folder = Path(shutil.copytree(own_images, tmp_path / "shapes"))
    files = sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*.*"))
    split = {name: ("train", "test", "train", "val")[i % 4] for i, name in enumerate(files)}
    table = [(name, {"ring": "round", "star": "cross"}[name[:4]], split[name]) for name in files]
    data = write(folder / "list.csv", "image\tclass\tset", table, "\t")
    path = tmp_path / "run"
    options = ["--data", str(data), "--size", "28", "--model", "p4-lenet", "--epochs", "1"]
    options += ["--batch-size", "8", "--parallel", "jit", "--report", "none", "--run", str(path)]
    assert main(options) == 0
    out = capsys.readouterr().out
    assert f"32 images of 2 classes in {data}: cross 16, round 16\n" in out
    assert "28 x 28 pixels, in color; 16 training, 8 validation and 8 test images\n" in out
    assert "test images: those of the split column\n" in out
    run = Run.open(path)
    assert run.results["own_test"] and run.results["input"]["names"] == ["cross", "round"]
    rows = [json.loads(line) for line in (path / IMAGES).read_text().splitlines()]
    said = {"train": "train", "test": "test", "val": "validation"}
    assert {row["file"]: row["split"] for row in rows} == {n: said[s] for n, s in split.items()}
    assert main(["evaluate", str(path)]) == 0
    assert f"{100 * run.results['test_error']:.2f} %" in capsys.readouterr().out
    test = [folder / name for name in files if split[name] == "test"]
    assert main(["predict", str(path), *map(str, test)]) == 0
    answers = [line.split(": ")[1].split()[0] for line in capsys.readouterr().out.splitlines()]
    labels = dict(row[:2] for row in table)
    wrong = [
        a != labels[p.relative_to(folder).as_posix()] for a, p in zip(answers, test, strict=True)
    ]
    assert np.mean(wrong) == run.results["test_error"]
    assert main(["--resume", str(path), "--epochs", "2"]) == 0
    assert run.results["epochs"] == 2 and "continuing after epoch 1" in capsys.readouterr().out
