"""Training from configuration to finished run folder, of one seed or of several at once."""

import collections
import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tensorboardX import SummaryWriter

from .config import Config
from .data.provenance import write_record
from .data.reading import write_reading
from .data.splits import Data
from .data.summary import summary_lines
from .data.whitening import WHITENING
from .errors import diverged
from .progress import TrainingProgress
from .report.html_page import PAGE, or_warn, write_page
from .report.markdown import write_report
from .report.turning_frames import page_images
from .run.early_stopping import CHOICES, best_epoch, choice_in_words
from .run.epoch_callback import EpochCallback
from .run.figures import figure_lines
from .run.initial_weights import keep_weights
from .run.meter import Meter
from .run.metrics import more_figures, test_figures
from .run.predictor import load_run
from .run.report_parts import LEAST_SECONDS, Parts, left_out_sentence
from .run.results import collect, network_to_use
from .run.seed_run import Part, SeedRun
from .run.session import Session, prepare_session
from .run.source_weights import weights_for
from .run_folder.checkpoint import Moment, save_tree
from .run_folder.command_line import command, resumable
from .run_folder.folder import Run
from .steps.build_model import parameter_count
from .steps.own_model import require_own
from .steps.step import TrainState

Say = Callable[[str], None]


def train(
    config: Config, path: Path | None = None, log: Say = print, *, loaded: Data | None = None
) -> Run:
    """Train to the last epoch, evaluate once on the test split, write the report.

    Args:
        config: what to train on what; of one seed.
        path: the run folder; by default ``config.run``, or one named after preset and time.
        log: where lines for the user go.
        loaded: its data, if they have been loaded before.

    Returns:
        The finished run; its ``results`` are the figures.

    Raises:
        TrainingDivergedError: the loss is not finite; names the step and what to try.
        ValueError, FileNotFoundError, FileExistsError: before anything is written.
    """
    if config.seeds > 1:
        raise ValueError(f"`seeds` must be 1 for one run folder, got {config.seeds}")
    if config.compare_plain:
        raise ValueError("`compare_plain` trains several networks: leave it out for one")
    EpochCallback(config)  # before hours are spent on reading images
    require_own(config)
    session = prepare_session(config, loaded=loaded, weights=weights_for(config))
    run = Run.create(config, path)
    with resumable(run.path):
        return train_together(session, [run], log)[0]


def resume(
    path: Path,
    *,
    epochs: int | None = None,
    log: Say = print,
    loaded: Data | None = None,
    **places: Path | None,
) -> Run:
    """Continue the run in ``path`` from its newest whole checkpoint, to more epochs if asked, with
    the files of its data set where they are now (`Run.config_at`).

    On the same machine the result is bitwise that of a run that was never interrupted; with more
    epochs too, unless its schedule depends on their number (cosine).
    """
    run = Run.open(path)
    config = run.config_at(**places)
    longer = epochs is not None and epochs != config.epochs
    if longer:
        if epochs < len(run.metrics()):
            raise ValueError(f"`epochs` must be at least the {len(run.metrics())} that are done")
        config = dataclasses.replace(config, epochs=epochs)
    elif run.results:
        complete(run, log)
        log(f"{run.path} is finished; nothing to do")
        return run
    weights = weights_for(config, [run.path])
    session = prepare_session(config, run=run, loaded=loaded, weights=weights)
    if longer:
        # Nothing is changed before it is known that the checkpoint can be read.
        found = SeedRun(session, run, 0).restore(session.steps.init(), log)
        if found and found[0] > Moment(epochs):
            raise ValueError(
                f"`epochs` must be more than {epochs}: the newest checkpoint is of {found[0]}"
            )
        (run.path / "results.json").unlink(missing_ok=True)
    if config != run.config:
        run.write("config.json", config.to_json())
    with resumable(run.path):
        return train_together(session, [run], log)[0]


def complete(run: Run, log: Say) -> None:
    """Make up for what a kill left undone after the results of a finished run were written."""
    run.remove_leftovers()
    if run.config.report != "none" and not (run.path / PAGE).is_file():
        with _page_or_warn(run, log):
            write_page(*load_run(run), run, Parts(run.config.report, None, log))
            log(f"{PAGE} was missing: it is in {run.path} now")


