"""Layers on groups as Flax NNX modules: they hold the parameters and call the pure functions."""

from gconv_jax.nnx.conv import GroupConv as GroupConv, LiftConv as LiftConv
from gconv_jax.norm import BatchNorm as BatchNorm
