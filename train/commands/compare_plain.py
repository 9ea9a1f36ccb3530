"""``python -m train ... --compare-plain``: a network beside plain ones that are its equals."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..config import DATA_PLACES, NO_MATTER, Config
from ..data.grain_loader import require_grain
from ..data.load import load_data
from ..data.provenance import IMAGES
from ..data.splits import Data
from ..data.vectors import vectors_of
from ..loop import resume, train
from ..options.plain import plain_counterpart
from ..report.comparison import write_comparison
from ..report.fair_comparison import definitions, fair_cells, verdicts
from ..run.averaged import averaged_results, poses_of
from ..run.epoch_callback import EpochCallback
from ..run_folder.command_line import command, resumable
from ..run_folder.folder import Run
from ..seeds import check_begun, is_seeds, seed_folder, train_seeds
from ..steps.equal_parameters import CLOSE, Sized, count_parameters, with_parameters
from ..steps.own_model import require_own

FOLDERS = ("equivariant", "plain", "plain-rotated")
"""The run folders of the three networks, below that of the comparison."""
Say = Callable[[str], None]


class Trio(NamedTuple):
    """The three networks by their folders, and the numbers of parameters of the first two."""

    configs: dict[str, Config]
    ours: Sized
    plain: Sized

    @property
    def names(self) -> list[str]:
        """The networks in a table."""
        plain = self.plain.config.title
        return [self.ours.config.title, plain, f"{plain}, turned images"]

    def sizes(self) -> str:
        """Return a sentence on the parameters of the networks, and on how far they differ."""
        ours, plain = self.ours.parameters, self.plain.parameters
        width = self.plain.config.width
        chosen = "of its published width" if width is None else f"with width {width}"
        text = (
            f"{self.names[0]} has {ours:,} parameters, and {self.names[1]} {chosen} has {plain:,} "
            f"({100 * (plain / ours - 1):+.1f} %)"
        )
        if abs(plain / ours - 1) > CLOSE:
            text += (
                f"; no width of {self.names[1]} comes within {100 * CLOSE:.0f} %, so that the "
                "comparison is not one of equals"
            )
        return text


def compare_plain(config: Config, log: Say = print, *, moved: bool = False) -> str:
    """Train a network and two plain ones on the same images, and compare them; returns the table.

    The plain ones have the same architecture with a width that gives as many parameters, and the
    second of them is trained on images that are turned at random. Called again with the same
    options, it continues where it was interrupted.

    Args:
        config: of the network that is compared, with its number of seeds.
        log: where lines for the user go.
        moved: whether the images may be elsewhere than when the comparison began.

    Raises:
        ValueError: the folder was begun with other options, or holds something else.
    """
    EpochCallback(config)  # before images are read
    require_own(config, plain=True)
    path = config.run or default_folder(config)
    places = {name: getattr(config, name) for name in DATA_PLACES}
    absolute = {name: place and place.absolute() for name, place in places.items()}
    one = dataclasses.replace(config, compare_plain=False, run=None, **absolute)
    _check_folder(path)
    _check_begun(one, path / FOLDERS[0], moved)
    log(f"run folder {path}")
    with resumable(path):
        data = None if _finished(one, path) else _load(one, path)
        trio = _trio(one, path, data)
        for name, network in trio.configs.items():  # before hours are spent on the first
            _check_begun(network, path / name, moved)
        log(f"{trio.sizes()}. {_plan(trio)}")
        data = _without_notes(data, log)
        runs = [_train(network, path / name, log, data) for name, network in trio.configs.items()]
        return _write(trio, runs, path, log, data)


def resume_compare_plain(path: Path, log: Say = print, **places: Path | None) -> str:
    """Continue the comparison in ``path``, with the files of its data set where they are now."""
    first = path / FOLDERS[0]
    begun = [first] if not is_seeds(first) else sorted(first.glob("seed*"))
    configs = [Run.open(folder).config_at(**places) for folder in begun]
    config = min(configs, key=lambda config: config.seed)
    changes = {"compare_plain": True, "seeds": len(configs), "run": path}
    return compare_plain(dataclasses.replace(config, **changes), log, moved=True)


def is_comparison(path: Path) -> bool:
    """Return whether `compare_plain` was begun in ``path``."""
    first = Path(path) / FOLDERS[0]
    return (first / "config.json").is_file() or is_seeds(first)


def default_folder(config: Config) -> Path:
    """Return the folder of a comparison without ``--run``: the same for the same options, so that
    the same command continues it."""
    options = {k: v for k, v in dataclasses.asdict(config).items() if k not in NO_MATTER}
    options["data"] = None if config.data is None else str(config.data.absolute())
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()
    return Path("runs") / f"{config.preset}-beside-plain-{digest[:8]}"


def _trio(config: Config, path: Path, data: Data | None) -> Trio:
    """Choose the plain networks; the images are described by the data, or by finished runs."""
    if data is None:
        form = _runs(config, path / FOLDERS[0])[0].results["input"]
        shape, classes = tuple(form["shape"]), form["classes"]
        vectors = vectors_of(form.get("vectors"), classes)
    else:
        shape, classes, vectors = data.train.image.shape[1:], data.classes, data.vectors
    form = {"classes": classes, "in_features": shape[-1], "image_shape": shape}
    form["vectors"] = vectors
    ours = Sized(config, count_parameters(config, **form))
    plain = plain_counterpart(config)
    if config.augment == "rotate":  # that is what the last network is for
        plain = dataclasses.replace(plain, augment="none")
    sized = with_parameters(plain, ours.parameters, **form)
    turned = dataclasses.replace(sized.config, augment="rotate")
    networks = (config, sized.config, turned)
    return Trio(dict(zip(FOLDERS, networks, strict=True)), ours, sized)


def _plan(trio: Trio) -> str:
    augment = [config.augment for config in trio.configs.values()]
    return "Three networks are trained on the same images with the same schedule: " + ", ".join(
        f"{f} (--augment {a})" for f, a in zip(FOLDERS, augment, strict=True)
    )


def _train(config: Config, folder: Path, log: Say, data: Data | None) -> list[Run]:
    log(f"\n{folder.name}")
    if config.seeds > 1:
        return train_seeds(config, folder, log, loaded=data)
    if not (folder / "config.json").is_file():
        return [train(config, folder, log, loaded=data)]
    places = {name: getattr(config, name) for name in DATA_PLACES}
    return [resume(folder, log=log, loaded=data, **places)]


def _load(config: Config, path: Path) -> Data:
    """The images of all three networks, divided as they were when the first of them began."""
    if config.loader == "grain":
        require_grain()
    begun = (run for name in FOLDERS for run in _runs(config, path / name))
    return load_data(config, next((run for run in begun if (run.path / IMAGES).is_file()), None))


def _without_notes(data: Data | None, log: Say) -> Data | None:
    """The same images; what was found among the files is said once, and not by each network."""
    if data is None or data.folder is None:
        return data
    for note in data.folder.notes:
        log(note)
    return dataclasses.replace(data, folder=dataclasses.replace(data.folder, notes=()))


def _folders(config: Config, folder: Path) -> list[Path]:
    """The run folders of a network, of each seed one."""
    if config.seeds == 1:
        return [folder]
    return [seed_folder(folder, config.seed + i) for i in range(config.seeds)]


def _runs(config: Config, folder: Path) -> list[Run]:
    """The runs of a network that were begun."""
    begun = [f for f in _folders(config, folder) if (f / "config.json").is_file()]
    return [Run.open(folder) for folder in begun]


def _finished(config: Config, path: Path) -> bool:
    folders = [f for name in FOLDERS for f in _folders(config, path / name)]
    return all((folder / "results.json").is_file() for folder in folders)


def _check_folder(path: Path) -> None:
    """FileExistsError if there is something else in the folder."""
    others = {p.name for p in path.iterdir() if p.suffix != ".tmp"} if path.is_dir() else set()
    if path.is_file() or (others - {*FOLDERS} and not is_comparison(path)):
        raise FileExistsError(
            f"run folder {path} is not empty, and no comparison with plain networks was begun in "
            "it; name another one with `--run`"
        )


def _check_begun(config: Config, folder: Path, moved: bool) -> None:
    """ValueError if the network was begun with other options or other images."""
    if is_seeds(folder) if config.seeds == 1 else (folder / "config.json").is_file():
        raise ValueError(f"{folder} was begun with another number of --seeds; name another --run")
    if config.seeds > 1:
        check_begun(config, folder)
    for run in _runs(config, folder):
        if config.seeds == 1 and not run.began_as(config):
            raise ValueError(f"{folder} was begun with other options; name another --run")
        before = run.config.data
        if config.data is not None and not moved and before != config.data:
            again = command("--resume", folder.parent, "--data", config.data)
            raise ValueError(
                f"`data` of {folder} was {before}, got {config.data}; if these are the same "
                f"images, `{again}`, else name another --run"
            )


def _averaged(trio: Trio, runs: list[Run], data: Data | None, log: Say) -> dict[str, list[dict]]:
    """The results of the last network, averaged over the poses of each image, by its name."""
    group = poses_of(trio.ours.config)
    if group is None:
        return {}
    try:
        results = [averaged_results(run, group, data) for run in runs]
    except (ValueError, OSError) as error:  # e.g. its images are not here any more
        log(f"warning: {FOLDERS[-1]} is not averaged over poses: {error}")
        return {}
    return {f"{trio.names[-1]}, mean over {group.order} poses": results}


def _of_poses(name: str) -> str:
    return (
        f"{name[0].upper()}{name[1:]}: the network above, not trained again. Its logits are "
        "averaged over the poses of each image, which takes as many evaluations."
    )


def _write(
    trio: Trio, runs: list[list[Run]], path: Path, log: Say, data: Data | None = None
) -> str:
    Run(path).remove_leftovers()
    every = {
        name: [run.results for run in of_network]
        for name, of_network in zip(trio.names, runs, strict=True)
    }
    averaged = _averaged(trio, runs[-1], data, log)
    every |= averaged
    said = verdicts(every)
    seed = trio.ours.config.seed
    notes = [
        " ".join(said),
        f"{trio.sizes()}.",
        definitions(every),
        f"Run folders, in the order of the table: {', '.join(FOLDERS)}."
        + (f" The curves are of seed {seed}." if len(runs[0]) > 1 else ""),
        *map(_of_poses, averaged),
    ]
    table = write_comparison(
        f"{trio.names[0]} beside plain networks",
        [of_network[0] for of_network in runs],
        path,
        log,
        again=False,
        names=trio.names,
        cells=fair_cells(every),
        notes=notes,
    )
    log("\n".join(said))
    return table