def train_together(session: Session, runs: list[Run], log: Say) -> list[Run]:
    """Train a network for each seed of the session, from where its run folder is to the end."""
    config, trainer = session.config, session.trainer
    on_epoch = EpochCallback(config)
    if session.data.folder is not None:
        for line in summary_lines(config, session.data.folder):
            log(line)
        for run in runs:
            write_reading(run, session.data.folder.reading)
            write_record(run, session.data.folder.files)
    for run, steps in zip(runs, session.networks, strict=True):
        keep_weights(run, steps)
    networks = [SeedRun(session, run, i) for i, run in enumerate(runs)]
    first, state, parts = _restore(session, networks, log)
    for run in runs:
        run.forget_metrics_after(first.epoch)
        run.mend(first)
    log(_header(session, runs))
    total, done = config.epochs * trainer.steps_per_epoch, first.epoch * trainer.steps_per_epoch
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(TrainingProgress(log, total, done + first.step))
        purge = done + 1
        writers = [
            stack.enter_context(SummaryWriter(str(run.path / "tensorboard"), purge_step=purge))
            for run in runs
        ]
        held_out = ""
        for epoch in range(first.epoch + 1, config.epochs + 1):
            running = [network for network in networks if not network.stopped]
            if not running:
                break
            place = f"{epoch}/{config.epochs}"
            progress.begin(f"{config.title} epoch {place}", f"{config.name} {place}{held_out}")
            state, records = _train_epoch(session, state, epoch, progress, networks, running, parts)
            parts = None
            states = trainer.split(state)
            records = [
                n.record(records[n.which], states[n.which], writers[n.which]) for n in running
            ]
            for network, record in zip(running, records, strict=True):
                on_epoch(network.run.path, record, log)
            if "validation_error" in records[0]:
                errors = [100 * r["validation_error"] for r in records]
                held_out = f", validation {session.task.error} {np.mean(errors):.2f} %"
            last = epoch == config.epochs or all(n.stopped for n in running)
            progress.end(_line(session, records))
            if epoch % config.checkpoint_every == 0 or last:
                for network in networks:
                    network.save(Moment(epoch), states[network.which])
    for network, own_state in zip(networks, trainer.split(state), strict=True):
        on_epoch(network.run.path, _finish(session, network, own_state, log), log)
    return runs


def _restore(
    session: Session, networks: list[SeedRun], log: Say
) -> tuple[Moment, TrainState, list[Part] | None]:
    """The last moment of which all networks have a whole checkpoint, the state then, and what was
    measured of the epoch it is in."""
    fresh = [steps.init() for steps in session.networks]
    at_most = None
    while True:
        found = [
            network.restore(template, log, at_most)
            for network, template in zip(networks, fresh, strict=True)
        ]
        if None in found:
            if any(found):
                log("no epoch has a whole checkpoint of all seeds: starting again")
            return Moment(0), session.trainer.join(fresh), None
        moments = {moment for moment, _ in found}  # pyright: ignore[reportGeneralTypeIssues]
        if len(moments) == 1:
            break
        at_most = min(moments)
    progress = [restored for _, restored in found]  # pyright: ignore[reportGeneralTypeIssues]
    for network, restored in zip(networks, progress, strict=True):
        network.best = restored.best
    (first,) = moments
    log(f"{', '.join(str(n.run.path) for n in networks)}: continuing after {first}")
    parts = [jax.tree.map(np.asarray, restored.part) for restored in progress]
    state = session.trainer.join([restored.state for restored in progress])
    return first, state, parts if first.step else None


def _train_epoch(
    session: Session,
    state: TrainState,
    epoch: int,
    progress: TrainingProgress,
    networks: list[SeedRun],
    running: list[SeedRun],
    parts: list[Part] | None,
) -> tuple[TrainState, list[dict]]:
    """Train for one epoch, or for what is left of it after ``parts``; return the state and the
    record of the epoch for each network. The metrics of a dispatch are read while the next one
    runs. Networks that are not ``running`` may diverge: they are kept for the shape alone."""
    trainer, config = session.trainer, session.config
    which = [network.which for network in running]
    before = (epoch - 1) * trainer.steps_per_epoch
    meter = Meter(config, trainer.seeds, which, before, progress.advance, parts)
    pending: collections.deque[Any] = collections.deque()
    done = meter.first
    for new_state, metrics in trainer.epoch(state, epoch, meter.first):
        state = new_state
        pending.append(metrics)
        done += len(metrics.loss)
        save = _is_due(session, done)
        while len(pending) > (0 if save else 1):
            meter.read(pending.popleft())
        if save:
            states, moment = trainer.split(state), Moment(epoch - 1, done)
            for network in networks:
                network.save(moment, states[network.which], meter.part(network.which))
    while pending:
        meter.read(pending.popleft())
    # The loss of the last step says nothing of what that step made of the parameters.
    params = [trainer.split(state)[i].params for i in which]
    if not all(np.isfinite(np.asarray(p)).all() for p in jax.tree.leaves(params)):
        raise diverged("the parameters are not finite", epoch * trainer.steps_per_epoch, config)
    return state, meter.records(epoch)


