"""Whole runs: the folder they leave, what can be done with it, and what an interruption costs."""

import dataclasses
import shutil

import jax.export
import numpy as np
import pytest
from PIL import Image

from tests.train.pages import Parsed
from tests.train.runs import assert_same_bits
from train.__main__ import main
from train.commands.evaluate import Evaluate, evaluate
from train.commands.predict import Predict, predict
from train.data.digits import load_digits
from train.data.image_files import read_image
from train.errors import TrainingDivergedError
from train.loop import resume, train
from train.run.predictor import load_predictor
from train.run.session import prepare_session
from train.run_folder.checkpoint import load_tree
from train.run_folder.folder import Run


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    config = dataclasses.replace(tiny, validation=40, angles=None)
    said = []
    run = train(config, tmp_path_factory.mktemp("runs") / "finished", said.append)
    return run, run.results, said


@pytest.fixture(scope="module")
def whole(smaller, tmp_path_factory):
    """A run of two epochs, to be left as it is."""
    return train(smaller, tmp_path_factory.mktemp("runs") / "whole", lambda line: None)


def test_the_run_folder_holds_everything(finished):
    run, _, said = finished
    names = {p.name for p in run.path.iterdir()}
    assert {
        "config.json", "environment.json", "metrics.jsonl", "results.json", "report.md",
        "tensorboard", "checkpoints", "model", "learning_curves.png", "predictions.png",
        "accuracy_against_angle.png", "filters.png", "report.html",
    } <= names  # fmt: skip
    assert not [name for name in names if name.endswith(".tmp")]
    records = run.metrics()
    assert [r["epoch"] for r in records] == [1, 2] and [r["step"] for r in records] == [6, 12]
    assert all(np.isfinite(list(r.values())).all() for r in records)
    assert "validation_error" in records[0]
    assert list((run.path / "tensorboard").glob("events.out.tfevents.*"))
    assert any("epoch 2/2" in line for line in said)
    assert not [line for line in said if "warning" in line]
    for picture in run.path.glob("*.png"):
        with Image.open(picture) as image:
            assert image.width > 200 and np.asarray(image.convert("L")).std() > 5, picture


def test_the_report_states_figures_and_protocol(finished):
    run, results, _ = finished
    report = (run.path / "report.md").read_text()
    assert f"{100 * results['test_error']:.2f} %" in report
    for words in ("stand-in data", "96 training", "40 validation", "40 test", "last of 2 epochs"):
        assert words in report
    for picture in run.path.glob("*.png"):
        assert f"]({picture.name})" in report


def test_the_group_convolutions_are_invariant_after_training(finished):
    _, results, _ = finished
    assert results["symmetry"]["group"] == "P4" and results["invariance_images"] == 40
    assert max(results["invariance_error_at_element"].values()) < 1e-5
    # A quarter turn is exact, so accuracy against angle repeats every 90 degrees.
    angles = results["angles"]
    assert angles == [11.25 * i for i in range(33)]
    accuracy = dict(zip(angles, results["accuracy_at_angle"], strict=True))
    assert all(abs(accuracy[a] - accuracy[a + 90]) < 0.03 for a in angles if a + 90 <= 360)
    for key in ("invariance_error_at_angle", "invariance_error_at_angle_untrained"):
        error = dict(zip(angles, results[key], strict=True))
        assert all(error[a] < 1e-5 for a in (0, 90, 180, 270, 360))
        assert 0.01 < error[45] < 2


def test_the_report_of_a_finished_run_can_be_written_again(finished, tmp_path, capsys):
    run, results, _ = finished
    copy = Run(shutil.copytree(run.path, tmp_path / "copy"))
    written = {"report.md", "report.html", *(path.name for path in run.path.glob("*.png"))}
    for name in written:
        (copy.path / name).unlink()
    assert main(["report", str(copy.path)]) == 0
    assert str(copy.path / "report.md") in capsys.readouterr().out
    for name in written:
        assert (copy.path / name).read_bytes() == (run.path / name).read_bytes(), name
    assert copy.results == results
    (copy.path / "report.html").unlink()  # as if killed before it was written
    assert main(["--resume", str(copy.path)]) == 0
    said = capsys.readouterr().out
    assert "report.html was missing" in said and "nothing to do" in said
    assert (copy.path / "report.html").read_bytes() == (run.path / "report.html").read_bytes()


