"""Runs of a model of the user's own: from training to prediction, with its file kept."""

import dataclasses
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

from gconv_jax.models import load_pretrained
from tests.train.own_nets import Linen, Plain
from tests.train.runs import final_arrays
from train.__main__ import _recipe_of
from train.commands.export import Export, export
from train.config import Config
from train.data.volumes import require_dimension
from train.loop import resume, train
from train.recipes.typed_options import configure
from train.report.first_filters import first_filters
from train.report.markdown import shown_sections
from train.run.invariance import symmetry
from train.run.predictor import load_predictor
from train.run.saved_predictor import open_predictor
from train.run_folder.folder import Run
from train.run_folder.saved_network import open_run
from train.seeds import train_seeds
from train.steps.build_model import GROUPS, build_model

NETS = Path(__file__).with_name("own_nets.py")


@pytest.fixture
def nets(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copy(NETS, tmp_path / "nets.py"))


@pytest.fixture
def few(smaller) -> Config:
    changes = {"group": None, "width": 2, "train_images": 32, "epochs": 1}
    return dataclasses.replace(smaller, model="nets.py:Linen", **changes)


def test_a_run_goes_on_with_the_file_that_it_began_with(few, nets, tmp_path, capsys, monkeypatch):
    config = dataclasses.replace(few, model_args=("rate=0.1",))
    run = train(config, tmp_path / "run", lambda line: None)
    assert run.config.model == f"{nets}:Linen" and run.config.model_args == ("rate=0.1",)
    assert run.began_as(config) and run.results["model"] == "Linen rate=0.1"
    assert not run.began_as(dataclasses.replace(config, model_args=()))
    image = np.random.default_rng(0).integers(0, 256, (2, 28, 28, 1)).astype(np.uint8)
    features = load_predictor(run).batch_features(image)
    assert capsys.readouterr().err == ""
    assert features.shape == (2, 2 + 10), "and logits"
    nets.write_text(NETS.read_text().replace("nn.Dense(self", "nn.Dense(1 + self"))
    assert load_predictor(run).params is not None
    assert f"{nets}, has changed since the run began: {run.path}" in capsys.readouterr().err
    nets.unlink()
    monkeypatch.chdir("/")
    longer = resume(run.path, epochs=2, log=lambda line: None)
    assert "is not there any more: " in capsys.readouterr().err
    assert len(longer.metrics()) == 2 and longer.config.model == f"{nets}:Linen"
    out = tmp_path / "a new" / "folder" / "net.stablehlo"
    export(Export(run.path, out=out), lambda line: None)
    program = jax.export.deserialize(out.read_bytes())
    export(Export(run.path, format="pretrained", out=tmp_path / "saved"), lambda line: None)
    loaded = load_pretrained(tmp_path / "saved", model=Linen(num_classes=10, width=2, rate=0.1))
    logits = load_predictor(longer)(image)
    np.testing.assert_allclose(loaded(image), logits, atol=1e-5 * np.abs(logits).max())
    p = np.asarray(program.call(image))
    np.testing.assert_allclose(p, load_predictor(longer).batch_probabilities(image), atol=1e-5)