def _is_due(session: Session, done: int) -> bool:
    """Return whether so many steps of an epoch want a checkpoint. All of them do if validation,
    which may take long, comes before the checkpoint of the epoch."""
    every, last = session.config.checkpoint_steps, session.trainer.steps_per_epoch
    if every is None:
        return False
    return session.data.validation is not None if done == last else done % every == 0


def _finish(session: Session, network: SeedRun, state: TrainState, log: Say) -> dict:
    """Evaluate a network on the test images, write its report, and return its last figures."""
    run, records, selected = network.run, network.run.metrics(), None
    config = run.config
    if config.patience is not None:
        selected = best_epoch(records, config.metric)
        why = choice_in_words(config.metric, session.task.error)
        log(f"seed {config.seed}: epoch {selected} had the {why}")
    if selected is None:
        log("re-estimating batch statistics, then evaluating on the test images, once")
    best = None if selected is None else network.best
    state = network_to_use(session, state, best, network.which)
    figures = test_figures(session, state)
    if not np.isfinite(figures["test_loss"]):
        raise diverged(f"the test loss is {figures['test_loss']}", int(state.step), config)
    seconds = sum(record["seconds"] for record in records)
    parts = Parts(config.report, max(LEAST_SECONDS, seconds), log)
    untrained, images = session.networks[network.which].init, page_images(session)
    figures |= more_figures(session, state, parts, page_images=images, untrained=untrained)
    save_tree(run.path / "model", (state.params, state.stats))
    if session.data.whitening is not None:
        session.data.whitening.save(run.path / WHITENING)
    figures["left_out"] = parts.left_out
    results = collect(session, config, state, records, selected, figures)
    (run.path / PAGE).unlink(missing_ok=True)  # of fewer epochs
    last = {name: records[-1][name] for name in ("epoch", "step")}
    last |= {f"test_{name}": results[f"test_{name}"] for name in ("loss", "error")}
    error = f"test {session.task.error} {100 * results['test_error']:.2f} %"
    line, lines = f"{error} of {results['test_images']} images", figure_lines(results)
    if config.report == "none":
        run.write_json("results.json", results)
        log("\n".join([f"{line}, in {run.path / 'results.json'}", *lines]))
        return last
    write_report(session, state, run, results)
    run.write_json("results.json", results)
    with _page_or_warn(run, log):
        write_page(session, state, run, parts)
    slider = f", with a slider, {PAGE}" if parts.has("page") else f" {PAGE}"
    log("\n".join([f"{line}, report in {run.path / 'report.md'} and{slider}", *lines]))
    if set(parts.left_out.values()) - {"not asked for"}:
        log(left_out_sentence(parts.left_out))
    return last


def _page_or_warn(run: Run, log: Say) -> contextlib.AbstractContextManager[None]:
    return or_warn(log, f"write it again with `{command('report', run.path)}`")


def _header(session: Session, runs: list[Run]) -> str:
    config, parallel, devices = session.config, session.trainer.parallel, jax.devices()
    processes = f" in {jax.process_count()} processes" if jax.process_count() > 1 else ""
    return (
        f"{config.title}: {parameter_count(session.steps.init().params):,} parameters, "
        f"{len(session.data.train.label):,} training images{_named(config)}, "
        f"{parallel.mode} on {parallel.devices} of {len(devices)} {devices[0].device_kind}"
        f"{processes}, run folder " + ", ".join(str(run.path) for run in runs)
    )


def _named(config: Config) -> str:
    """Return the name of the data set; lines before have named a folder of the user."""
    return "" if config.data is not None else f" of {config.dataset}"


def _line(session: Session, records: list[dict]) -> str:
    """Means over the networks that are still trained."""
    config, error = session.config, session.task.error
    mean = {name: np.mean([r[name] for r in records]) for name in records[0]}
    line = (
        f"{config.title} epoch {records[0]['epoch']}/{config.epochs}: "
        f"loss {mean['train_loss']:.4f}, training {error} {100 * mean['train_error']:.2f} %"
    )
    if "validation_error" in mean:
        line += f", validation {error} {100 * mean['validation_error']:.2f} %"
    key, _, title = CHOICES[config.metric]
    if config.metric != "accuracy" and key in mean:
        line += f", {title} {mean[key]:.4f}"
    return f"{line}, {mean['images_per_second']:,.0f} images/s"
