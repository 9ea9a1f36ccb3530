"""`python -m train table`: every row is a recipe, is trained once, and stands beside its figure."""

import dataclasses
import json
from typing import get_args

import jax
import numpy as np
import pytest
from flax import nnx

from train.__main__ import main
from train.commands import table as module
from train.commands.table import Name, Table, table
from train.config import Config
from train.errors import TrainingDivergedError
from train.recipes.presets import PRESETS
from train.recipes.published_tables import TABLES, PublishedTable, Row
from train.run_folder.folder import Run
from train.steps.build_model import build_model, parameter_count
from train.steps.equal_parameters import count_parameters


@pytest.fixture
def small(smaller, monkeypatch):
    """Two rows of a table on the embedded digits, of other networks than their names say."""
    for model, group in (("z2cnn", "z2"), ("p4cnn", "p4")):
        config = dataclasses.replace(smaller, group=group, preset=f"small-{model}")
        monkeypatch.setitem(PRESETS, f"small-{model}", ("", config))
    rows = (Row("small-z2cnn", "5.03"), Row("small-p4cnn", "2.28 ± 0.04"))
    quick = lambda config: dataclasses.replace(config, epochs=1)  # noqa: E731
    monkeypatch.setitem(TABLES, "rotmnist", PublishedTable("Small", "Nowhere.", rows, quick))


def test_rows_are_trained_once_and_stand_beside_the_published(small, tmp_path):
    said = []
    options = Table("rotmnist", seeds=2, parallel="jit", report="quick", run=tmp_path / "t")
    written = table(options, said.append)
    assert "| small-z2cnn " in written and "| 2.28 ± 0.04 " in written
    report = (tmp_path / "t" / "report.md").read_text()
    assert written in report and "Published: Nowhere." in report and "--quick" not in report
    assert report.count(": digits (stand-in data") == 2
    for picture in ("learning_curves", "accuracy_against_angle", "invariance_against_angle"):
        picture += ".png"
        assert (tmp_path / "t" / picture).is_file() and f"]({picture})" in report
    rows = json.loads((tmp_path / "t" / "table.json").read_text())["rows"]
    runs = [Run.open(tmp_path / "t" / "small-p4cnn" / f"seed{i}") for i in (0, 1)]
    errors = [100 * run.results["test_error"] for run in runs]
    mean, spread = sum(errors) / 2, abs(errors[0] - errors[1]) / 2**0.5
    assert rows[1]["test error"] == f"{mean:.2f} ± {spread:.2f}" and rows[1]["seeds"] == "2"
    # Again: nothing is trained, and a row that was lost is.
    before = {r.path: (r.path / "results.json").stat().st_mtime_ns for r in runs}
    (tmp_path / "t" / "small-z2cnn" / "seed0" / "results.json").unlink()
    assert table(options, said.append) == written
    assert before == {p: (p / "results.json").stat().st_mtime_ns for p in before}
    assert any("finished; nothing to do" in line for line in said)


def test_quick_is_labeled_and_rows_can_be_chosen(small, tmp_path, capsys):
    options = ("--quick", "--rows", "small-p4cnn", "--parallel", "jit", "--report", "none")
    assert main(["table", "rotmnist", *options, "--run", str(tmp_path / "q")]) == 0
    report = (tmp_path / "q" / "report.md").read_text()
    assert "This is the `--quick` version" in report and "small-z2cnn" not in report
    assert "the last of 1 epochs" in report
    assert main(["table", "rotmnist", "--rows", "small-p8cnn"]) == 2
    assert "`rows` of rotmnist are small-z2cnn, small-p4cnn" in capsys.readouterr().err


def test_other_epochs_keep_the_shape_of_the_schedule():
    config = module._config(TABLES["cifar10"].rows[0], Table("cifar10", epochs=35))
    assert config.epochs == 35 and config.milestones == (20, 25, 30)
    config = module._config(TABLES["cifar10"].rows[0], Table("cifar10", epochs=1))
    assert config.milestones == () and config.schedule == "constant"


