"""The pure steps: training, evaluation, and re-estimation of batch statistics.

Each is a function of arrays alone. Randomness comes from a key and the step number, so a run that
is resumed at a step does what the uninterrupted one did. With an ``axis_name`` the same functions
run under pmap, and gradients, batch statistics, augmentation and sums are those of the whole batch;
only dropout draws its masks for each device.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import lax

from gconv_jax import FiniteGroup, symmetrize
from gconv_jax.models import LinenModel
from gconv_jax.nnx import set_temperature

from ..options.fine_tuning import is_frozen
from .augment import Prepare
from .embedding import with_features
from .loss import Loss
from .penalties import Penalty
from .starting_weights import dotted
from .task import ONE_CLASS, Task


class Batch(NamedTuple):
    """Pixels as stored, ``[N, H, W, C]``, and labels ``[N]``, or ``[N, classes]``, or masks ``[N,
    H, W]``."""

    image: jax.Array
    label: jax.Array


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["params", "stats", "opt_state", "step", "average"],
    meta_fields=[],
)
@dataclass(frozen=True)
class TrainState:
    """All that training changes: parameters, batch statistics, optimizer state, step number, and
    the moving average of the parameters if one is kept."""

    params: nnx.State
    stats: nnx.State
    opt_state: optax.OptState
    step: jax.Array
    average: nnx.State | None = None

    @property
    def weights(self) -> nnx.State:
        """The parameters to evaluate."""
        return self.params if self.average is None else self.average


class Metrics(NamedTuple):
    """Means over a batch, or over a data set."""

    loss: jax.Array
    error: jax.Array


class Steps:
    """The steps of one model.

    Args:
        model: an NNX module from images to logits.
        tx: the optimizer.
        prepare: from stored pixels to the model's input.
        axis_name: of the devices under pmap; None under jit.
        average: decay of the moving average of the parameters; None for none.
        temperature: of the sampling of discrete elements in partial networks, for each step.
        penalty: what is added to the loss (`train.steps.penalties`); None for nothing.
        symmetry: a group over whose poses the logits of evaluation are averaged; None for none.
        loss: the loss of training; that of evaluation is the cross-entropy, and the default.
        task: the meaning of the logits.
        freeze: patterns of the layers that are not trained (`train.options.fine_tuning`). Their
            batch normalization is that of evaluation in all modes.
    """

    def __init__(
        self,
        model: nnx.Module,
        tx: optax.GradientTransformation,
        prepare: Prepare,
        axis_name: str | None = None,
        average: float | None = None,
        temperature: optax.Schedule | None = None,
        penalty: Penalty | None = None,
        symmetry: FiniteGroup | None = None,
        loss: Loss | None = None,
        task: Task = ONE_CLASS,
        freeze: tuple[str, ...] = (),
    ):
        self.tx, self.prepare, self.axis_name, self.average = tx, prepare, axis_name, average
        self.temperature, self.penalty, self.symmetry = temperature, penalty, symmetry
        self.task, self.loss = task, task.cross_entropy if loss is None else loss
        train, evaluate, calibrate = (
            _split(_in_mode(model, mode, axis_name, freeze))
            for mode in ("train", "evaluate", "calibrate")
        )
        self._train_def, self._params, self._rng, self._stats = train
        self._eval_def, self._calibration_def = evaluate[0], calibrate[0]
        self._freeze = freeze

    def begin_from(self, params: nnx.State, stats: nnx.State) -> None:
        """Let the state before the first step have these numbers."""
        self._params, self._stats = params, stats

    def keep_frozen(self, before: nnx.State, after: nnx.State) -> nnx.State:
        """Return batch statistics, those of frozen layers as they were before."""
        if not self._freeze:
            return after
        return jax.tree_util.tree_map_with_path(
            lambda path, a, b: a if is_frozen(dotted(path), self._freeze) else b, before, after
        )

    def init(self) -> TrainState:
        """The state before the first step, with the model's own parameters."""
        # Copies, since a state may be donated.
        params, stats = jax.tree.map(jnp.copy, (self._params, self._stats))
        average = None if self.average is None else jax.tree.map(jnp.copy, params)
        return TrainState(params, stats, self.tx.init(params), jnp.zeros((), jnp.int32), average)

    def train(self, state: TrainState, batch: Batch, key: jax.Array) -> tuple[TrainState, Metrics]:
        """One step of gradient descent on the mean loss of the batch."""
        augment, dropout = jax.random.split(jax.random.fold_in(key, state.step))
        moved = self._example_keys(augment, len(batch.label))
        image, label = self.prepare(batch.image, moved), batch.label
        if self.task.masks:
            label = self.prepare.mask(label, moved)
        elif self.task.vectors is not None:
            turns = self.prepare.matrices(moved, batch.image.ndim - 2)
            label = self.task.vectors.turn(label, turns)
        moves = self._example_keys(jax.random.fold_in(dropout, 2**31 - 1), len(batch.label))
        rng = self._fresh_rng(dropout)

        def loss_fn(params):
            def fresh() -> nnx.Module:
                model = nnx.merge(self._train_def, params, rng, state.stats, copy=True)
                if self.temperature is not None:
                    set_temperature(model, self.temperature(state.step))
                return model

            model = fresh()
            logits = model(image)
            loss = self.loss(logits, label).mean()
            if self.penalty is not None:
                loss = loss + self.penalty(fresh(), image, logits, moves)
            return loss, (logits, _split(model)[3])

        (loss, (logits, stats)), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
        metrics = Metrics(loss, self.task.errors(logits, label).mean())
        grads, metrics = self._reduce(lax.pmean, (grads, metrics))
        updates, opt_state = self.tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        average = state.average
        if average is not None:
            # A short memory at first, or the initial parameters would stay in it for long.
            decay = jnp.minimum(self.average, (1 + state.step) / (10 + state.step))
            average = jax.tree.map(lambda a, p: a + (1 - decay) * (p - a), average, params)
        return TrainState(params, stats, opt_state, state.step + 1, average), metrics

    def evaluate(self, params, stats, batch: Batch, weight: jax.Array) -> tuple[Metrics, jax.Array]:
        """Sums over the batch, each image counted ``weight`` times (0 for filling), and what the
        figures of all its images are made of (`Task.measured`), on all devices, in their order."""
        logits = self.logits(params, stats, batch.image)
        losses = self.task.cross_entropy(logits, batch.label)
        errors = self.task.errors(logits, batch.label)
        sums = Metrics((losses * weight).sum(), (errors * weight).sum())
        gather = functools.partial(lax.all_gather, tiled=True)
        measured = self.task.measured(logits, batch.label)
        return self._reduce(lax.psum, sums), self._reduce(gather, measured)

    def batch_stats(self, params, stats, image: jax.Array, key: jax.Array) -> nnx.State:
        """The batch statistics of these images alone, augmented but without dropout."""
        image = self.prepare(image, self._example_keys(key, len(image)))
        model = nnx.merge(self._calibration_def, params, self._rng, stats, copy=True)
        model(image)
        return _split(model)[3]

    def logits(self, params, stats, image: jax.Array) -> jax.Array:
        """The model's logits in evaluation mode, ``[N, classes]``."""
        return self._in_all_poses(self.model(params, stats))(self.prepare(image))

    def features(self, params, stats, image: jax.Array) -> jax.Array:
        """The model's features and behind them its logits, ``[N, F + classes]`` (`with_features`),
        in evaluation mode."""
        run = self._in_all_poses(with_features(self.model(params, stats)))
        return run(self.prepare(image))

    def model(self, params, stats) -> nnx.Module:
        """The model in evaluation mode with these parameters; its input is prepared pixels."""
        return nnx.merge(self._eval_def, params, self._rng, stats, copy=True)

    def _in_all_poses(self, run: Callable) -> Callable:
        if self.symmetry is None:
            return run
        group, vectors = self.symmetry, self.task.vectors
        if vectors is None:
            return symmetrize(run, group=group)

        def turn(y: jax.Array, element: int) -> jax.Array:
            """Turn the vectors among the last numbers; features before them are invariant."""
            rest, values = y[..., : -vectors.targets], y[..., -vectors.targets :]
            return jnp.concatenate([rest, vectors.turn(values, group.matrices[element])], -1)

        return symmetrize(run, group=group, output_action=turn)

    def _reduce(self, reduce: Callable, tree):
        return tree if self.axis_name is None else reduce(tree, self.axis_name)

    def _device(self):
        return 0 if self.axis_name is None else lax.axis_index(self.axis_name)

    def _example_keys(self, key: jax.Array, count: int) -> jax.Array:
        """A key for each image by its place in the whole batch, however many devices there are."""
        places = self._device() * count + jnp.arange(count)
        return jax.vmap(jax.random.fold_in, (None, 0))(key, places)

    def _fresh_rng(self, key: jax.Array) -> nnx.State:
        """The model's random streams, started anew from ``key``: a different one in each."""
        key = jax.random.fold_in(key, self._device())
        leaves, treedef = jax.tree.flatten(self._rng)
        fresh = [
            jax.random.fold_in(key, i)
            if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
            else jnp.zeros_like(leaf)
            for i, leaf in enumerate(leaves)
        ]
        return jax.tree.unflatten(treedef, fresh)


def _in_mode(
    model: nnx.Module,
    mode: Literal["train", "evaluate", "calibrate"],
    axis_name: str | None,
    freeze: tuple[str, ...] = (),
) -> nnx.Module:
    """Return a copy of a model in one of the modes of its steps; the model stays as it is."""
    model = nnx.clone(model)
    if mode == "train":
        model.train()
    else:
        model.eval()
    for path, norm in nnx.iter_graph(model):
        if isinstance(norm, nnx.BatchNorm | LinenModel):
            norm.axis_name = axis_name
            if is_frozen(".".join(map(str, (*path, "mean"))), freeze):
                norm.use_running_average = True
                continue
            if mode == "calibrate":
                # With momentum 0 the new statistics are those of the batch, whatever the old were.
                norm.use_running_average, norm.momentum = False, 0.0
    return model


def _split(model: nnx.Module) -> tuple[nnx.GraphDef, nnx.State, nnx.State, nnx.State]:
    """Structure, parameters, random streams, and the rest (batch statistics)."""
    return nnx.split(model, nnx.Param, nnx.RngState, ...)  # pyright: ignore[reportReturnType]