def test_evaluate_gives_the_figures_of_the_run_again(finished, capsys):
    run, results, _ = finished
    figures = evaluate(Evaluate(run.path))
    assert figures["test_error"] == results["test_error"]
    assert f"{100 * results['test_error']:.2f} %" in capsys.readouterr().out
    validation = evaluate(Evaluate(run.path, split="validation"))
    assert validation["error"] == pytest.approx(run.metrics()[-1]["validation_error"])


def test_predict_reads_image_files_as_the_network_saw_them(finished, tmp_path, capsys):
    run, _, _ = finished
    image = load_digits()[1].image[:3]
    files = [tmp_path / f"{i}.png" for i in range(3)]
    for path, x in zip(files, image, strict=True):
        Image.fromarray(x[..., 0]).save(path)
    probabilities = predict(Predict(run.path, tuple(files)))
    session = prepare_session(run.config)
    state = session.steps.init()
    params, stats = load_tree(run.path / "model", (state.params, state.stats))
    state = dataclasses.replace(state, params=params, stats=stats)
    logits = session.trainer.logits(state, image)
    expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    assert probabilities.shape == expected.shape == (3, 10)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-4)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{files[0]}: {expected[0].argmax()} (")


PAPER = np.full((60, 40), 250, np.uint8)
PAPER[10:50, 15:25] = 80
TRANSPARENT = np.zeros((60, 40, 2), np.uint8)
TRANSPARENT[10:50, 15:25] = 255  # white ink on nothing
PICTURES = {
    **{mode: Image.fromarray(PAPER).convert(mode) for mode in ("L", "RGB", "RGBA", "P", "LA")},
    "1": Image.fromarray(PAPER // 200 * 255).convert("1"),
    "CMYK": Image.fromarray(PAPER).convert("CMYK"),
    "16 bits": Image.fromarray(PAPER.astype(np.uint16) * 257),
    "float": Image.fromarray(PAPER.astype(np.float32) / 255),
    "transparent": Image.fromarray(TRANSPARENT),
    "light on dark": Image.fromarray(255 - PAPER),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_images_of_every_mode_and_either_ink(tmp_path, kind):
    """Strokes on paper, larger than the network's input and not square."""
    path = tmp_path / ("x.tif" if kind in ("CMYK", "float") else "x.png")
    PICTURES[kind].save(path)
    read = read_image(path, (28, 28, 1))
    assert read.shape == (28, 28, 1) and read.dtype == np.uint8
    assert read[14, 14, 0] > 150, "the stroke is light"
    assert read[14, 0, 0] < 20 and read[0, 14, 0] < 20, "the ground is dark, out to the border"


def test_photographs_are_not_inverted(tmp_path):
    bright = np.full((32, 32, 3), (250, 200, 240), np.uint8)
    Image.fromarray(bright).save(tmp_path / "x.png")
    np.testing.assert_array_equal(read_image(tmp_path / "x.png", (32, 32, 3)), bright)


def test_an_exported_network_gives_the_probabilities_of_predict(finished, tmp_path, capsys):
    run, _, _ = finished
    image = load_digits()[1].image[:3]
    out = tmp_path / "network"
    assert main(["export", str(run.path), "--out", str(out)]) == 0
    assert str(out) in capsys.readouterr().out
    program = jax.export.deserialize(out.read_bytes())
    logits = load_predictor(run)(image)
    np.testing.assert_allclose(program.call(image), jax.nn.softmax(logits), atol=1e-5)
    assert program.call(image[:1]).shape == (1, 10)
    onnxruntime = pytest.importorskip("onnxruntime", reason="pip install onnxruntime")
    pytest.importorskip("onnx", reason="pip install 'gconv_jax[onnx]'")
    assert main(["export", str(run.path), "--format", "onnx"]) == 0
    assert "onnxruntime.InferenceSession" in capsys.readouterr().out
    session = onnxruntime.InferenceSession(run.path / "model.onnx")
    (found,) = session.run(None, {"x": np.asarray(image)})
    np.testing.assert_allclose(found, jax.nn.softmax(logits), atol=1e-5)


def test_a_file_that_is_no_image_is_named(finished, tmp_path):
    run, _, _ = finished
    (tmp_path / "text.png").write_text("not an image")
    for path, message in (
        (tmp_path / "text.png", "cannot read .*text.png as an image"),
        (tmp_path / "absent.png", "no such image file: .*absent.png"),
        (tmp_path, "cannot read .* as an image"),
    ):
        with pytest.raises(ValueError, match=message):
            predict(Predict(run.path, (path,)))


def test_an_image_too_large_to_be_true_is_refused(tmp_path, monkeypatch):
    Image.fromarray(PAPER).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match=r"cannot read .*bomb.png as an image: .* bomb"):
        read_image(tmp_path / "bomb.png", (28, 28, 1))


def test_a_start_that_fails_leaves_nothing_behind(tiny, tmp_path):
    with pytest.raises(ValueError, match="`validation` must leave images to train on"):
        train(dataclasses.replace(tiny, validation=5000), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_finished_run_is_left_alone_and_can_be_extended(smaller, whole, tmp_path):
    config = dataclasses.replace(smaller, epochs=1)
    run = train(config, tmp_path / "short", lambda line: None)
    results, said = run.results, []
    assert resume(run.path, log=said.append).results == results
    assert "finished; nothing to do" in said[-1]
    resume(run.path, epochs=2, log=said.append)
    assert_same_bits(run, whole)
    assert results["epochs"] == 1 and run.results["epochs"] == 2
    with pytest.raises(ValueError, match="`epochs` must be at least the 2 that are done"):
        resume(run.path, epochs=1)


@pytest.mark.parametrize(
    ("steps", "what"),
    [
        (6, "the loss is (nan|inf)"),
        (1, "the test loss is nan"),
    ],  # the only step comes after its loss
    ids=["in training", "in the last step"],
)
def test_a_loss_that_is_not_finite_stops_with_the_step_and_a_remedy(smaller, tmp_path, steps, what):
    config = dataclasses.replace(smaller, learning_rate=3e38, train_images=16 * steps, epochs=1)
    with pytest.raises(
        TrainingDivergedError, match=rf"{what} at step \d; try a smaller --learning"
    ):
        train(config, tmp_path / "run", lambda line: None)
    assert Run.open(tmp_path / "run").results is None


def test_a_damaged_checkpoint_costs_one_epoch(whole, tmp_path):
    run = Run(shutil.copytree(whole.path, tmp_path / "run"))
    (run.path / "results.json").unlink()
    newest = run.path / "checkpoints" / "000002" / "manifest.json"
    newest.write_text("")
    said = []
    resume(run.path, log=said.append)
    assert "the checkpoint of epoch 2 is damaged" in said[0]
    assert "continuing after epoch 1" in said[1]
    assert [r["epoch"] for r in run.metrics()] == [1, 2]
    assert_same_bits(run, whole)


def test_compare_puts_finished_runs_side_by_side(finished, tmp_path, capsys):
    run, results, _ = finished
    out, other = tmp_path / "comparison", shutil.copytree(run.path, tmp_path / "other")
    assert main(["compare", str(run.path), str(other), "--out", str(out)]) == 0
    assert capsys.readouterr().out.count(f"{100 * results['test_error']:.2f} %") == 2
    report = (out / "report.md").read_text()
    for picture in ("learning_curves.png", "accuracy_against_angle.png"):
        assert (out / picture).is_file() and f"]({picture})" in report
    page = Parsed((out / "compare.html").read_text())
    assert [n["name"].split("/")[-1] for n in page.data["networks"]] == ["finished", "other"]
    assert len(page.links) == 3 and "angle" in page.ids
    assert main(["compare", str(run.path), str(run.path)]) == 2
    assert "`runs` must be different run folders" in capsys.readouterr().err
    unfinished = Run.create(run.config, tmp_path / "unfinished")
    assert main(["compare", str(unfinished.path)]) == 2
    assert "is not finished and has no checkpoint yet; continue" in capsys.readouterr().err
