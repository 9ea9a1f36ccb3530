"""The comparison of runs: one table, their curves, one page."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..data.volumes import of_volumes
from ..run.predictor import load_run
from ..run.report_parts import left_out_sentence
from ..run.snapshot import Snapshot
from ..run_folder.folder import Run
from ..steps.task import task_of_results
from .curves import curves
from .html_page import PAGE, figures, merge_frames, or_warn, page, saved_frames
from .markdown import curve_sections, markdown_table, result_cells
from .protocol import protocol
from .turning_frames import NO_MASKS, NO_VOLUMES, turning

MAP_BYTES = 4_000_000
"""The most bytes that the feature maps of all networks take in a page."""


def write_comparison(
    title: str,
    runs: list[Run],
    out: Path,
    log: Callable[[str], None],
    page_name: str = PAGE,
    *,
    again: bool = True,
    map_bytes: int = MAP_BYTES,
    names: Sequence[str] | None = None,
    cells: list[dict[str, str]] | None = None,
    notes: Sequence[str] = (),
) -> str:
    """Write ``report.md``, its pictures and the page into the folder ``out``; return the table.

    Frames that a run has no page with are computed, if they may be computed ``again``. Feature maps
    take at most ``map_bytes``: the last runs have none if they would take more. The runs are called
    by their ``names``, the table has other ``cells`` than those of every report, and paragraphs
    below it are its ``notes``, where they are given.
    """
    names = [run.results["model"] for run in runs] if names is None else list(names)
    if len(set(names)) < len(names):  # the same network twice: tell them apart by folder
        names = _folders([run.path for run in runs])
    if len(set(names)) < len(names):
        raise ValueError(f"`runs` must be different run folders, got {', '.join(names)}")
    out.mkdir(parents=True, exist_ok=True)
    records = {name: run.metrics() for name, run in zip(names, runs, strict=True)}
    results = {name: run.results for name, run in zip(names, runs, strict=True)}
    every = [run_results | {"model": name} for name, run_results in results.items()]
    curves(records, results, out)
    found = curve_sections(every)
    cells = result_cells(every) if cells is None else cells
    table = markdown_table(cells)
    below = "".join(f"{note}\n\n" for note in notes)
    protocols = "\n\n".join(
        f"{name}: {protocol(run.config, run.results, every).removeprefix('Protocol: ')}"
        for name, run in zip(names, runs, strict=True)
    )
    shown = "\n\n".join(f"![{section.alt}]({section.picture})" for section in found)
    Run(out).write(
        "report.md",
        f"""# {title}

{table}

{below}{shown}

## Protocol

{protocols}
""",
    )
    slides = False
    with or_warn(log, f"write {out / page_name} again with the same command"):
        named = dict(zip(names, runs, strict=True))
        frames, pictures = _frames(named, log, again, map_bytes), figures(found, out)
        slides = "inputs" in frames
        text = page(title, named, frames, pictures, cells, notes)
        Run(out).write(page_name, text)
    slider = ", with a slider," if slides else ""
    log(f"\n{table}\n\nReport with pictures: {out / 'report.md'} and{slider} {page_name}")
    return table


def _frames(runs: dict[str, Run], log: Callable[[str], None], again: bool, map_bytes: int) -> dict:
    """The data of a page, those of each run from its own page or computed ``again``; without
    feature maps where they would become too much."""
    frames, size = {}, 0
    for name, run in runs.items():
        # The page of a run that is not finished may be of an earlier epoch.
        found: Any = None if isinstance(run, Snapshot) else saved_frames(run)
        if found is None and of_volumes(run.results):
            found = NO_VOLUMES
        elif found is None and task_of_results(run.results).masks:
            found = NO_MASKS
        elif found is None and not again:
            found = {"note": left_out_sentence({"page": f"{name} has none"})}
        elif found is None:
            try:
                session, state = load_run(run)
                log(f"turning an input for {name}, whose page has none")
                found = turning(session, state)
            except (ValueError, OSError) as error:  # e.g. its data set is not here any more
                log(f"warning: {name} cannot turn an input: {error}")
                found = {"note": f"There is no input to turn here: {name} cannot be run again."}
        for layer in found.get("network", {}).get("maps", []):
            size += sum(len(sheet["sprite"]) for sheet in layer["images"])
        if size > map_bytes:
            found["network"] |= {"maps": [], "note": "No feature maps, for the size of the page."}
        frames[name] = found
    return merge_frames(frames)


def _folders(paths: list[Path]) -> list[str]:
    """The ends of the paths, as short as they can be told apart: a report does not say where on a
    machine it was made."""
    parts = [path.resolve().parts[1:] for path in paths]
    longest = max(map(len, parts))
    for count in range(1, longest + 1):
        names = ["/".join(path_parts[-count:]) for path_parts in parts]
        if len(set(names)) == len(names):
            break
    return names
