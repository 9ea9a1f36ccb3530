"""Helpers that tests of whole runs share."""

import socket
from pathlib import Path

import jax
import numpy as np
from PIL import Image, ImageDraw

from train.run.session import prepare_session
from train.run_folder.checkpoint import load_tree
from train.run_folder.folder import Run


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def final_arrays(run: Run):
    state = prepare_session(run.config).steps.init()
    params, stats = load_tree(run.path / "model", (state.params, state.stats))
    return [np.asarray(leaf) for leaf in jax.tree.leaves((params, stats))]


def assert_same_bits(a: Run, b: Run) -> None:
    pairs = list(zip(final_arrays(a), final_arrays(b), strict=True))
    assert pairs
    for x, y in pairs:
        assert x.dtype == y.dtype and x.shape == y.shape
        np.testing.assert_array_equal(x, y)


def draw_shapes(folder: Path, count: int) -> Path:
    """Draw so many rings and stars, each in the folder of its class."""
    rng = np.random.default_rng(0)
    for label in ("ring", "star"):
        (folder / label).mkdir(parents=True)
        for i in range(count):
            width, height = (int(n) for n in rng.integers(30, 60, 2))
            image = Image.new("RGB", (width, height), "darkgreen")
            draw, box = ImageDraw.Draw(image), (8, 8, width - 8, height - 8)
            ink = tuple(int(v) for v in rng.integers(150, 256, 3))
            if label == "ring":
                draw.ellipse(box, outline=ink, width=3)
            else:
                draw.line(box, fill=ink, width=3)
                draw.line((8, height - 8, width - 8, 8), fill=ink, width=3)
            image.save(folder / label / f"{i}.{('png', 'jpg', 'webp')[i % 3]}")
    return folder
