"""Mistakes in what makes any model equivariant, for `tests.mutations`."""

from .mistakes import Mistake

ADAPT_MISTAKES = [
    Mistake(
        "results of a symmetrized function are moved the wrong way",
        "gconv_jax/adapt/poses.py",
        "back = [act(part, ElementMove(group, g, fill)) for",
        "back = [act(part, ElementMove(group, g, fill).inverse) for",
        "adapt/test_symmetrize.py",
    ),
    Mistake(
        "the pose that is chosen is done twice, not undone",
        "gconv_jax/adapt/canonicalize.py",
        "posed = move_each(act, x, best, group, fill, inverse=True)",
        "posed = move_each(act, x, best, group, fill, inverse=False)",
        "adapt/test_canonicalize.py",
    ),
    Mistake(
        "the channels of a projected filter are permuted the wrong way",
        "gconv_jax/adapt/project.py",
        "_act_on_last(moved, move, output_action)",
        "_act_on_last(moved, move.inverse, output_action)",
        "adapt/test_project.py",
    ),
    Mistake(
        "a plain filter starts at another element than the identity",
        "gconv_jax/adapt/start.py",
        "[jnp.expand_dims(source, -3), elsewhere]",
        "[elsewhere, jnp.expand_dims(source, -3)]",
        "adapt/test_start.py",
    ),
    Mistake(
        "relaxed weights belong to other elements",
        "gconv_jax/adapt/relaxed.py",
        "x[..., None, :] * weights.T.astype(dtype)[..., None]",
        "x[..., None, :] * weights.T[::-1].astype(dtype)[..., None]",
        "adapt/test_relaxed.py",
    ),
    Mistake(
        "small rotations turn clockwise",
        "gconv_jax/lattice/flow.py",
        '"rotation": [[0, -1, 0], [1, 0, 0]]',
        '"rotation": [[0, 1, 0], [-1, 0, 0]]',
        "lattice/test_flow.py",
    ),
]
