"""A configuration made ready: data, model, optimiser, compiled steps."""

from dataclasses import dataclass

import jax
import optax

from train.augment import Prepare
from train.config import Config
from train.data import Data, load_data
from train.feed import Feed
from train.models import build_model
from train.parallel import choose_parallel
from train.step import Steps


@dataclass(frozen=True)
class Session:
    """What training, evaluation and prediction with one configuration need."""

    config: Config
    data: Data
    steps: Steps
    feed: Feed


def prepare_session(config: Config) -> Session:
    """Load the data and build the rest. ValueError if the configuration
    does not fit the data or the devices."""
    parallel = choose_parallel(config.parallel, config.batch_size)
    data = load_data(config)
    model = build_model(config, classes=data.classes, in_features=data.train.image.shape[-1])
    steps = Steps(
        model,
        optax.adamw(config.learning_rate, weight_decay=config.weight_decay, mask=_base_filters),
        Prepare(data.mean, data.std, config.augment),
        parallel.axis_name,
    )
    feed = Feed(
        steps,
        data.train,
        batch_size=config.batch_size,
        seed=config.seed,
        parallel=parallel,
        loop=config.loop,
        memory=config.memory,
    )
    return Session(config, data, steps, feed)


def _base_filters(params):
    """Decay acts on filters, once each, not on biases and normalisation."""
    return jax.tree.map(lambda p: p.ndim > 1, params)
