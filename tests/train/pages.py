"""A finished run that nobody trained, and a page taken apart: shared by tests of pages."""

import base64
import collections
import html.parser
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from train.config import Config
from train.report.html_page import PAGE
from train.run_folder.folder import Run

VOID = {"meta", "input", "img", "br", "link"}


def made_run(config: Config, path: Path) -> Run:
    """A run folder with results, and one picture."""
    run = Run.create(config, path)
    run.add_metrics({"epoch": 1, "train_loss": 1.0, "train_error": 0.5})
    results = {
        "model": config.title,
        "parameters": 1234,
        "epochs": 1,
        "selected_epoch": None,
        "train_images": 96,
        "validation_images": 0,
        "test_images": 40,
        "test_error": 0.5,
        "symmetry": {"group": "P4", "elements": ["e", "r90", "r180", "r270"]},
        "invariance_images": 40,
        "invariance_error_at_element": {"e": 0.0, "r90": 1e-7, "r180": 2e-7, "r270": 1e-7},
        "train_seconds": 1.0,
    }
    run.write_json("results.json", results)
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(run.path / "learning_curves.png")
    return run


class Parsed(html.parser.HTMLParser):
    """The contents of a page; `links` are the places that it refers to."""

    def __init__(self, text: str):
        super().__init__()
        self.count, self.ids, self.links, self.labels = collections.Counter(), [], [], []
        self.title = self.heading = self.text = self._json = ""
        self.unclosed: list[str] = []
        self._in_data = False
        self.feed(text)
        self.close()
        self.data = json.loads(self._json)

    @property
    def tags(self) -> set[str]:
        return set(self.count)

    def handle_starttag(self, tag, attributes):
        of = dict(attributes)
        self.count[tag] += 1
        if tag not in VOID:
            self.unclosed.append(tag)
        self.ids += [of["id"]] if "id" in of else []
        self.labels += [of["for"]] if "for" in of else []
        self.links += [of[name] for name in ("src", "href", "action", "data") if name in of]
        self._in_data = of.get("id") == "data"

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.unclosed.pop() == tag
        self._in_data = False

    def handle_data(self, data):
        inside = self.unclosed[-1] if self.unclosed else ""
        if self._in_data:
            self._json += data
        elif inside == "title":
            self.title += data
        elif inside not in ("script", "style"):
            self.text += data
            if inside == "h1":
                self.heading += data


def parse(run: Run) -> Parsed:
    return Parsed((run.path / PAGE).read_text())


def decoded(sheet: dict) -> np.ndarray:
    """The frames of a sheet, ``[N, h, w]``: pixels, or indices into a palette."""
    return cut(picture(sheet["sprite"]), sheet)


def picture(address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))))


def cut(pixels: np.ndarray, sheet: dict) -> np.ndarray:
    height, width = sheet["size"]
    lines = pixels.reshape(-1, height, sheet["columns"], width, *pixels.shape[2:])
    return lines.swapaxes(1, 2).reshape(-1, height, width, *pixels.shape[2:])
