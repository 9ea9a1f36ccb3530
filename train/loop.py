"""A training run from configuration to finished run folder, and its continuation."""

import collections
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from tensorboardX import SummaryWriter
from tqdm import tqdm

from train.checkpoint import Checkpoints, save_tree
from train.config import Config
from train.errors import TrainingDivergedError
from train.evaluate import final_figures
from train.models import parameter_count
from train.report import write_report
from train.rundir import Run
from train.session import Session, prepare_session
from train.step import TrainState


def train(config: Config, path: Path | None = None, say: Callable[[str], None] = print) -> Run:
    """Train to the last epoch, evaluate once on the test split, write the report.

    Args:
        config: what to train on what.
        path: the run folder; by default ``config.run``, or one named after preset and time.
        say: where lines for the user go.

    Returns:
        The finished run; its ``results`` are the figures.

    Raises:
        TrainingDivergedError: the loss is not finite; names the step and what to try.
        ValueError, FileNotFoundError, FileExistsError: before anything is written.
    """
    session = prepare_session(config)
    return _train(session, Run.create(config, path), say)


def resume(path: Path, *, epochs: int | None = None, say: Callable[[str], None] = print) -> Run:
    """Continue the run in ``path`` from its newest whole checkpoint, to more epochs if asked.

    On the same machine the result is bitwise that of a run that was never interrupted.
    """
    run = Run.open(path)
    config = run.config
    if epochs is not None and epochs != config.epochs:
        if epochs < len(run.metrics()):
            raise ValueError(f"`epochs` must be at least the {len(run.metrics())} that are done")
        config = dataclasses.replace(config, epochs=epochs)
        (run.path / "results.json").unlink(missing_ok=True)
        run.write("config.json", config.to_json())
    if run.results:
        say(f"{run.path} is finished; nothing to do")
        return run
    return _train(prepare_session(config), run, say)


