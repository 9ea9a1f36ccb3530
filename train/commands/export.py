"""The network of a run as a file that runs without this program, and what goes with it.

Beside the network there is a copy of `gconv_jax.export.image_files`, which reads image files as the
network knows them, with Pillow and NumPy alone, and tifffile where Pillow does not suffice. What it
is to be called with and the classes are in the metadata of an ONNX file, and in a JSON file beside
a StableHLO file.
"""

import inspect
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from gconv_jax import __version__
from gconv_jax.export import (
    brightness,
    image_decoders,
    image_files,
    onnx,
    stablehlo,
    volume_files,
)

from ..data.reading import Reading
from ..data.volumes import is_volume
from ..options.networks import is_own
from ..run.predictor import Predictor, as_it_stands
from ..run.saved_predictor import open_predictor
from ..run_folder.command_line import command
from ..run_folder.folder import Run
from ..run_folder.saved_network import SavedNetwork, open_run
from ..steps.task import Task
from .save_network import save_network

READER, VOLUME_READER = "read_image.py", "read_volume.py"
_COPY, _WRITER = "# A copy of gconv_jax/export/", "exported_by"
"""The beginnings of files that an export writes and may replace."""

USE = {
    "onnx": """\
import json
import sys

import numpy as np
import onnxruntime
from {reader} import {reader}

session = onnxruntime.InferenceSession("{path}")
about = session.get_modelmeta().custom_metadata_map
image, classes = json.loads(about["image"]), json.loads(about["classes"])
pixels = np.stack([{reader}(path, **image) for path in sys.argv[1:]])
(probabilities,) = session.run(None, {{"x": pixels}})
print([classes[i] for i in probabilities.argmax(-1)])
""",
    "stablehlo": """\
import json
import sys
from pathlib import Path

import numpy as np
from jax import export
from {reader} import {reader}

program = export.deserialize(bytearray(Path("{path}").read_bytes()))
about = json.loads(Path("{path}.json").read_text())
pixels = np.stack([{reader}(path, **about["image"]) for path in sys.argv[1:]])
probabilities = np.asarray(program.call(pixels))
print([about["classes"][i] for i in probabilities.argmax(-1)])
""",
}
"""Programs that classify image files with an exported network, by its format."""
OF_LABELS = "print([[c for c, p in zip({classes}, row) if p > 0.5] for row in probabilities])"
"""The last line of such a program where images may have several labels."""
OF_NUMBERS = "print([dict(zip({classes}, row)) for row in numbers.tolist()])"
"""The last line of such a program where images have numbers."""
OF_MASKS = "print([[classes[i] for i in np.unique(mask)] for mask in probabilities.argmax(-1)])"
"""The last line of such a program where images have masks: the classes that are in each."""


@dataclass(frozen=True)
class Export:
    """Write the network of a run, or a saved one, to a file: stored pixels, uint8 [N, H, W, C],
    to the probabilities of the classes, or to numbers, for batches of any size. Of a run that
    is not finished, its newest checkpoint. Beside it comes read_image.py, which reads image
    files as predict does and needs Pillow and NumPy alone, and tifffile for TIFF files of
    several bands; of a network for volumes, uint8 [N, D, H, W, C], read_volume.py, which needs
    NumPy alone. The names of the classes and the size of the images are in the metadata of the
    ONNX file, or in FILE.json beside the StableHLO file. With --format pretrained it is a
    folder for this library: a saved network, which predict, features, evaluate and
    gconv_jax.models.load_pretrained take."""

    run: tyro.conf.Positional[Path]
    """The run folder, the folder of a saved network, or the name of a ready one."""
    format: Literal["stablehlo", "onnx", "pretrained"] = "stablehlo"
    """stablehlo: for jax.export, on CPU, GPU and TPU; onnx: for onnxruntime and other programs;
    pretrained: a folder of config.json, model.safetensors and a model card."""
    out: Path | None = None
    """The file or folder (default: model.stablehlo, model.onnx or pretrained in the run folder; of
    a saved network, its name with such an ending, in the folder where you are)."""
    raw_dir: Path | None = None
    """The folder of the original files of the data set, if it is not that of the training; for a
    run that is not finished."""
    data: Path | None = None
    """The same of a folder or CSV file of your own images."""


