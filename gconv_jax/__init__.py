"""Group-equivariant convolutions for JAX and Flax.

The pure functions and the groups are here; the Flax layers are in `gconv_jax.nnx` and
`gconv_jax.linen`, the checks in `gconv_jax.testing`, networks in `gconv_jax.models` and data
sets in `gconv_jax.datasets`.
"""

from gconv_jax.adapt.canonicalize import (
    canonicalize as canonicalize,
    pose_prior as pose_prior,
    score_poses as score_poses,
)
from gconv_jax.adapt.penalty import (
    equivariance_penalty as equivariance_penalty,
    layer_penalties as layer_penalties,
)
from gconv_jax.adapt.project import (
    kernel_penalty as kernel_penalty,
    project_kernel as project_kernel,
)
from gconv_jax.adapt.relaxed import (
    relaxed_departure as relaxed_departure,
    relaxed_group_conv as relaxed_group_conv,
    relaxed_lift_conv as relaxed_lift_conv,
    symmetry_breaking as symmetry_breaking,
)
from gconv_jax.adapt.residual import residual_penalty as residual_penalty
from gconv_jax.adapt.start import start_from as start_from
from gconv_jax.adapt.symmetrize import symmetrize as symmetrize
from gconv_jax.attention.dot_product import group_attention as group_attention
from gconv_jax.attention.positions import (
    count_orbits as count_orbits,
    position_features as position_features,
    relative_position_bias as relative_position_bias,
    rotary_embedding as rotary_embedding,
    rotary_frequencies as rotary_frequencies,
    token_positions as token_positions,
)
from gconv_jax.attention.windows import (
    join_windows as join_windows,
    split_windows as split_windows,
)
from gconv_jax.continuous.conv import (
    continuous_group_conv as continuous_group_conv,
    continuous_lift_conv as continuous_lift_conv,
)
from gconv_jax.continuous.kernel_networks import (
    KernelNetwork as KernelNetwork,
    MultiplicativeFilters as MultiplicativeFilters,
    Siren as Siren,
)
from gconv_jax.continuous.sampled import (
    Elements as Elements,
    SampledFeatures as SampledFeatures,
    all_elements as all_elements,
    instance_norm as instance_norm,
    sample_elements as sample_elements,
    sampled_pool as sampled_pool,
)
from gconv_jax.continuous.support import (
    Support as Support,
    learned_support as learned_support,
    monotone_penalty as monotone_penalty,
    sample_support as sample_support,
    support_grid as support_grid,
)
from gconv_jax.conv.depthwise import depthwise_group_conv as depthwise_group_conv
from gconv_jax.conv.group import group_conv as group_conv, lift_conv as lift_conv
from gconv_jax.conv.lift_linear import lift_linear as lift_linear
from gconv_jax.conv.linear import group_linear as group_linear
from gconv_jax.conv.quotient import quotient_conv as quotient_conv
from gconv_jax.conv.separable import separable_group_conv as separable_group_conv
from gconv_jax.conv.sequence import sequence_conv as sequence_conv
from gconv_jax.conv.transposed import group_conv_transpose as group_conv_transpose
from gconv_jax.filters.bank import filter_bank as filter_bank
from gconv_jax.filters.basis import (
    FilterBasis as FilterBasis,
    Harmonic as Harmonic,
    Interpolated as Interpolated,
)
from gconv_jax.filters.kernel_transforms import standardize_weights as standardize_weights
from gconv_jax.groups.fields import Fields as Fields
from gconv_jax.groups.finite import (
    P4 as P4,
    P4M as P4M,
    P6 as P6,
    P6M as P6M,
    Z2 as Z2,
    FiniteGroup as FiniteGroup,
    cyclic as cyclic,
    dihedral as dihedral,
    full_octahedral as full_octahedral,
    klein_four as klein_four,
    mirror as mirror,
    octahedral as octahedral,
    rotations_about as rotations_about,
    tetrahedral as tetrahedral,
    trivial as trivial,
)
from gconv_jax.groups.irrep_features import (
    IrrepFeatures as IrrepFeatures,
    from_irreps as from_irreps,
    to_irreps as to_irreps,
)
from gconv_jax.groups.lie import O2 as O2, SO2 as SO2, LieGroup as LieGroup
from gconv_jax.lattice.action import transform as transform
from gconv_jax.lattice.exactness import InexactEquivarianceWarning as InexactEquivarianceWarning
from gconv_jax.lattice.flow import move_tangent as move_tangent
from gconv_jax.lattice.lie_derivative import lie_derivative as lie_derivative
from gconv_jax.lattice.rotate import rotate as rotate
from gconv_jax.lattice.staggered import (
    faces_to_image as faces_to_image,
    image_to_faces as image_to_faces,
)
from gconv_jax.normalization.film import film as film
from gconv_jax.normalization.group_norm import group_norm as group_norm
from gconv_jax.normalization.irrep_activations import (
    gate_irreps as gate_irreps,
    norm_activation as norm_activation,
)
from gconv_jax.normalization.layer_norm import layer_norm as layer_norm
from gconv_jax.planar.conv import (
    conv_general_dilated as conv_general_dilated,
    planar_conv as planar_conv,
)
from gconv_jax.pooling.fields import project_fields as project_fields
from gconv_jax.pooling.group_axis import (
    coset_pool as coset_pool,
    group_pool as group_pool,
    induce as induce,
    restrict as restrict,
)
from gconv_jax.pooling.spatial import (
    avg_pool as avg_pool,
    blur_pool as blur_pool,
    max_pool as max_pool,
    upsample as upsample,
)

__version__ = "0.1.0"
