"""The feature maps of a network's first layers, for images that turn."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from gconv_jax import SO2
from gconv_jax.continuous.sampled import SampledFeatures
from gconv_jax.layer_outputs import capture_layer_outputs

from .sprite_sheets import LARGEST_TILE, downscale, map_sheet

LAYERS, ROWS, CHANNELS = 2, 8, 4
MAP_BYTES = 1_200_000
"""The most bytes that the maps of a network take, as text."""


@dataclass(frozen=True)
class Layer:
    """A layer whose results can be shown: what it is, and the names of its orientations, unless
    they come with the results."""

    path: str
    kind: str
    names: list[str]
    shape: tuple[int, ...]
    is_conv: bool


def first_layers(model: Callable, image: jax.Array) -> list[Layer]:
    """The first two convolutions in ``model(image)`` that return maps of each image, or other
    layers if there are none; nothing is computed."""
    found: dict[str, Layer] = {}

    def keep(path: str, layer, y) -> None:
        values, _ = _maps_of(y)
        if values is None or len(values) != len(image) or path in found:
            return
        group, order = getattr(layer, "group", None), values.shape[-2]
        names = [str(i) for i in range(order)] if order > 1 else [""]
        if getattr(group, "order", None) == order > 1:
            names = [group.element_name(g) for g in group.elements]
        is_conv = hasattr(layer, "kernel_size")
        found[path] = Layer(path, type(layer).__name__, names, values.shape[1:], is_conv)

    def run(image):
        # A copy, since a model of the user's own may count its calls.
        one = nnx.clone(model) if isinstance(model, nnx.Module) else model
        with capture_layer_outputs(one, keep):
            return one(image)

    jax.eval_shape(run, image)
    convs = [layer for layer in found.values() if layer.is_conv]
    return (convs or list(found.values()))[:LAYERS]


def with_maps(model: Callable, image: jax.Array, layers: list[Layer]) -> tuple:
    """``model(image)``, and for each layer its maps ``[N, h, w, G, C]``, of the first channels,
    with the elements that they are sampled at, or None."""
    found = {}
    paths = {layer.path for layer in layers}

    def keep(path: str, layer, y) -> None:
        if path in paths and path not in found:
            values, elements = _maps_of(y)
            found[path] = values[..., :CHANNELS].astype(jnp.float32), elements

    with capture_layer_outputs(model, keep):
        y = model(image)
    return y, [found[layer.path] for layer in layers]


def map_sprites(
    layers: list[Layer], results: list[list[tuple]], most_bytes: int = MAP_BYTES
) -> tuple[list[dict], str]:
    """Return sprites of the maps, and a sentence on what was left out to save space.

    Args:
        layers: of `first_layers`.
        results: for each image those of `with_maps`, whose N images are the frames.
        most_bytes: the most that all sprites may take, as text.
    """
    if not layers:
        return [], "No layer of this network returns feature maps of each image."
    for every, largest in ((1, LARGEST_TILE), (1, 24), (1, 20), (1, 16), (2, 16), (6, 8)):
        maps = [
            _sprites(layer, [image_maps[i] for image_maps in results], every, largest)
            for i, layer in enumerate(layers)
        ]
        if sum(len(s["sprite"]) for layer_maps in maps for s in layer_maps["images"]) <= most_bytes:
            return maps, "" if every == 1 else f"The maps are of one frame in {every}."
    return [], f"No feature maps: they would take more than {most_bytes / 1e6:g} MB."


def sampled_names(matrices: np.ndarray) -> list[str]:
    """The angles of elements of SO(2) or O(2) in degrees, with an m for mirrored ones."""
    angles = np.rad2deg(np.asarray(SO2().log(matrices)))
    mirrored = np.asarray(SO2().is_mirrored(matrices))
    return [f"{a:.0f}°{' m' * bool(m)}" for a, m in zip(angles, mirrored, strict=True)]


def _maps_of(y) -> tuple:
    """Maps ``[N, h, w, G, C]`` and their sampled elements, or None and None."""
    elements = None
    if isinstance(y, SampledFeatures):
        y, elements = y
    if getattr(y, "ndim", 0) == 4:
        y = y[..., None, :]
    if getattr(y, "ndim", 0) != 5 or min(y.shape[1:3]) < 2:
        return None, None
    return y, elements


def _sprites(layer: Layer, results: list[tuple], every: int, largest: int) -> dict:
    names, rows = layer.names, np.arange(layer.shape[-2])
    elements = results[0][1]
    if elements is not None:
        names, rows = sampled_names(elements.matrices), np.flatnonzero(elements.weights > 0.5)
    rows = rows[:: math.ceil(len(rows) / ROWS)]
    channels = max(2, min(CHANNELS, 12 // len(rows)))
    values = [downscale(v[::every][..., rows, :channels], largest) for v, _ in results]
    # Each channel has one scale for all frames, so that what turns keeps its color; not that of
    # its largest values, which are often at the border.
    scale = np.quantile(np.abs(np.stack(values)), 0.99, (0, 1, 2, 3, 4))
    scale = np.where(scale > 0, scale, 1).astype(np.float32)
    return {
        "layer": layer.path,
        "kind": layer.kind,
        "shape": list(layer.shape),
        "rows": [names[r] for r in rows],
        "channels": values[0].shape[-1],
        "every": every,
        "images": [map_sheet(np.clip(v / scale, -1, 1)) for v in values],
    }