def test_seeds_differ_and_other_variables_are_kept(few, nets, tmp_path):
    config = dataclasses.replace(few, model="nets:Plain", seeds=2)
    runs = train_seeds(config, tmp_path / "both", lambda line: None)
    first, second = (final_arrays(run) for run in runs)
    assert any(not np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    counters = [a for a in first if a.dtype == np.int32]
    assert [int(a) for a in counters] == [2], "a call in each of two steps"
    assert (runs[0].path / "own_model.py").read_text() == NETS.read_text()
    assert runs[0].config.model == "nets:Plain"
    saved = tmp_path / "saved"
    export(Export(runs[0].path, format="pretrained", out=saved), lambda line: None)
    own = Plain(classes=10, in_features=1, dtype=None, width=2, rngs=nnx.Rngs(5))
    loaded = load_pretrained(saved, model=own)
    image = np.random.default_rng(0).integers(0, 256, (2, 28, 28, 1)).astype(np.uint8)
    expected = load_predictor(runs[0])(image)
    np.testing.assert_allclose(loaded(image), expected, atol=1e-5 * np.abs(expected).max())
    with pytest.raises(ValueError, match="is a module of the user's own, Plain, and no file has"):
        open_predictor(open_run(saved))


@pytest.mark.parametrize(("model", "message"), [
    ("nets.py:Missing", "has no class or function Missing"),
    ("nets.py:Broken", r"fails on images \[N, 28, 28, 1\]"),
])  # fmt: skip
def test_mistakes_come_before_anything_is_written(few, nets, tmp_path, model, message):
    config = dataclasses.replace(few, model=model, width=None)
    for begin in (train, train_seeds):
        with pytest.raises(ValueError, match=message):
            begin(config, tmp_path / "run", print)
    assert not (tmp_path / "run").exists()


def test_images_too_small_are_named_before_anything_is_written(smaller, own_images, tmp_path):
    for model in ("lenet", "p4cnn"):
        changes = {"model": model, "dataset": "folder", "data": own_images, "image_size": 8}
        config = dataclasses.replace(smaller, **changes, train_images=None, test_images=None)
        for begin in (train, train_seeds):
            with pytest.raises(ValueError, match="`x` must be images "):
                begin(config, tmp_path / "run", print)
        assert not (tmp_path / "run").exists()


def test_without_images_it_is_trained_on_the_digits():
    assert _recipe_of(["--model", "net.py:Net"]) == "digits-p4cnn"
    assert _recipe_of(["--epochs", "3"]) == "digits", "the main job"


def test_volumes_are_named_by_the_group():
    config = Config(model="net.py:Net", dataset="folder", data=Path("v.npz"))
    volumes: Any = SimpleNamespace(volume=(8, 8, 8, 1))
    require_dimension(dataclasses.replace(config, group="z3"), volumes)
    with pytest.raises(ValueError, match=r"v\.npz has volumes: add --group z3 to say that Net"):
        require_dimension(config, volumes)


def test_words_on_the_command_line():
    words = ["--model", "p4-nets.py:Net", "--model-args", "depth=3", "group=p4m", "act=gelu"]
    config = configure("folder-vit", words)
    assert (config.model, config.group) == ("p4-nets.py:Net", "p4m")
    assert config.model_args == ("depth=3", "act=gelu")
    assert config.title == "Net p4m depth=3 act=gelu"
    assert config.width is None and config.blocks is None, "those of the recipe's own network"
    assert symmetry(config) == GROUPS["p4m"]
    assert symmetry(dataclasses.replace(config, group=None)) == GROUPS["z2"]
    assert Config.from_json(config.to_json()) == config
    with pytest.raises(ValueError, match="group=p4m says the group again"):
        configure("digits-p4cnn", [*words, "--group", "p4"])


def test_filters_are_drawn_where_there_are_any():
    given = {"classes": 3, "in_features": 1, "image_shape": (12, 12, 1)}
    models = {
        name: build_model(Config(model=f"{NETS}:{name}"), **given) for name in ("Plain", "Linen")
    }
    assert first_filters(models["Linen"]) is None
    bank, _ = first_filters(models["Plain"])
    assert bank.shape == (3, 3, 1, 3)
    results = {"test_images": 1, "input": {"shape": (12, 12, 1)}}
    titles = [section.title for section in shown_sections(results, NETS.parent)]
    assert "Predictions" in titles and "Filters of the first layer" not in titles


def test_a_run_of_an_earlier_version_has_no_arguments(few, tmp_path):
    run = Run.create(Config(), tmp_path / "run")
    text = (run.path / "config.json").read_text().replace('"model_args": [],', "")
    run.write("config.json", text)
    assert Run.open(run.path).config.model_args == ()