def export(options: Export, log: Callable[[str], None] = print) -> Path:
    """Write the files, and say where they are and how another program uses them."""
    run, saves = open_run(options.run), options.format == "pretrained"
    if isinstance(run, SavedNetwork) and saves:
        raise ValueError(f"`format` pretrained is what {run.path} has: copy the folder")
    places = {"raw_dir": options.raw_dir, "data": options.data}
    if isinstance(run, Run):
        run = as_it_stands(run, log, **places)
    network, path = open_predictor(run, log, **places), options.out or _default_path(run, options)
    if saves:
        assert isinstance(run, Run)
        path = save_network(run, network, path)
        if is_own(run.config.model):
            log(f"{path}: the numbers of {run.config.model}, for gconv_jax.models.load_pretrained:")
            log(f"  load_pretrained({str(path)!r}, model=...)")
            return path
        log(f"{path}: the network, for gconv_jax.models.load_pretrained and for this program:")
        log(f"  {command('predict', path, 'IMAGE')}")
        return path

    def probabilities(image: jax.Array) -> jax.Array:
        if network.whitening is not None:
            image = network.whitening.whiten(image)
        return network.task.probabilities(
            network.steps.logits(network.params, network.stats, image)
        )

    about, beside = description(network), path.with_name(f"{path.name}.json")
    volumes = is_volume(network.shape)
    reader, shape = path.with_name(VOLUME_READER if volumes else READER), (None, *network.shape)
    _require_ours(reader, _COPY)
    path.parent.mkdir(parents=True, exist_ok=True)
    if options.format == "onnx":
        metadata = {name: json.dumps(value) for name, value in about.items()}
        onnx(probabilities, shape, path, dtype=jnp.uint8, metadata=metadata)
    else:
        text = json.dumps(about, indent=2) + "\n"
        _require_ours(beside, _WRITER)
        stablehlo(probabilities, shape, path, dtype=jnp.uint8)
        beside.write_text(text, encoding="utf-8")
    source = reader_source(volumes=volumes)
    head = f"{_COPY}{'volume' if volumes else 'image'}_files.py {__version__} (Apache-2.0)"
    head += ", for the networks beside it.\n"
    reader.write_text(head + source, encoding="utf-8")
    outputs = "numbers" if network.task.numbers else "probabilities"
    outputs += " of each pixel" if network.task.masks else ""
    log(f"{path}: uint8 [N, {', '.join(map(str, network.shape))}] to {outputs}")
    if options.format == "stablehlo":
        log(f"{beside}: what goes with it")
    kind = "volumes in .npy files" if volumes else "image files"
    log(f"{reader}: {kind} to such pixels; in another program, in the folder {path.parent}:")
    for line in _program(options.format, path, reader, network.task).splitlines():
        log(f"  {line}".rstrip())
    if network.names is not None:
        log(f"the {outputs if network.task.numbers else 'classes'} are {', '.join(network.names)}")
    return path


def _default_path(run: Run | SavedNetwork, options: Export) -> Path:
    if isinstance(run, SavedNetwork):
        return Path(f"{run.path.name}.{options.format}")
    names = {"stablehlo": "model.stablehlo", "onnx": "model.onnx", "pretrained": "pretrained"}
    return run.path / names[options.format]


def _program(form: Literal["stablehlo", "onnx"], path: Path, reader: Path, task: Task) -> str:
    """Return a program that classifies images with the network."""
    text = USE[form].format(path=path.name, reader=reader.stem)
    if task.masks:
        lines = text.splitlines()
        listed = "classes" if form == "onnx" else 'about["classes"]'
        return "\n".join([*lines[:-1], OF_MASKS.replace("classes", listed)])
    if not task.several and not task.numbers:
        return text
    *lines, _ = text.splitlines()
    classes = {"onnx": "classes", "stablehlo": 'about["classes"]'}[form]
    last = OF_NUMBERS if task.numbers else OF_LABELS
    program = "\n".join([*lines, last.format(classes=classes)])
    return program.replace("probabilities", "numbers") if task.numbers else program


