"""Layers on groups as Flax Linen modules: they hold the parameters and call the pure functions."""

from gconv_jax.linen.adapt import (
    Canonicalized as Canonicalized,
    ScorePoses as ScorePoses,
    Symmetrized as Symmetrized,
)
from gconv_jax.linen.attention import GroupAttention as GroupAttention
from gconv_jax.linen.continuous import (
    ContinuousGroupConv as ContinuousGroupConv,
    ContinuousLiftConv as ContinuousLiftConv,
    PartialGroupConv as PartialGroupConv,
)
from gconv_jax.linen.conv import GroupConv as GroupConv, LiftConv as LiftConv
from gconv_jax.linen.depthwise import DepthwiseGroupConv as DepthwiseGroupConv
from gconv_jax.linen.dropout import DropPath as DropPath, FieldDropout as FieldDropout
from gconv_jax.linen.film import FiLM as FiLM, SqueezeExcite as SqueezeExcite
from gconv_jax.linen.group_norm import GroupNorm as GroupNorm, InstanceNorm as InstanceNorm
from gconv_jax.linen.irrep_activations import (
    GatedActivation as GatedActivation,
    NormActivation as NormActivation,
)
from gconv_jax.linen.layer_norm import LayerNorm as LayerNorm, RMSNorm as RMSNorm
from gconv_jax.linen.lift_linear import LiftLinear as LiftLinear
from gconv_jax.linen.linear import GroupLinear as GroupLinear
from gconv_jax.linen.quotient import QuotientConv as QuotientConv
from gconv_jax.linen.relaxed import (
    RelaxedGroupConv as RelaxedGroupConv,
    RelaxedLiftConv as RelaxedLiftConv,
)
from gconv_jax.linen.residual import (
    ResidualGroupConv as ResidualGroupConv,
    ResidualLiftConv as ResidualLiftConv,
)
from gconv_jax.linen.separable import SeparableGroupConv as SeparableGroupConv
from gconv_jax.linen.sequence import SequenceConv as SequenceConv
from gconv_jax.linen.transposed import GroupConvTranspose as GroupConvTranspose