def test_other_options_are_noticed_before_anything_is_trained(small, tmp_path):
    options = Table(
        "rotmnist", parallel="jit", report="none", run=tmp_path, rows=("small-p4cnn",), epochs=1
    )
    table(options, lambda line: None)
    every = dataclasses.replace(options, rows=(), epochs=2)
    with pytest.raises(ValueError, match=r"small-p4cnn.seed0 was begun with other options"):
        table(every, lambda line: None)
    assert not (tmp_path / "small-z2cnn").exists()
    # What is finished stays in the table when other rows are added.
    written = table(dataclasses.replace(options, rows=("small-z2cnn",)), lambda line: None)
    assert "small-z2cnn" in written and "small-p4cnn" in written


def test_a_row_that_diverges_does_not_end_the_table(small, tmp_path, monkeypatch):
    text, config = PRESETS["small-z2cnn"]
    wild = dataclasses.replace(config, learning_rate=3e38)
    monkeypatch.setitem(PRESETS, "small-z2cnn", (text, wild))
    options = Table("rotmnist", parallel="jit", report="none", run=tmp_path, epochs=1)
    with pytest.raises(TrainingDivergedError, match="small-z2cnn diverged; the other rows are"):
        table(options, lambda line: None)
    assert "small-p4cnn" in (tmp_path / "report.md").read_text()


def test_the_names_of_the_command_are_the_tables():
    assert set(get_args(Name)) == set(TABLES)


CLASSES = {"emnist/balanced": 47}
_NAMES = [field.name for field in dataclasses.fields(Config)]
OF_THE_NETWORK = _NAMES[_NAMES.index("model") : _NAMES.index("dataset")]


@pytest.mark.one_in(6)
@pytest.mark.parametrize("name", TABLES)
def test_every_row_is_a_recipe_with_a_network(name):
    """The recipe's network, and that of the quick version, can be built."""
    published = TABLES[name]
    built = set()
    for row in published.rows:
        small = not published.quick_rows or row.preset in published.quick_rows
        for config in (row.config, *([published.quick(row.config)] if small else [])):
            channels = 3 if config.dataset.startswith("cifar") else 1
            classes = CLASSES.get(config.dataset, 10)
            network = tuple(getattr(config, name) for name in OF_THE_NETWORK)
            if (network, channels, classes) in built:
                continue
            built.add((network, channels, classes))
            model = nnx.eval_shape(
                lambda c=config, k=classes, i=channels: build_model(c, classes=k, in_features=i)
            )
            assert parameter_count(nnx.state(model, nnx.Param)) > 1000


COUNTS = {
    "rotmnist-z2cnn": 21_750,
    "rotmnist-p4cnn": 24_680,
    "rotmnist-p4cnn-rp": 21_750,
    "lenet-z2": 216_212,
    "lenet-p4": 216_122,
    "lenet-p4m": 216_465,
    "early-plain": 21_750,
    "early-p4": 24_680,
    "early-early": 25_170,
    "letters-plain": 110_909,
    "letters-p4": 108_411,
    "letters-early": 111_416,
    "upright-cnn": 103_690,
    "upright-c4": 102_970,
    "cifar10-allcnn-z2": 1_372_254,
    "cifar10-allcnn-p4": 1_371_006,
    "cifar10plus-allcnn-p4m": 1_219_678,
    "cifar10-resnet44-z2": 2_639_434,
    "cifar10plus-resnet44-p4m": 2_622_878,
    "cifar10-resnet26-z2": 7_236_046,
    "cifar10-resnet26-p4m": 7_173_110,
}


@pytest.mark.parametrize("preset", COUNTS)
def test_recipes_have_the_published_number_of_parameters(preset):
    config = PRESETS[preset][1]
    channels = 3 if config.dataset.startswith("cifar") else 1
    classes = CLASSES.get(config.dataset, 10)
    model = nnx.eval_shape(lambda: build_model(config, classes=classes, in_features=channels))
    assert sum(p.size for p in jax.tree.leaves(nnx.state(model, nnx.Param))) == COUNTS[preset]


