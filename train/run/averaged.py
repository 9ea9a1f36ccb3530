"""The figures of a trained network whose logits are averaged over the poses of each image."""

import json

from gconv_jax import FiniteGroup
from gconv_jax.conv.exact_subgroup import exact_subgroup

from ..config import Config
from ..data.splits import Data
from ..run_folder.folder import Run
from .invariance import symmetry
from .metrics import final_figures
from .predictor import load_run
from .report_parts import LEAST_SECONDS, Parts

AVERAGED = "averaged.json"
"""The file of these figures in the run folder."""
_KEPT = ("parameters", "epochs", "train_seconds", "input", "symmetry")
"""The results that are those of the network alone."""


def poses_of(config: Config) -> FiniteGroup | None:
    """Return the elements of a network's symmetry that move pixels onto pixels; None if that is the
    identity alone."""
    group = symmetry(config)
    group = group if group.is_lattice else exact_subgroup(group).subgroup
    return group if group.order > 1 else None


def averaged_results(run: Run, group: FiniteGroup, data: Data | None = None) -> dict:
    """Return the results of a finished run with its logits averaged over the poses under a group.

    They are measured once, on the test images, and kept in the run folder.

    Args:
        run: a finished run.
        group: the poses.
        data: its images, if they have been loaded before.

    Raises:
        ValueError: its test images are not all there.
    """
    path, results = run.path / AVERAGED, run.results or {}
    kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if kept.get("group") != repr(group):
        session, state = load_run(run, symmetry=group, loaded=data)
        there, of = len(session.data.test.label), results["test_images"]
        if there != of:
            raise ValueError(f"{there} of the {of} test images of {run.path} are there")
        wanted = "quick" if run.config.report == "full" else run.config.report
        parts = Parts(wanted, max(LEAST_SECONDS, results["train_seconds"]))
        kept = {"group": repr(group), "results": final_figures(session, state, parts)}
        run.write_json(AVERAGED, kept)
    own = {name: results[name] for name in _KEPT if name in results}
    return own | kept["results"]
