"""The journey of docs/how-to/own-images.md, done as that page says, with its pictures and times.

    pip install numpy pillow pyte rich
    npm install --prefix DIR puppeteer-core @sparticuz/chromium
    python docs/pictures/own_images.py --npz bloodmnist.npz --work EMPTY_DIR --browser DIR

It makes the folder of `cell_folder`, runs every block of shell on the page in its order, and takes
the seconds of each. The pictures are written beside this file, and the tables into the page. The
page says that there were two cores: `taskset -c 0,1` before the command gives it as many.
"""

import argparse
import csv
import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
from cell_folder import make_folder, make_new_images
from PIL import Image
from terminal import Ran, draw, run

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGE = ROOT / "docs" / "how-to" / "own-images.md"
REPOSITORY = "git+https://github.com/gconv-jax/gconv_jax"
CLASSES = ["basophil", "eosinophil", "lymphocyte", "neutrophil", "platelet"]
DEEP = "eosinophil/scan 16 bit.tif"
STEPS = ("install", "first look", "train and report", "compare", "predict", "export", "elsewhere")
"""The names of the blocks of shell on the page, in their order."""
COLORS = 128
"""The colors of a picture of the page, which keep it small."""


def main() -> None:
    """Do what the page says, and write what it shows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--npz", type=Path, required=True, help="blood cells, as MedMNIST has them")
    parser.add_argument("--work", type=Path, required=True, help="an empty folder to work in")
    parser.add_argument("--browser", type=Path, help="a folder with puppeteer-core, for the report")
    options = parser.parse_args()
    work = options.work.absolute()
    make_images(work, options.npz)
    ran = follow(PAGE.read_text(encoding="utf-8"), work)
    runs = work / "runs"
    if options.browser is not None:
        picture_of_page(runs / "cells" / "report.html", options.browser)
    picture_of_classes(runs / "cells")
    tables = {
        "times": times(ran),
        "compared": compared(runs / "compared" / "report.md"),
        "predicted": predicted(work / "new.csv"),
        "classified": fenced(ran["elsewhere"].lines[-2:]),
    }
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), tables), encoding="utf-8")
    (work / "times.json").write_text(json.dumps({name: r.seconds for name, r in ran.items()}))


def make_images(work: Path, npz: Path) -> None:
    """Make the folder of the journey, with a file of 16 bits, and images to predict."""
    make_folder(work / "cells", npz, CLASSES, 300)
    make_new_images(work / "new", npz, CLASSES, 4)
    source = next(iter(sorted((work / "cells" / "eosinophil").glob("*.png"))))
    with Image.open(source) as image:
        deep = np.asarray(image.convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(work / "cells" / DEEP)


def follow(text: str, work: Path) -> dict[str, Ran]:
    """Run the blocks of shell on a page, and save its programs where they are needed."""
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    scripts = [body for language, body in blocks if language == "sh"]
    for language, body in blocks:
        if language == "py":
            name = re.match(r"# (\w+\.py)\n", body)
            assert name is not None, "a program on the page says its name in its first line"
            (work / name[1]).write_text(body, encoding="utf-8")
    home = work / "home"  # with no cache of compiled programs or of packages
    home.mkdir()
    path = f"{work / '.venv' / 'bin'}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "HOME": str(home), "PIP_NO_CACHE_DIR": "1"}
    ran = {}
    for name, script in zip(STEPS, scripts, strict=True):
        typed = script.replace(REPOSITORY, ROOT.as_uri())
        ran[name] = done = run(typed, work, environment)
        print(f"{name}: {done.seconds:.0f} s, status {done.status}", flush=True)
        (work / f"{name}.txt").write_text("\n".join(done.lines) + "\n", encoding="utf-8")
        if done.status != (2 if name == "first look" else 0):
            raise SystemExit("\n".join(done.lines[-20:]))
    command = scripts[STEPS.index("train and report")]
    lines = ran["train and report"].lines
    begin = next(i for i, line in enumerate(lines) if line.startswith("300 images"))
    # The line before says where compiled programs are kept on this machine.
    draw(HERE / "own_images_training.svg", command, lines[begin:])
    return ran


def picture_of_page(page: Path, browser: Path) -> None:
    """Take a picture of the report while an image is turned by 45 degrees."""
    out = HERE / "own_images_report.png"
    script = ["node", str(HERE / "screenshot.mjs"), f"{page.as_uri()}#angle=45&image=3"]
    subprocess.run([*script, str(out), "1000", "1480"], cwd=browser, check=True)
    with Image.open(out) as image:  # below the explanations
        small(image.convert("RGB").crop((0, 605, 1000, 1480))).save(out, optimize=True)


def picture_of_classes(run_folder: Path) -> None:
    """Put the confusion matrix beside the images of which the network is least certain."""
    with (
        Image.open(run_folder / "confusion.png") as left,
        Image.open(run_folder / "least_certain.png") as right,
    ):
        left, right = left.convert("RGB"), right.convert("RGB")
    height = max(left.height, right.height)
    both = Image.new("RGB", (left.width + right.width + 20, height), "white")
    both.paste(left, (0, (height - left.height) // 2))
    both.paste(right, (left.width + 20, (height - right.height) // 2))
    small(both).save(HERE / "own_images_classes.png", optimize=True)


def small(image: Image.Image) -> Image.Image:
    """Return a picture with a palette of `COLORS`."""
    return image.quantize(COLORS, dither=Image.Dither.NONE)


def times(ran: dict[str, Ran]) -> str:
    """Return a table of the seconds of each step."""
    seconds = {name: round(done.seconds) for name, done in ran.items()}
    cells = [f"{value} s" for value in seconds.values()]
    total = f"**{sum(seconds.values()) / 60:.1f} min**"
    rows = [[*seconds, "together"], ["---"] * (len(cells) + 1), [*cells, total]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def compared(report: Path) -> str:
    """Return the table of the comparison."""
    lines = report.read_text(encoding="utf-8").splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith("|"))
    return "\n".join(lines[begin : lines.index("", begin)])


def predicted(table: Path) -> str:
    """Return the first lines of the table of predictions, with fewer digits."""
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[:4]
    return fenced([",".join(_short(cell) for cell in row) for row in rows] + ["..."])


def _short(cell: str) -> str:
    try:
        return f"{float(cell):.4f}"
    except ValueError:
        return cell


def fenced(lines: list[str]) -> str:
    """Return lines as a block of text."""
    return "\n".join(["```text", *lines, "```"])


def filled(text: str, tables: dict[str, str]) -> str:
    """Return the page with tables in place of the blocks that follow their markers."""
    for name, table in tables.items():
        marker = re.compile(rf"(<!-- {name}, by [^\n]*-->\n\n)(?:[^\n]+\n)*")
        text, count = marker.subn(lambda found, table=table: found[1] + table + "\n", text)
        assert count == 1, name
    return text


if __name__ == "__main__":
    main()
