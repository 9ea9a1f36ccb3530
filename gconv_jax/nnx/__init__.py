"""Layers on groups as Flax NNX modules: they hold the parameters and call the pure functions."""

from gconv_jax.nnx.adapt import (
    Canonicalized as Canonicalized,
    ScorePoses as ScorePoses,
    Symmetrized as Symmetrized,
)
from gconv_jax.nnx.attention import GroupAttention as GroupAttention
from gconv_jax.nnx.batch_norm import BatchNorm as BatchNorm
from gconv_jax.nnx.continuous import (
    ContinuousGroupConv as ContinuousGroupConv,
    ContinuousLiftConv as ContinuousLiftConv,
    PartialGroupConv as PartialGroupConv,
    Temperature as Temperature,
    set_temperature as set_temperature,
    supports as supports,
)
from gconv_jax.nnx.conv import GroupConv as GroupConv, LiftConv as LiftConv
from gconv_jax.nnx.depthwise import DepthwiseGroupConv as DepthwiseGroupConv
from gconv_jax.nnx.dropout import DropPath as DropPath, FieldDropout as FieldDropout
from gconv_jax.nnx.film import FiLM as FiLM, SqueezeExcite as SqueezeExcite
from gconv_jax.nnx.group_norm import GroupNorm as GroupNorm, InstanceNorm as InstanceNorm
from gconv_jax.nnx.irrep_activations import (
    GatedActivation as GatedActivation,
    NormActivation as NormActivation,
)
from gconv_jax.nnx.layer_norm import LayerNorm as LayerNorm, RMSNorm as RMSNorm
from gconv_jax.nnx.lift_linear import LiftLinear as LiftLinear
from gconv_jax.nnx.linear import GroupLinear as GroupLinear
from gconv_jax.nnx.quotient import QuotientConv as QuotientConv
from gconv_jax.nnx.relaxed import (
    RelaxedGroupConv as RelaxedGroupConv,
    RelaxedLiftConv as RelaxedLiftConv,
)
from gconv_jax.nnx.residual import (
    ResidualGroupConv as ResidualGroupConv,
    ResidualLiftConv as ResidualLiftConv,
)
from gconv_jax.nnx.separable import SeparableGroupConv as SeparableGroupConv
from gconv_jax.nnx.sequence import SequenceConv as SequenceConv
from gconv_jax.nnx.transposed import GroupConvTranspose as GroupConvTranspose
