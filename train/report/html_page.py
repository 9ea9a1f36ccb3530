"""``report.html``: the report as one file with a slider that turns an input; nothing is loaded from
anywhere, so it works offline and wherever it is copied to."""

import contextlib
import dataclasses
import html
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..config import PLACES
from ..run.invariance import SENTENCE
from ..run.report_parts import Parts, left_out_sentence
from ..run.session import Session
from ..run_folder import environment
from ..run_folder.folder import Run
from ..steps.step import TrainState
from .markdown import CURVES, result_cells, shown_sections, title
from .protocol import protocol
from .section import Section
from .sprite_sheets import embedded
from .turning_frames import first_image, page_images, turning

PAGE = "report.html"
FORMAT = 2
"""The format of the data in a page; data of another one are computed again."""
_HERE = Path(__file__).parent


def write_page(session: Session, state: TrainState, run: Run, parts: Parts | None = None) -> None:
    """Write ``report.html`` of a finished run, around the pictures that its ``report.md`` has; with
    a slider, if that is one of the parts."""
    results, name, parts = run.results, run.config.title, parts or Parts()
    if parts.has("page"):
        with parts.making("page", page_images(session), programs=1) as advance:
            frames = turning(session, state, advance)
    else:
        frames = {"note": left_out_sentence({"page": parts.left_out["page"]}), "left_out": True}
    run.write(
        PAGE,
        page(
            title(run.config, results),
            {name: run},
            merge_frames({name: frames}),
            figures(shown_sections(results, run.path), run.path),
        ),
    )


