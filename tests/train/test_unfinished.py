"""A run that is not finished can be used as it stands, and is marked as such."""

import dataclasses
import shutil

import numpy as np
import pytest
from PIL import Image

from train.__main__ import main
from train.commands.evaluate import Evaluate, evaluate
from train.loop import train
from train.run.predictor import load_predictor
from train.run_folder.folder import Run


@pytest.fixture(scope="module")
def config(tiny):
    """Batch statistics that want re-estimation, and an average of the parameters."""
    return dataclasses.replace(tiny, average=0.9)


@pytest.fixture(scope="module")
def shorter(config, tmp_path_factory):
    """A run that ends after the first epoch."""
    path = tmp_path_factory.mktemp("runs") / "shorter"
    return train(dataclasses.replace(config, epochs=1), path, lambda line: None)


@pytest.fixture
def unfinished(config, shorter, tmp_path):
    """A run of two epochs that was killed after the first one."""
    run = Run(shutil.copytree(shorter.path, tmp_path / "unfinished"))
    for name in ("results.json", "report.md"):
        (run.path / name).unlink()
    shutil.rmtree(run.path / "model")
    run.write("config.json", config.to_json())
    return run


def test_it_has_the_figures_that_it_would_end_with(unfinished, shorter, capsys):
    figures = evaluate(Evaluate(unfinished.path))
    said = capsys.readouterr().out
    assert f"{unfinished.path} is not finished: using epoch 1 of 2, with batch statis" in said
    assert "(epoch 1 of 2) |" in said
    assert figures["test_loss"] == shorter.results["test_loss"]
    assert figures["unfinished"] == "epoch 1 of 2" and "unfinished" not in shorter.results
    assert not (unfinished.path / "results.json").exists()


def test_it_predicts_and_is_exported_as_it_stands(unfinished, shorter, tmp_path, capsys):
    image = np.random.default_rng(0).integers(0, 256, (28, 28, 1), np.uint8)
    Image.fromarray(image[..., 0]).save(tmp_path / "x.png")
    np.testing.assert_array_equal(
        load_predictor(unfinished)(image[None]), load_predictor(shorter)(image[None])
    )
    assert main(["predict", str(unfinished.path), str(tmp_path / "x.png")]) == 0
    assert main(["export", str(unfinished.path), "--out", str(tmp_path / "network")]) == 0
    assert capsys.readouterr().out.count("is not finished: using epoch 1 of 2") == 3
    assert (tmp_path / "network").is_file()


def test_reports_say_that_it_is_not_finished(unfinished, shorter, tmp_path, monkeypatch, capsys):
    assert main(["report", str(unfinished.path)]) == 0
    note = "not finished: epoch 1 of 2"
    report = (unfinished.path / "report.md").read_text()
    assert report.startswith(f"# p4cnn on digits, {note}\n")
    assert "epoch 1 of 2, of a run that is not finished" in report
    assert "test images are read for this report" in report
    page = (unfinished.path / "report.html").read_text()
    assert f"<h1>p4cnn on digits, {note}</h1>" in page
    out = tmp_path / "comparison"
    assert main(["compare", str(unfinished.path), str(shorter.path), "--out", str(out)]) == 0
    assert "| p4cnn (epoch 1 of 2) | " in capsys.readouterr().out
    assert "| p4cnn (epoch 1 of 2) | " in (out / "report.md").read_text()


@pytest.mark.slow
def test_the_middle_of_an_epoch(config, tmp_path, monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    few = dataclasses.replace(config, checkpoint_steps=2)
    with monkeypatch.context() as patch:
        patch.setattr("train.run.seed_run.SeedRun.record", stop)  # the end of the first epoch
        with pytest.raises(KeyboardInterrupt):
            train(few, tmp_path / "run", lambda line: None)
    assert main(["report", str(tmp_path / "run")]) == 0
    assert "using epoch 0 of 2 and 4 steps, with" in capsys.readouterr().out


def test_without_a_checkpoint_there_is_nothing_to_use(config, tmp_path, capsys):
    run = Run.create(config, tmp_path / "a run")
    for command in ("evaluate", "report", "export", "compare"):
        assert main([command, str(run.path)]) == 2
        error = capsys.readouterr().err
        assert "is not finished and has no checkpoint yet; continue it with `python" in error
        assert f"--resume '{run.path}'`" in error


def test_a_damaged_model_says_how_to_write_it_again(shorter, tmp_path, capsys):
    run = Run(shutil.copytree(shorter.path, tmp_path / "run"))
    (run.path / "model" / "arrays.npz").write_bytes(b"")
    for command in ("evaluate", "export"):
        assert main([command, str(run.path)]) == 2
        error = capsys.readouterr().err
        assert "model is damaged (1 of 1 files changed, e.g. arrays.npz); remove" in error
