"""Early stopping keeps the best validation epoch; the moving average is what is evaluated."""

import dataclasses
import shutil

import chex
import jax
import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from train.commands.evaluate import Evaluate, evaluate
from train.data.splits import Split
from train.loop import resume, train
from train.report.markdown import protocol
from train.run import session as session_module
from train.run.early_stopping import best_epoch, has_lost_patience
from train.run.metrics import validation_figures
from train.run.session import prepare_session
from train.run.trainer import Trainer
from train.run_folder.checkpoint import load_tree
from train.run_folder.folder import Run
from train.seeds import train_seeds


def test_the_best_epoch_is_the_first_of_the_lowest_error():
    records = [{"epoch": i, "validation_error": e} for i, e in enumerate((0.5, 0.2, 0.3, 0.2), 1)]
    assert best_epoch(records) == 2
    assert best_epoch([*records, {"epoch": 5}]) == 2
    assert best_epoch([{"epoch": 1}]) is None


FIGURES = {
    "validation_error": (0.1, 0.2, 0.3, 0.4),
    "validation_class_mean_accuracy": (0.5, 0.7, 0.7, 0.1),
    "validation_auc": (float("nan"), 0.5, 0.9, 0.8),
    "validation_loss": (float("inf"), 3.0, 2.0, 1.0),
}


def test_each_metric_chooses_its_epoch():
    records = [
        {"epoch": i + 1} | {name: values[i] for name, values in FIGURES.items()} for i in range(4)
    ]
    chosen = {"accuracy": 1, "class-mean": 2, "auc": 3, "loss": 4}
    for metric, epoch in chosen.items():
        assert best_epoch(records, metric) == epoch
        assert has_lost_patience(records, 2, metric) == (epoch <= 2)
    assert best_epoch([{"epoch": 1, "validation_error": 0.5}], "auc") is None


def test_validation_figures_are_those_of_the_metric(smaller):
    config = dataclasses.replace(smaller, validation=40, patience=2)
    for metric, name in (("class-mean", "class_mean_accuracy"), ("auc", "auc"), ("loss", None)):
        session = prepare_session(dataclasses.replace(config, metric=metric))
        state, held_out = session.init(), session.data.validation
        figures = validation_figures(session, state)
        assert figures.keys() == {"loss", "error", *([name] if name else [])}
        logits = session.trainer.logits(state, held_out.image)
        if metric == "class-mean":
            expected = balanced_accuracy_score(held_out.label, logits.argmax(-1))
            assert figures[name] == pytest.approx(expected)
        elif metric == "auc":
            known = np.unique(held_out.label)
            areas = [
                roc_auc_score(held_out.label == c, jax.nn.softmax(logits)[:, c]) for c in known
            ]
            assert figures[name] == pytest.approx(np.mean(areas))


def test_validation_images_of_one_class_have_no_auc(smaller, monkeypatch):
    real = session_module.load_data

    def of_one_class(*args, **options):
        data = real(*args, **options)
        same = Split(data.validation.image, np.zeros_like(data.validation.label))
        return dataclasses.replace(data, validation=same)

    monkeypatch.setattr(session_module, "load_data", of_one_class)
    config = dataclasses.replace(smaller, validation=40, patience=2, metric="auc")
    with pytest.raises(ValueError, match="`metric` auc needs validation images of two classes"):
        prepare_session(config)
    prepare_session(dataclasses.replace(config, metric="class-mean"))


def test_a_run_keeps_the_best_epoch_of_its_metric(smaller, monkeypatch, tmp_path):
    """The figures are made up: the error would choose the first epoch."""
    areas = iter((0.6, 0.9, 0.8))
    monkeypatch.setattr(
        "train.run.seed_run.validation_figures",
        lambda session, state: {"loss": 1.0, "error": 1.0, "auc": next(areas)},
    )
    config = dataclasses.replace(
        smaller, validation=40, patience=3, metric="auc", epochs=3, train_images=32
    )
    said = []
    run = train(config, tmp_path / "run", said.append)
    assert run.results["selected_epoch"] == 2
    assert [record["validation_auc"] for record in run.metrics()] == [0.6, 0.9, 0.8]
    assert any("validation AUC 0.8000" in line for line in said)
    assert any("epoch 2 had the highest validation AUC" in line for line in said)
    text = "epoch 2 of 3, that of the highest validation AUC; "
    assert text in protocol(config, run.results)
    stopped = dataclasses.replace(config, epochs=9)
    assert "(stopped after 3 epochs without a higher one)" in protocol(stopped, run.results)