def page(
    title: str,
    runs: dict[str, Run],
    frames: dict,
    pictures: str,
    cells: list[dict[str, str]] | None = None,
    notes: Sequence[str] = (),
) -> str:
    """The whole page of finished runs by name.

    Args:
        title: its heading.
        runs: what the tables are of.
        frames: of `merge_frames`.
        pictures: HTML of `figures`.
        cells: of the table of results, if it is another one than that of every report.
        notes: paragraphs below that table.
    """
    results = [run.results | {"model": name} for name, run in runs.items()]
    head = table(result_cells(results) if cells is None else cells)
    head += "".join(f"<p>{html.escape(note)}</p>" for note in notes)
    protocols: dict[str, list[str]] = {}
    for name, run in runs.items():
        protocols.setdefault(protocol(run.config, run.results, results), []).append(name)
    left_out = [left_out_sentence(run.results.get("left_out", {})) for run in runs.values()]
    settings = {name: _settings(run) for name, run in runs.items()}
    environments = {name: environment.shown(run.path) for name, run in runs.items()}
    parts = {
        "title": html.escape(title),
        "head": head
        + "".join(
            f'<p class="soft">{html.escape(", ".join(of) + ": " if len(protocols) > 1 else "")}'
            f"{html.escape(text)}</p>"
            for text, of in protocols.items()
        )
        + "".join(f'<p class="soft">{html.escape(text)}</p>' for text in left_out if text),
        "turning": _turning(frames),
        "body": pictures
        + f"<h2>Configuration</h2>{_details('Settings', settings)}"
        + _details("Environment", environments),
        "data": _json(frames),
        "script": (_HERE / "page.js").read_text(encoding="utf-8"),
    }
    template = (_HERE / "page.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)


def merge_frames(frames: dict[str, dict]) -> dict:
    """The data of a page: what `turning` found for networks by name, side by side if they see the
    same images; else a ``note`` that says why not."""
    for name, network_frames in frames.items():
        if "note" in network_frames:
            return {"format": FORMAT} | network_frames
        if "inputs" not in network_frames:
            raise ValueError(f"the frames of {name} have no `inputs`")
    first, *others = frames.values()
    keys = ("digest", "step")
    if any(other["inputs"][key] != first["inputs"][key] for other in others for key in keys):
        note = "These runs have different test images or angles: there is none to turn for all."
        return {"format": FORMAT, "note": note}
    networks = [{"name": name} | found["network"] for name, found in frames.items()]
    begin = first_image(first["inputs"]["images"], networks)
    return {"format": FORMAT, "inputs": first["inputs"], "networks": networks, "first": begin}


def saved_frames(run: Run) -> dict | None:
    """Return what `turning` found when the page of a run was written; None without a page of this
    version, or if it was left out."""
    path = run.path / PAGE
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    data = json.loads(found[1]) if found else {}
    if data.get("format") != FORMAT or data.get("left_out"):
        return None
    if "inputs" not in data:
        return {"note": data["note"]}
    (network,) = data["networks"]
    del network["name"]
    return {"inputs": data["inputs"], "network": network}


@contextlib.contextmanager
def or_warn(log: Callable[[str], None], remedy: str) -> Iterator[None]:
    """A page that cannot be written costs a line that says why, and not the run."""
    try:
        yield
    except Exception as error:
        log(f"warning: no page was written: {type(error).__name__}: {error}; {remedy}")


def figures(every: Sequence[Section], folder: Path) -> str:
    """The sections with the pictures in a folder, those that are there, and with tables."""
    return "".join(
        f"<section><h2>{html.escape(section.title)}</h2>"
        + (f"<p>{html.escape(section.text)}</p>" if section.text else "")
        + _picture(section, folder)
        + (table(section.table) if section.table else "")
        + "</section>"
        for section in every
        if section.table or (folder / section.picture).is_file()
    )


def _picture(section: Section, folder: Path) -> str:
    path = folder / section.picture
    if not path.is_file():
        return ""
    charts = [curve.picture for curve in CURVES]
    kind = "chart" if section.picture in charts else "picture"
    return (
        f'<figure class="{kind}"><img src="{embedded(path)}" alt="{html.escape(section.alt)}">'
        "</figure>"
    )


def table(rows: Sequence[dict[str, str]], differing: bool = False) -> str:
    """Rows of cells by column; ``differing`` marks rows whose cells after the first do."""
    lines = ["".join(f'<th scope="col">{html.escape(name)}</th>' for name in rows[0])]
    body = [
        f"<tr{' class=differs' if differing and len(set(values)) > 1 else ''}>"
        f'<th scope="row">{html.escape(first)}</th>'
        + "".join(f"<td>{html.escape(value)}</td>" for value in values)
        + "</tr>"
        for first, *values in (row.values() for row in rows)
    ]
    return (
        '<div class="scroll" tabindex="0"><table class="figures">'
        f"<thead><tr>{lines[0]}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _settings(run: Run) -> dict[str, str]:
    values = dataclasses.asdict(run.config)
    # Where the files are on this machine concerns no reader; the name of a folder of images does.
    hidden = {*PLACES, "on_epoch"}
    values = {name: value for name, value in values.items() if name not in hidden}
    values |= {"data": run.config.data.name} if run.config.data is not None else {}
    return {name: _shown(value) for name, value in values.items()}


def _shown(value) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(str, value)) or "none"
    return "default" if value is None else str(value)


def _details(title: str, columns: dict[str, dict[str, str]]) -> str:
    """A table that is folded away: a column for each run, a line for each name."""
    names = list(dict.fromkeys(name for values in columns.values() for name in values))
    rows = [
        {title.lower(): name} | {run: values.get(name, "") for run, values in columns.items()}
        for name in names
    ]
    if not rows:
        return ""
    content = table(rows, differing=True)
    return f"<details><summary>{html.escape(title)}</summary>{content}</details>"


def _turning(frames: dict) -> str:
    if "inputs" not in frames:
        return (
            f"<section><h2>An input that turns</h2><p>{html.escape(frames['note'])}</p></section>"
        )
    first = _FIRST[len(frames["networks"]) > 1]
    if "labels" in frames["inputs"]["images"][0]:
        first = first.replace("of their class", "of what is right of each class")
    return _SLIDER.replace("{{first}}", first)


def _json(data: dict) -> str:
    """JSON that cannot end the script element that it is in."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c")


_FIRST = (
    "The first one shown is in the middle when they are in the order of the mean probability of "
    "their class over all angles.",
    "The first one shown is in the middle when they are in the order of the difference between the "
    "last network and the first, in the mean probability of their class over all angles.",
)
_SLIDER = f"""\
<noscript><p>With JavaScript, a slider here turns test images through 360 degrees. The pictures
below show the same at some angles.</p></noscript>
<section id="turning" hidden>
<h2>An input that turns</h2>
<p>Everything here was computed for each turned image. Quarter turns are exact; in between, the
image is interpolated, and corners that come from outside have the median color of its border. The
images are those that come first of each of the first classes. {{{{first}}}}</p>
<p class="soft">{SENTENCE} (root mean squares over all outputs).</p>
<div class="controls card">
<fieldset class="chooser" id="chooser"><legend>Test image</legend></fieldset>
<label for="angle">Angle</label>
<input type="range" id="angle" min="0" max="360" value="0">
<output id="degrees" for="angle">0°</output>
<button type="button" id="play">Play</button>
</div>
<div class="stage">
<figure class="turned card"><canvas id="turned" role="img" aria-label="the input"></canvas>
<figcaption id="which"></figcaption></figure>
<figure class="curve card"><figcaption>Invariance error against angle</figcaption>
<svg id="curve" role="img" aria-label="invariance error against angle"></svg></figure>
</div>
<div class="networks" id="networks"></div>
<p class="soft">Feature maps are what the first convolutions return: a row for each orientation, a
column for each channel with a scale of its own, red below 0 and blue above. In a group convolution
a quarter turn of the input turns the maps, and moves each to the row of another orientation.</p>
</section>"""
