"""Several seeds in one program are what separate runs are."""

import dataclasses
from pathlib import Path

import chex
import numpy as np
import pytest

from tests.train.runs import final_arrays
from train.__main__ import main
from train.loop import train
from train.run.session import prepare_session
from train.run_folder.folder import Run
from train.seeds import is_seeds, resume_seeds, train_seeds


def assert_close(a: Run, b: Run) -> None:
    for x, y in zip(final_arrays(a), final_arrays(b), strict=True):
        np.testing.assert_allclose(x, y, atol=2e-6, rtol=5e-6)


@pytest.fixture(scope="module")
def config(smaller):
    # Plain gradient descent: Adam would divide rounding errors of tiny gradients by themselves.
    # Few steps, since rounding may decide a maximum, and from then on a network goes its own way.
    return dataclasses.replace(
        smaller, optimizer="sgd", learning_rate=0.01, validation=40, seed=3, augment="jitter"
    )


@pytest.fixture(scope="module")
def together(config, tmp_path_factory):
    path = tmp_path_factory.mktemp("seeds") / "run"
    said = []
    runs = train_seeds(dataclasses.replace(config, seeds=2, report="quick"), path, said.append)
    return path, runs, said


SCAN = pytest.param({"loop": "scan"}, marks=pytest.mark.slow)


@pytest.mark.parametrize("options", [{}, SCAN], ids=str)
def test_two_seeds_at_once_equal_two_runs(config, together, tmp_path, options):
    _, runs, _ = together
    for seed, run in zip((3, 4), runs, strict=True):
        assert run.config.seed == seed and run.config.seeds == 1
        alone = dataclasses.replace(config, seed=seed, **options)
        alone = train(alone, tmp_path / str(seed), lambda line: None)
        assert_close(run, alone)
        for name in ("test_loss", "test_error"):
            assert run.results[name] == pytest.approx(alone.results[name], abs=2e-6)
        for ours, theirs in zip(run.metrics(), alone.metrics(), strict=True):
            for name in ("train_loss", "validation_loss", "train_error"):
                assert ours[name] == pytest.approx(theirs[name], abs=2e-6)
    # A negative control: another seed is another network.
    different = zip(*map(final_arrays, runs), strict=True)
    assert max(np.abs(x - y).max() for x, y in different) > 0.01


P4CNN = {"model": "p4cnn", "group": None}


@pytest.mark.slow
@pytest.mark.parametrize("options", [P4CNN, {"loop": "scan"}, {"memory": "host"}], ids=str)
def test_eight_devices_under_pmap_equal_one_under_jit(config, options):
    """Three steps: after more of them, rounding may decide a maximum."""
    few = dataclasses.replace(config, train_images=48, validation=0, **options)
    states = []
    for parallel in ("jit", "pmap"):
        session = prepare_session(dataclasses.replace(few, parallel=parallel), (3, 4))
        *_, (state, metrics) = session.trainer.epoch(session.init(), 1)
        assert metrics.loss.shape[-1] == 2
        states.append((state.params, state.stats, metrics))
    chex.assert_trees_all_close(*states, atol=2e-5)


@pytest.mark.slow
def test_batch_statistics_of_two_seeds_are_those_of_two_runs(config):
    """LeNet has none."""
    few = dataclasses.replace(config, train_images=48, validation=0, **P4CNN)
    session = prepare_session(few, (3, 4))
    *_, (state, _) = session.trainer.epoch(session.init(), 1)
    for seed, found in zip((3, 4), session.trainer.split(state), strict=True):
        alone = prepare_session(dataclasses.replace(few, seed=seed))
        *_, (expected, _) = alone.trainer.epoch(alone.init(), 1)
        chex.assert_trees_all_close(
            (found.params, found.stats), (expected.params, expected.stats), atol=2e-5
        )


def test_every_seed_has_a_whole_run_folder(together):
    path, runs, said = together
    assert [run.path.name for run in runs] == ["seed3", "seed4"] and is_seeds(path)
    for run in runs:
        names = {p.name for p in run.path.iterdir()}
        assert {"config.json", "metrics.jsonl", "results.json", "report.md", "model"} <= names
        assert main(["evaluate", str(run.path)]) == 0
    assert any("epoch 2/2" in line for line in said)


def test_an_interrupted_run_goes_on_from_what_all_seeds_have(
    config, together, tmp_path, capsys, monkeypatch
):
    _, runs, _ = together
    path, said = tmp_path / "run", []
    many = dataclasses.replace(config, seeds=2)
    for run in train_seeds(many, path, lambda line: None):
        (run.path / "results.json").unlink()
    newest = path / "seed4" / "checkpoints" / "000002"
    newest.rename(newest.with_name("gone"))  # as if killed before it was written
    resumed = resume_seeds(path, log=said.append, raw_dir=tmp_path)
    assert "continuing after epoch 1" in said[0]
    assert [run.config.raw_dir for run in resumed] == [tmp_path] * 2
    for run, other in zip(resumed, runs, strict=True):
        assert [r["epoch"] for r in run.metrics()] == [1, 2]
        assert_close(run, other)
    monkeypatch.chdir(tmp_path)
    elsewhere = dataclasses.replace(many, raw_dir=Path("elsewhere"))
    again = train_seeds(elsewhere, path, said.append)
    assert again[0].results and "nothing to do" in said[-1]
    assert {run.config.raw_dir for run in again} == {tmp_path / "elsewhere"}
    assert main(["--resume", str(path)]) == 0
    assert "over 2 seeds" in capsys.readouterr().out
    assert main(["--resume", str(path), "--data", "x"]) == 2
    assert "`data` is for images of your own" in capsys.readouterr().err
    with pytest.raises(ValueError, match="was begun with other options"):
        train_seeds(dataclasses.replace(many, epochs=3), path)


def test_more_seeds_are_added_to_those_that_are_there(config, together, tmp_path):
    _, runs, _ = together
    path = tmp_path / "run"
    (first,) = train_seeds(dataclasses.replace(config, seeds=1), path, lambda line: None)
    finished = (first.path / "results.json").stat().st_mtime_ns
    _, second = train_seeds(dataclasses.replace(config, seeds=2), path, lambda line: None)
    assert (first.path / "results.json").stat().st_mtime_ns == finished, "not trained again"
    assert_close(second, runs[1])


def test_one_folder_is_of_one_seed(config, tmp_path):
    with pytest.raises(ValueError, match="`seeds` must be 1 for one run folder, got 2"):
        train(dataclasses.replace(config, seeds=2), tmp_path / "x")
