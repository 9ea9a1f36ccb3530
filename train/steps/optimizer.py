"""The optimizer that a configuration names."""

from collections.abc import Callable

import jax
import optax

from ..config import Config
from ..options.fine_tuning import is_frozen
from .starting_weights import dotted


def make_optimizer(
    config: Config, steps_per_epoch: int, head: frozenset[str] = frozenset()
) -> optax.GradientTransformation:
    """Clipping if asked for, then AdamW, or SGD with momentum and weight decay in the gradient.

    The ``head`` are the paths of the parameters that have a rate of their own. Frozen parameters
    take no part: they have no update, no moments, and no share in the norm that is clipped.
    """
    rate, decay = learning_rate(config, steps_per_epoch), config.weight_decay
    if config.optimizer == "adam":
        tx = optax.adamw(rate, weight_decay=decay, mask=_base_filters)
    else:
        coupled = optax.add_decayed_weights(decay, mask=_base_filters)
        tx = optax.chain(coupled, optax.sgd(rate, momentum=config.momentum))
    if config.support_rate != 1:
        tx = optax.chain(tx, optax.masked(optax.scale(config.support_rate), _supports))
    if config.head_rate != 1:
        tx = optax.chain(
            tx, optax.masked(optax.scale(config.head_rate), _matching(head.__contains__))
        )
    if config.clip is not None:
        tx = optax.chain(optax.clip_by_global_norm(config.clip), tx)
    if not config.freeze:
        return tx
    frozen = _matching(lambda path: is_frozen(path, config.freeze))
    trained = _matching(lambda path: not is_frozen(path, config.freeze))
    return optax.chain(optax.masked(tx, trained), optax.masked(optax.set_to_zero(), frozen))


def _matching(matches: Callable[[str], bool]) -> Callable:
    """Return a function of parameters to those whose dotted path matches."""
    return lambda params: jax.tree_util.tree_map_with_path(
        lambda path, _: matches(dotted(path)), params
    )


def learning_rate(config: Config, steps_per_epoch: int) -> float | optax.Schedule:
    """The rate, or a function from the step to it."""
    peak, warmup = config.learning_rate, config.warmup * steps_per_epoch
    if config.schedule == "constant" and not warmup:
        return peak
    if config.schedule == "constant":
        schedule = optax.constant_schedule(peak)
    elif config.schedule == "cosine":
        schedule = optax.cosine_decay_schedule(peak, config.epochs * steps_per_epoch - warmup)
    else:
        epochs = config.milestones
        if config.schedule == "exponential":
            epochs = range(epochs[0], config.epochs)
        # Counted from the end of the warm-up, as every schedule here.
        drops = {m * steps_per_epoch - warmup: config.decay for m in epochs}
        schedule = optax.piecewise_constant_schedule(peak, drops)
    if not warmup:
        return schedule
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), schedule], [warmup])


# Frequencies of rotary embeddings, biases of attention scores, positions, and the weights by which
# relaxed convolutions mix filters that decay themselves.
_PLACES = ("frequencies", "bias", "place", "weights")


def _base_filters(params):
    """Decay acts on filters, once each, not on biases, normalization and positions."""
    return jax.tree_util.tree_map_with_path(
        lambda path, p: p.ndim > 1 and not _is_named(path, _PLACES), params
    )


def _supports(params):
    """Return which parameters are supports, the part of the group that a layer keeps."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: _is_named(path, ("theta", "logits")), params
    )


def _is_named(path, names: tuple[str, ...]) -> bool:
    return any(getattr(part, "key", None) in names for part in path)


def temperature(config: Config, steps_per_epoch: int) -> optax.Schedule:
    """Return the temperature of sampling in partial networks, which falls from 0.5 to 0.1."""
    return optax.linear_schedule(0.5, 0.1, config.epochs * steps_per_epoch)