@pytest.fixture
def stopping(smaller, monkeypatch):
    """The validation errors are made up, so that it is known where to stop."""
    errors = {1: 0.9, 2: 0.4, 3: 0.5, 4: 0.6, 5: 0.1}
    real = Trainer.evaluate

    def evaluate(trainer, state, split, title=None):
        figures = real(trainer, state, split, title)
        if len(split.label) == 40:
            figures["error"] = errors[int(state.step) // trainer.steps_per_epoch]
        return figures

    monkeypatch.setattr(Trainer, "evaluate", evaluate)
    return dataclasses.replace(
        smaller,
        validation=40,
        patience=2,
        epochs=5,
        test_images=24,
        train_images=64,
        report="quick",
    )


def arrays(run: Run):
    state = prepare_session(run.config).steps.init()
    return load_tree(run.path / "model", (state.params, state.stats))


def test_it_stops_and_keeps_the_best_epoch(stopping, tmp_path, capsys):
    run = train(stopping, tmp_path / "stopped", lambda line: None)
    cut = Run(shutil.copytree(run.path, tmp_path / "cut"))
    assert [r["epoch"] for r in run.metrics()] == [1, 2, 3, 4]
    assert run.results["epochs"] == 4 and run.results["selected_epoch"] == 2
    best = "epoch 2 of 4, that of the lowest validation error"
    stopped = " (stopped after 2 epochs without a lower one)"
    assert best + stopped in (run.path / "report.md").read_text()
    to_the_end = protocol(dataclasses.replace(stopping, epochs=4), run.results)
    assert best in to_the_end and stopped not in to_the_end
    # The same parameters as a run that ends there.
    two = dataclasses.replace(stopping, patience=None, epochs=2)
    expected = train(two, tmp_path / "two", lambda line: None)
    chex.assert_trees_all_equal(arrays(run), arrays(expected))
    assert run.results["test_loss"] == expected.results["test_loss"]
    assert evaluate(Evaluate(run.path))["test_loss"] == pytest.approx(run.results["test_loss"])
    # An interruption changes nothing.
    (cut.path / "results.json").unlink()
    shutil.rmtree(cut.path / "checkpoints" / "000004")
    figures = evaluate(Evaluate(cut.path))
    assert figures["selected_epoch"] == 2 and figures["unfinished"] == "epoch 3 of 5"
    assert figures["test_loss"] == pytest.approx(run.results["test_loss"])
    said = "using epoch 2, that of the lowest validation error up to epoch 3 of 5\n"
    assert said in capsys.readouterr().out
    for number in (4, 3):  # the best epoch is in none of them
        for folder in (cut.path / "checkpoints").glob(f"{number:06d}"):
            (folder / "manifest.json").write_text("")
    resume(cut.path, log=lambda line: None)
    assert cut.results["selected_epoch"] == 2
    assert [r["epoch"] for r in cut.metrics()] == [1, 2, 3, 4]
    chex.assert_trees_all_equal(arrays(cut), arrays(run))


def test_the_average_follows_the_parameters(smaller):
    config = dataclasses.replace(smaller, average=0.9)
    session = prepare_session(config)
    state = session.init()
    expected = jax.tree.map(np.array, state.average)
    chex.assert_trees_all_equal(expected, jax.tree.map(np.array, state.params))
    for step, (state, _) in enumerate(session.trainer.epoch(state, 1)):  # noqa: B020
        decay = min(0.9, (1 + step) / (10 + step))
        expected = jax.tree.map(lambda a, p, d=decay: d * a + (1 - d) * p, expected, state.params)
        chex.assert_trees_all_close(state.average, expected, atol=1e-6)
        expected = jax.tree.map(np.array, expected)
    assert state.weights is state.average
    plain = prepare_session(smaller)
    *_, (other, _) = plain.trainer.epoch(plain.init(), 1)
    chex.assert_trees_all_equal(other.params, state.params)


@pytest.mark.slow
def test_a_run_keeps_the_average(smaller, tmp_path):
    config = dataclasses.replace(smaller, report="quick")
    kept, plain = (
        train(dataclasses.replace(config, average=a), tmp_path / str(a), lambda line: None)
        for a in (0.5, None)
    )
    assert kept.results["test_loss"] != plain.results["test_loss"]
    assert "averaged with decay 0.5" in (kept.path / "report.md").read_text()
    again = evaluate(Evaluate(kept.path))
    assert again["test_loss"] == pytest.approx(kept.results["test_loss"], rel=1e-6)


@pytest.mark.slow
def test_seeds_that_stop_at_different_epochs(smaller, monkeypatch, tmp_path):
    """Each keeps its own best epoch, also when the run is interrupted between the two ends."""
    errors = {0: (0.4, 0.5, 0.6, 0.1, 0.1), 1: (0.9, 0.4, 0.6, 0.7, 0.1)}
    seen = []
    real_calibrate, real = Trainer.calibrate, Trainer.evaluate

    def calibrate(trainer, state, which=0, title=None):
        seen.append(trainer.seeds[which])
        return real_calibrate(trainer, state, which, title)

    def evaluate(trainer, state, split, title=None):
        figures = real(trainer, state, split, title)
        if len(split.label) == 40:
            epoch = int(state.step) // trainer.steps_per_epoch
            figures["error"] = errors[seen[-1]][epoch - 1]
        return figures

    monkeypatch.setattr(Trainer, "calibrate", calibrate)
    monkeypatch.setattr(Trainer, "evaluate", evaluate)
    config = dataclasses.replace(
        smaller,
        # Plain gradient descent: Adam would divide rounding errors of tiny gradients by themselves.
        optimizer="sgd",
        learning_rate=0.01,
        validation=40,
        patience=2,
        epochs=5,
        test_images=24,
        train_images=32,
        seeds=2,
    )
    runs = train_seeds(config, tmp_path / "run", lambda line: None)
    for _ in range(2):
        assert [len(run.metrics()) for run in runs] == [3, 4]
        assert [run.results["selected_epoch"] for run in runs] == [1, 2]
        # As if killed after epoch 3, when the first has stopped and the second has not.
        for run in runs:
            (run.path / "results.json").unlink()
            (run.path / "checkpoints" / "000004" / "manifest.json").write_text("")
        runs = train_seeds(config, tmp_path / "run", lambda line: None)
    for run, epochs in zip(runs, (1, 2), strict=True):
        alone = dataclasses.replace(run.config, patience=None, epochs=epochs)
        expected = train(alone, tmp_path / f"{epochs}-{run.config.seed}", lambda line: None)
        # Within what rounding makes of maxima of equal numbers: less than an epoch does.
        chex.assert_trees_all_close(arrays(run), arrays(expected), atol=5e-3)