def _train(session: Session, run: Run, say: Callable[[str], None]) -> Run:
    config = session.config
    state, checkpoints = session.steps.init(), Checkpoints(run.path / "checkpoints")
    restored = checkpoints.restore(state, warn=say)
    first, state = restored or (0, state)
    if restored:
        say(f"{run.path}: continuing after epoch {first}")
    run.forget_metrics_after(first)
    say(_header(session, state, run))
    events = SummaryWriter(str(run.path / "tensorboard"), purge_step=int(state.step) + 1)
    seconds = sum(record["seconds"] for record in run.metrics())
    total = config.epochs * session.feed.steps_per_epoch
    # disable=None: no bar where the output is not a terminal
    progress = tqdm(total=total, initial=int(state.step), unit="step", disable=None)
    with events as writer, progress as bar:
        held_out = ""
        for epoch in range(first + 1, config.epochs + 1):
            bar.set_description(f"{config.model} {epoch}/{config.epochs}{held_out}")
            state, record = _train_epoch(session, state, epoch, bar)
            seconds += record["seconds"]
            if session.data.validation and epoch % config.evaluate_every == 0:
                calibrated = session.feed.calibrate(state)
                figures = session.feed.evaluate(calibrated, session.data.validation)
                record |= {f"validation_{name}": value for name, value in figures.items()}
                held_out = f", validation error {100 * figures['error']:.2f} %"
            run.add_metrics(record)
            for name, value in record.items():
                writer.add_scalar(name, value, record["step"])
            if bar.disable and (epoch % max(1, config.epochs // 10) == 0 or epoch == config.epochs):
                say(_line(config, record))
            if epoch % config.checkpoint_every == 0 or epoch == config.epochs:
                checkpoints.save(epoch, state)
    _finish(session, state, run, seconds, say)
    return run


def _train_epoch(session: Session, state: TrainState, epoch: int, bar: tqdm):
    """One epoch; the metrics of a dispatch are read while the next one runs."""
    started = time.perf_counter()
    losses, errors = [], []
    pending = collections.deque()

    def read(metrics) -> None:
        first = (epoch - 1) * session.feed.steps_per_epoch + len(losses)
        losses.extend(np.asarray(metrics.loss, np.float64))
        errors.extend(np.asarray(metrics.error, np.float64))
        _require_finite(metrics.loss, first, session.config)
        rate = len(losses) * session.config.batch_size / (time.perf_counter() - started)
        bar.update(len(metrics.loss))
        bar.set_postfix_str(f"loss {losses[-1]:.4f}, {rate:,.0f} images/s", refresh=False)

    for new_state, metrics in session.feed.epoch(state, epoch):
        state = new_state
        pending.append(metrics)
        if len(pending) > 1:
            read(pending.popleft())
    while pending:
        read(pending.popleft())
    # The loss of the last step says nothing of what that step made of the parameters.
    if not all(np.isfinite(np.asarray(p)).all() for p in jax.tree.leaves(state.params)):
        raise _diverged("the parameters are not finite", int(state.step), session.config)
    seconds = time.perf_counter() - started
    return state, {
        "epoch": epoch,
        "step": epoch * session.feed.steps_per_epoch,
        "train_loss": float(np.mean(losses)),
        "train_error": float(np.mean(errors)),
        "images_per_second": len(losses) * session.config.batch_size / seconds,
        "seconds": seconds,
    }


def _require_finite(losses: np.ndarray, steps_before: int, config: Config) -> None:
    bad = np.flatnonzero(~np.isfinite(np.asarray(losses, np.float64)))
    if bad.size:
        raise _diverged(f"the loss is {losses[bad[0]]}", steps_before + bad[0] + 1, config)


def _diverged(what: str, step: int, config: Config) -> TrainingDivergedError:
    return TrainingDivergedError(
        f"{what} at step {step}; try a smaller --learning-rate (it is {config.learning_rate:g})"
        + (", --dtype float32" if config.dtype != "float32" else "")
        + ", or look for pixels that are not finite numbers. The last checkpoint is kept."
    )


def _finish(session: Session, state: TrainState, run: Run, seconds: float, say) -> None:
    say("re-estimating batch statistics, then evaluating on the test images, once")
    state = session.feed.calibrate(state)
    figures = final_figures(session, state)
    if not np.isfinite(figures["test_loss"]):
        raise _diverged(f"the test loss is {figures['test_loss']}", int(state.step), session.config)
    save_tree(run.path / "model", (state.params, state.stats))
    results = {
        "model": session.config.model,
        "parameters": parameter_count(state.params),
        "epochs": session.config.epochs,
        "train_images": len(session.data.train.label),
        "validation_images": session.config.validation,
        "train_seconds": seconds,
        "input": {
            "shape": session.data.test.image.shape[1:],
            "mean": session.data.mean,
            "std": session.data.std,
            "classes": session.data.classes,
        },
        **figures,
    }
    write_report(session, state, run, results)
    run.write_json("results.json", results)
    say(
        f"test error {100 * results['test_error']:.2f} % of {results['test_images']} images, "
        f"report in {run.path / 'report.md'}"
    )


def _header(session: Session, state: TrainState, run: Run) -> str:
    config, parallel, devices = session.config, session.feed.parallel, jax.local_devices()
    return (
        f"{config.model}: {parameter_count(state.params):,} parameters, "
        f"{len(session.data.train.label):,} training images of {config.dataset}, {parallel.mode} "
        f"on {parallel.devices} of {len(devices)} {devices[0].device_kind}, run folder {run.path}"
    )


def _line(config: Config, record: dict) -> str:
    line = (
        f"{config.model} epoch {record['epoch']}/{config.epochs}: loss {record['train_loss']:.4f}, "
        f"training error {100 * record['train_error']:.2f} %"
    )
    if "validation_error" in record:
        line += f", validation error {100 * record['validation_error']:.2f} %"
    return f"{line}, {record['images_per_second']:,.0f} images/s"