def test_the_quick_rows_of_cifar10_are_equal_in_parameters():
    counts = []
    for name in TABLES["cifar10"].quick_rows:
        config = TABLES["cifar10"].quick(PRESETS[name][1])
        model = nnx.eval_shape(lambda c=config: build_model(c, classes=10, in_features=3))
        counts.append(parameter_count(nnx.state(model, nnx.Param)))
    assert abs(counts[1] / counts[0] - 1) < 0.1, counts


def test_supports_can_move_in_the_few_steps_of_the_quick_version():
    rows = {row.preset: row.config for row in TABLES["partial"].rows}
    quick = TABLES["partial"].quick
    assert rows["cifar10-ck-so2-4-partial"].support_rate == 0.1  # as published
    assert quick(rows["cifar10-ck-so2-4-partial"]).support_rate == 10
    for name in ("cifar10-ck-so2-4", "mnist6-180-so2-partial", "mnist6-m-mirror-partial"):
        assert quick(rows[name]).support_rate == rows[name].support_rate


def test_rows_of_ones_own_images_need_them(tmp_path, monkeypatch):
    own = "symmetry-steel-plain"
    options = Table(name="how-much-symmetry", rows=(own,), run=tmp_path / "t")
    with pytest.raises(ValueError, match=f"`rows` {own} needs a copy of its images: add --data"):
        table(options, lambda line: None)
    with pytest.raises(ValueError, match="`data` is for tables of your own images, not for rotmn"):
        table(Table(name="rotmnist", data=tmp_path), lambda line: None)
    assert not (tmp_path / "t").exists()

    begun, said = [], []
    monkeypatch.setattr(module, "check_begun", lambda config, path: begun.append(config))
    monkeypatch.setattr(module, "train_seeds", lambda *given: said.append("trained"))
    monkeypatch.setattr(module, "_finished", lambda *given: [])
    with pytest.raises(TrainingDivergedError):
        table(dataclasses.replace(options, rows=()), said.append)
    assert "left out without --data" in said[0] and own in said[0]
    assert {config.dataset for config in begun} == {"rotated_mnist/generated", "mnist6_180"}

    begun.clear()
    options = dataclasses.replace(options, rows=(own, "symmetry-mnist6-exact"), data=tmp_path)
    with pytest.raises(TrainingDivergedError):
        table(options, said.append)
    assert [config.data for config in begun] == [tmp_path, None]


@pytest.mark.parametrize(("name", "channels"), [("own-images", 3), ("own-volumes", 1)])
def test_networks_for_ones_own_images_are_about_equal_in_parameters(name, channels):
    counts = [
        count_parameters(row.config, classes=5, in_features=channels) for row in TABLES[name].rows
    ]
    assert max(counts) < 1.2 * min(counts), counts


def test_a_table_of_ones_own_images(tmp_path):
    with pytest.raises(ValueError, match="`data` is missing: own-images is trained on your own"):
        table(Table(name="own-images", run=tmp_path / "t"), lambda line: None)
    rng = np.random.default_rng(0)
    labels = np.array([0, 0, 0, 1] * 15)  # a class of three quarters
    images = rng.integers(0, 50, (60, 24, 24), np.uint8) + 150 * labels[:, None, None]
    arrays = {"images": images.astype(np.uint8), "labels": labels}
    np.savez(tmp_path / "own.npz", **arrays)
    options = Table(
        name="own-images",
        rows=("folder-plain",),
        data=tmp_path / "own.npz",
        image_size=16,
        epochs=1,
        report="none",
        run=tmp_path / "t",
    )
    table(options, lambda line: None)
    (row,) = json.loads((tmp_path / "t/table.json").read_text())["rows"]
    results = json.loads((tmp_path / "t/folder-plain/seed0/results.json").read_text())
    assert results["input"]["shape"] == [16, 16, 1]
    by_class = results["by_class"]["recall"]
    assert row["class-mean accuracy"] == f"{100 * np.mean(by_class):.2f}"
    assert row["AUC"] == f"{100 * results['auc']:.2f}"
    assert row["worst accuracy over angles"] == "-"  # without a report
    assert "published" not in row
