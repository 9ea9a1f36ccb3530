"""The invariance error: how much turning an image changes what a network says of it.

For the class scores f (the logits), an image x, another one x', and an element g of a group, it is
the root mean square of ``f(g x) - f(x)`` divided by that of ``f(x') - f(x)``, over images and
classes. There is one such number for each element and for each angle. Where outputs are
components of vectors, ``g^-1 f(g x)`` takes the place of ``f(g x)``.
"""

from collections.abc import Sequence

import numpy as np

from gconv_jax import P4, P4M, Z2, FiniteGroup, LieGroup, full_octahedral, octahedral
from gconv_jax.models import E2CNN, SmallE2CNN

from ..config import Config
from ..data.volumes import of_volumes
from ..options.networks import CONTINUOUS_GROUPS, is_own, row_of
from ..steps.build_model import GROUPS
from ..steps.task import task_of_results
from ..steps.turned_images import Turn, turns_of

SENTENCE = (
    "Invariance error: how much the outputs change when an image is turned or mirrored, "
    "divided by how much they differ between two images. 0 is no change, and 1 is as much as "
    "another image"
)
SENTENCE_OF_MASKS = SENTENCE.replace(
    "the outputs change when an image is turned or mirrored",
    "the outputs of pixels, moved back, change when an image is turned or mirrored",
)
SENTENCE_OF_VECTORS = SENTENCE.replace(
    "the outputs change when an image is turned or mirrored",
    "the outputs, their vectors moved back, change when an image is turned or mirrored",
)
PLAIN = ("z2cnn", "plain-cnn", "early-p4cnn", "augerino")
"""Networks whose class scores have no symmetry but that of translations, or not by design."""
SAMPLES = 8
"""Elements of a continuous group, where the configuration does not say how many."""


def sentence_of(results: dict) -> str:
    """Return what the invariance error of a run is, in words."""
    task = task_of_results(results)
    if task.masks:
        return SENTENCE_OF_MASKS
    return SENTENCE if task.vectors is None else SENTENCE_OF_VECTORS


def symmetry(config: Config) -> FiniteGroup:
    """The group under which the class scores of a network are invariant by design.

    It is that of the last layers, or the elements that a continuous group is sampled at. ``Z2`` is
    that of a network without such a symmetry, a plain CNN for example, and ``trivial(3)`` that of
    one for volumes.
    """
    if config.adapt in ("symmetrize", "canonicalize"):
        return _finite(config.adapt_group, config)
    if config.relaxed is not None or config.head == "ordinary":
        return Z2
    if config.groups:
        return _finite(config.groups[-1], config)
    if config.model in PLAIN or (is_own(config.model) and config.group is None):
        return Z2
    if config.group is not None:
        return _finite(config.group, config)
    defaults = {"e2cnn": E2CNN.published_groups[-1], "small-e2cnn": SmallE2CNN.published_groups[-1]}
    defaults |= {"wide-resnet": P4M, "mixed": Z2, "voxel-cnn": octahedral()}
    defaults |= {"unet": P4M, "group-unet": P4M}
    if "samples" in row_of(config.model).options:
        return _finite(CONTINUOUS_GROUPS[0], config)
    return defaults.get(config.model, P4)  # pyright: ignore[reportReturnType]


def described(group: FiniteGroup) -> dict:
    """A group as plain numbers: its name, and the names of its elements."""
    return {"group": repr(group), "elements": [turn.name for turn in turns_of(group)]}


def checked(results: dict, beside: Sequence[dict] = ()) -> dict | None:
    """The group under which a network is checked, as `described`; None for earlier versions.

    It is the network's own `symmetry`. For a network without one it is the largest of the networks
    beside it, so that their figures can be compared, and quarter turns if those have none either,
    or the rotations of the cube.
    """
    if "symmetry" not in results:
        return None
    groups = [results, *(other for other in beside if "symmetry" in other)]
    own, *others = (run_results["symmetry"] for run_results in groups)
    if len(own["elements"]) > 1:
        return own
    largest = max(others, key=lambda group: len(group["elements"]), default=own)
    if len(largest["elements"]) > 1:
        return largest
    return described(octahedral() if of_volumes(results) else P4)


def invariance_errors(logits: np.ndarray, upright: np.ndarray) -> np.ndarray:
    """The invariance error of each move.

    Args:
        logits: of images that were moved, ``[moves, N, classes]``.
        upright: of the same images as they are, ``[N, classes]``.

    Returns:
        float64 ``[moves]``: 0 is invariance, and about 1 says that an image has nothing to do with
        itself moved.
    """
    change = np.asarray(logits, np.float64) - upright
    return np.sqrt(np.square(change).mean((1, 2))) / (difference(upright) or 1.0)


def difference(logits: np.ndarray) -> float:
    """The root mean square difference of the logits ``[N, classes]`` of two different images."""
    # Over all pairs of images, the mean square difference is twice the unbiased variance.
    return float(np.sqrt(2 * np.var(np.asarray(logits, np.float64), axis=0, ddof=1).mean()))


def worst(results: dict, group: dict, *, exact: bool) -> float | None:
    """The largest invariance error over the elements of a group that move pixels onto pixels, or
    over those that interpolate; None if there are none, or if one was not measured.

    Args:
        results: the figures of a network.
        group: as `described`.
        exact: which of its elements.
    """
    measured = _at_elements(results)
    found = [measured.get(name) for name in group["elements"] if is_exact(name) == exact]
    errors = [error for error in found if error is not None]
    return max(errors) if found and len(errors) == len(found) else None


def is_exact(element: str) -> bool:
    """Return whether the element of that name moves pixels onto pixels."""
    return element in _EXACT


_EXACT = frozenset(turn.name for group in (P4M, full_octahedral()) for turn in turns_of(group))


def _at_elements(results: dict) -> dict[str, float]:
    """The invariance error by the name of the element, also of angles on the curve."""
    angles, errors = (results.get(key, []) for key in ("angles", "invariance_error_at_angle"))
    curve = {Turn(angle).name: error for angle, error in zip(angles, errors, strict=False)}
    return curve | results.get("invariance_error_at_element", {})


def _finite(name: str, config: Config) -> FiniteGroup:
    group = GROUPS[name]
    return group.finite(config.samples or SAMPLES) if isinstance(group, LieGroup) else group
