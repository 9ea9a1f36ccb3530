"""Every public name that the modules had before they were sorted into packages can be imported."""

import importlib

import pytest

NAMES = {
    "gconv_jax": """
        Elements FilterBasis FiniteGroup Harmonic InexactEquivarianceWarning Interpolated
        KernelNetwork LieGroup MultiplicativeFilters O2 P4 P4M P6 P6M SO2 SampledFeatures Siren
        Support Z2 all_elements avg_pool blur_pool continuous_group_conv continuous_lift_conv
        conv_general_dilated coset_pool cyclic dihedral filter_bank full_octahedral group_conv
        group_conv_transpose group_pool induce instance_norm klein_four learned_support lift_conv
        max_pool mirror monotone_penalty octahedral planar_conv quotient_conv restrict rotate
        rotations_about sample_elements sample_support sampled_pool separable_group_conv
        standardize_weights support_grid tetrahedral transform trivial upsample __version__
    """,
    "gconv_jax.nnx": """
        BatchNorm ContinuousGroupConv ContinuousLiftConv FieldDropout GroupConv GroupConvTranspose
        LiftConv PartialGroupConv QuotientConv SeparableGroupConv Temperature set_temperature
        supports
    """,
    "gconv_jax.linen": """
        ContinuousGroupConv ContinuousLiftConv FieldDropout GroupConv GroupConvTranspose LiftConv
        PartialGroupConv QuotientConv SeparableGroupConv
    """,
    "gconv_jax.models": """
        AllCNNC Augerino CKResNet DenseNet E2CNN EarlyP4CNN GroupEquivariantCNN LETTER_WIDTHS LeNet
        MixedGroupCNN P4CNN P4CNNRotationPooling PartialGCNN13 PlainCNN ResNet ResNet26 ResNet44
        SeparableCNN SmallE2CNN UNet VoxelCNN WideResNet Z2CNN
    """,
    "gconv_jax.datasets": """
        Cifar10 Cifar100 Cifar10Packed Emnist Mnist Mnist6180 Mnist6M MnistRotatedTest Records
        RotatedMnist load_arrays open_records read_idx rotate_images
    """,
    "gconv_jax.testing": """
        EquivarianceReport assert_equivariant equivariance_errors smooth_images
    """,
    "gconv_jax.export": "Frozen freeze onnx read_image stablehlo",
    "gconv_jax.interop": """
        features_from_escnn features_from_groupy features_to_escnn features_to_groupy from_escnn
        from_groupy to_escnn to_groupy
    """,
    "gconv_jax.hexagonal": "hexagon_mask hexagon_mean to_hexagonal to_square",
    "gconv_jax.summary": "Row Summary summary",
}


@pytest.mark.parametrize("module", NAMES)
def test_public_names_can_be_imported(module):
    package = importlib.import_module(module)
    missing = [name for name in NAMES[module].split() if not hasattr(package, name)]
    assert not missing
