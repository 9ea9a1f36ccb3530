"""Several seeds of one configuration, trained at once, each with a run folder of its own."""

import dataclasses
from pathlib import Path

from .config import Config
from .data.provenance import IMAGES
from .data.splits import Data
from .loop import Say, complete, train_together
from .report.markdown import mean_and_deviation
from .run.class_figures import is_unbalanced
from .run.epoch_callback import EpochCallback
from .run.session import prepare_session
from .run.source_weights import weights_for
from .run_folder.checkpoint import Checkpoints, Moment
from .run_folder.command_line import resumable
from .run_folder.folder import CHECKPOINTS, Run, default_path
from .run_folder.model_file import as_begun
from .steps.own_model import require_own
from .steps.task import task_of_results


def train_seeds(
    config: Config, path: Path | None = None, log: Say = print, *, loaded: Data | None = None
) -> list[Run]:
    """Train ``config.seeds`` networks in one compiled program; see `train.loop.train`.

    Each has a run folder of its own below ``path``, ``seed0`` and so on, with what a run of that
    seed alone would give, up to rounding and what rounding decides: maxima of equal numbers. Called
    again with the same folder it continues where it was interrupted, and seeds can be added;
    ValueError if that was begun with other options.
    """
    if config.compare_plain:
        raise ValueError("`compare_plain` trains several networks: leave it out for one")
    EpochCallback(config)  # before anything is written
    require_own(config)
    seeds = range(config.seed, config.seed + config.seeds)
    configs = [dataclasses.replace(config, seed=seed, seeds=1, run=None) for seed in seeds]
    return _train_all(configs, path or config.run or default_path(config.preset), log, loaded)


def resume_seeds(
    path: Path, *, epochs: int | None = None, log: Say = print, **places: Path | None
) -> list[Run]:
    """Continue the runs of several seeds in ``path``, those that are there, together, with the
    files of their data set where they are now (`Run.config_at`)."""
    if epochs is not None:
        raise ValueError("`epochs` of several seeds cannot be changed; resume one of the runs")
    runs = [Run.open(folder.parent) for folder in Path(path).glob("seed*/config.json")]
    return _train_all(
        sorted((run.config_at(**places) for run in runs), key=lambda c: c.seed), path, log
    )


def check_begun(config: Config, path: Path) -> None:
    """ValueError if one of the seeds was begun in ``path`` with other options."""
    for seed in range(config.seed, config.seed + config.seeds):
        folder = seed_folder(path, seed)
        one = dataclasses.replace(config, seed=seed, seeds=1)
        if (folder / "config.json").is_file() and not Run.open(folder).began_as(one):
            raise ValueError(f"{folder} was begun with other options; name another --run")


def is_seeds(path: Path) -> bool:
    """Return whether `train_seeds` was begun in ``path``."""
    return any(Path(path).glob("seed*/config.json"))


def seed_folder(path: Path, seed: int) -> Path:
    return Path(path) / f"seed{seed}"


def summary(runs: list[Run]) -> str:
    """The mean and the standard deviation of the test error over the seeds, and of the class-mean
    accuracy if classes are unbalanced; of several labels, the share of exact matches and the
    mean AUC; of numbers, the mean R2; of masks, the mean Dice and IoU."""
    results = [run.results or {} for run in runs]
    errors = [100 * found["test_error"] for found in results]
    several = task_of_results(results[0]).several
    line = f"test {task_of_results(results[0]).error} {mean_and_deviation(errors)} % over "
    line += f"{len(errors)} seeds"
    if task_of_results(results[0]).numbers:
        if all(found.get("r2") is not None for found in results):
            line += f", R2 {mean_and_deviation([found['r2'] for found in results])}"
    elif several or task_of_results(results[0]).masks:
        pairs = (("exact_match", "exact match"), ("auc", "mean AUC"))
        for key, title in pairs if several else (("dice", "mean Dice"), ("iou", "mean IoU")):
            if all(found.get(key) is not None for found in results):
                values = [100 * found[key] for found in results]
                line += f", {title} {mean_and_deviation(values)} %"
    elif all("by_class" in found and is_unbalanced(found["by_class"]) for found in results):
        means = [100 * found["class_mean_accuracy"] for found in results]
        line += f", class-mean accuracy {mean_and_deviation(means)} %"
    return line


def _train_all(
    configs: list[Config], path: Path, log: Say, loaded: Data | None = None
) -> list[Run]:
    for config in configs:
        check_begun(config, path)
    folders = {config.seed: seed_folder(path, config.seed) for config in configs}
    if not any((folder / "config.json").is_file() for folder in folders.values()):
        # What is wrong with the images or the network is said before there is a folder.
        weights = weights_for(configs[0])
        session = prepare_session(configs[0], tuple(folders), loaded=loaded, weights=weights)
        runs = {c.seed: Run.create(c, folders[c.seed]) for c in configs}
        with resumable(path):
            train_together(session, list(runs.values()), log)
        return list(runs.values())
    # All folders first: what is resumed are the seeds that have one.
    runs = {}
    for config in configs:
        folder = folders[config.seed]
        begun = (folder / "config.json").is_file()
        runs[config.seed] = run = Run.open(folder) if begun else Run.create(config, folder)
        if begun:
            run.record_places(config)
    with resumable(path):
        for run in runs.values():
            if run.results:
                complete(run, log)
        unfinished = [config for config in configs if not runs[config.seed].results]
        if not unfinished:
            log(f"{path} is finished; nothing to do")
        # All seeds have the split that the first of them began with, also those that are added
        # later.
        recorded = next((run for run in runs.values() if (run.path / IMAGES).is_file()), None)
        for group in _groups(unfinished, runs):
            seeds = tuple(config.seed for config in group)
            begun = as_begun(group[0], folders[seeds[0]])
            paths = [folders[seed] for seed in seeds]
            session = prepare_session(
                begun,
                seeds,
                run=recorded,
                loaded=loaded,
                folders=paths,
                weights=weights_for(begun, paths),
            )
            train_together(session, [runs[config.seed] for config in group], log)
    return list(runs.values())


def _groups(configs: list[Config], runs: dict[int, Run]) -> list[list[Config]]:
    """Return the seeds that go on together: those with a checkpoint of the same moment."""
    saved = {c.seed: set(Checkpoints(runs[c.seed].path / CHECKPOINTS).moments()) for c in configs}
    if all(saved.values()) and saved and set.intersection(*saved.values()):
        return [configs]
    newest: dict[Moment, list[Config]] = {}
    for config in configs:
        newest.setdefault(max(saved[config.seed], default=Moment(0)), []).append(config)
    return list(newest.values())