def reader_source(*, volumes: bool) -> str:
    """The program of ``read_image.py`` or ``read_volume.py``: several modules in one file."""
    modules = (brightness, volume_files) if volumes else (brightness, image_decoders, image_files)
    imported = r"^from gconv_jax\.export\.\w+ import .*\n"
    return "\n\n".join(
        re.sub(imported, "", inspect.getsource(module), flags=re.MULTILINE) for module in modules
    )


def description(network: Predictor) -> dict[str, Any]:
    """The facts that a program needs to use an exported network, as plain values by name.

    ``image`` has the arguments of `gconv_jax.export.image_files.read_image`, or of
    `gconv_jax.export.volume_files.read_volume`, and ``classes`` the names in the order of the
    outputs. ``labels`` says whether an image has one of them or several, or has numbers. ``steps``
    says in words what the reader and the network do.
    """
    task, prepare = network.task, network.steps.prepare
    labels = "several: those with a probability above 0.5" if task.several else "one: the largest"
    labels += " of each pixel" if task.masks else ""
    scaled = f"minus {_numbers(prepare.mean)}, divided by {_numbers(prepare.std)}"
    whitened = "contrast normalized, then whitened (ZCA)"
    return {
        _WRITER: f"gconv_jax {__version__}",
        "model": network.title,
        "classes": [network.name(i) for i in range(network.classes)],
        "image": {"size": [*network.shape], **network.reading.arguments()},
        "input": {"name": "x", "shape": ["N", *network.shape], "dtype": "uint8"},
        "range": [0, 255],
        "output": {
            "shape": ["N", *(network.shape[:-1] if task.masks else ()), network.classes],
            "dtype": "float32",
            "is": "numbers" if task.numbers else "probabilities",
        },
        "labels": "none: each output is a number" if task.numbers else labels,
        "steps": [
            *_reading_steps(network),
            "network: pixels divided by 255, "
            f"{scaled if network.whitening is None else whitened}; "
            + ("numbers in their own units" if task.numbers else f"{task.link} of the logits"),
        ],
    }


def _numbers(value: float | np.ndarray) -> str:
    """Return a number in words, or one for each channel."""
    return ", ".join(f"{n:g}" for n in np.ravel(value))


def _reading_steps(network: Predictor) -> list[str]:
    """Return in words what the reader does."""
    if is_volume(network.shape):
        block = network.reading.block or 1
        sides = " x ".join(str(block * side) for side in network.shape[:3])
        steps = [
            f"read_volume: {_depth(network.reading)}",
            f"read_volume: in the middle of {sides} voxels (depth x height x width), on the median "
            "of its surface",
        ]
        mean = f"read_volume: the mean of each block of {block} x {block} x {block} voxels"
        return [*steps, mean] if block > 1 else steps
    height, width, channels = network.shape
    ink = {
        "light": "the brightness stays as it is",
        "auto": "gray images whose border is lighter than 127 on average are inverted",
    }[network.reading.ink if channels == 1 else "light"]
    return [
        "read_image: the first frame, turned upright as its EXIF data say",
        f"read_image: {_depth(network.reading)}",
        f"read_image: transparent parts on {_ground(network.reading)}",
        f"read_image: {_colors(channels)}; {ink}",
        f"read_image: scaled to fit into {height} x {width} pixels (height x width), bilinear, "
        "without distortion, and centered on the median of the border",
    ]


def _depth(reading: Reading) -> str:
    if reading.range is None:
        return "16 and 32 bits scaled to 8"
    if reading.range == "each":
        return "the least brightness of the image scaled to 0, the greatest to 255 (see limits)"
    low, high = reading.range
    return f"brightness scaled so that {low:.9g} becomes 0 and {high:.9g} 255, and cut off there"


def _ground(reading: Reading) -> str:
    return reading.ground or "black if the rest is light, else on white"


def _colors(channels: int) -> str:
    return {1: "gray", 3: "RGB"}.get(channels, f"the {channels} channels as they are")


def _require_ours(path: Path, start: str) -> None:
    """ValueError if there is a file that an earlier export has not written."""
    if not path.exists():
        return
    if start not in path.read_text(encoding="utf-8", errors="replace")[:100]:
        raise ValueError(
            f"`out`: {path} is another program's file and would be replaced; move it, or name a "
            "file in another folder with --out"
        )
