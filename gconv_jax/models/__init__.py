"""Reference networks in Flax NNX, one file for each family.

Every network takes images with channels last, a symmetry group and random keys, and is built from
the layers of `gconv_jax.nnx`. ``_layers`` and ``_downsample`` hold the parts that families share.
``_network`` is what they are made of: modules that remember their arguments, so that
``pretrained_folder`` saves them and makes them again. ``pretrained/`` holds ready ones.
"""

from gconv_jax.models.all_cnn import AllCNNC as AllCNNC
from gconv_jax.models.augerino import Augerino as Augerino
from gconv_jax.models.ck_resnet import CKResNet as CKResNet, PartialGCNN13 as PartialGCNN13
from gconv_jax.models.convnext import (
    CONVNEXT_SIZES as CONVNEXT_SIZES,
    ConvNeXtBlock as ConvNeXtBlock,
    GroupConvNeXt as GroupConvNeXt,
)
from gconv_jax.models.densenet import DenseNet as DenseNet
from gconv_jax.models.e2cnn import E2CNN as E2CNN, SmallE2CNN as SmallE2CNN
from gconv_jax.models.group_equivariant_cnn import GroupEquivariantCNN as GroupEquivariantCNN
from gconv_jax.models.group_unet import GroupUNet as GroupUNet
from gconv_jax.models.inputs import Standardized as Standardized, Whitened as Whitened
from gconv_jax.models.lenet import LeNet as LeNet
from gconv_jax.models.linen_model import LinenModel as LinenModel
from gconv_jax.models.mixed_groups import (
    LETTER_WIDTHS as LETTER_WIDTHS,
    EarlyP4CNN as EarlyP4CNN,
    MixedGroupCNN as MixedGroupCNN,
    PlainCNN as PlainCNN,
)
from gconv_jax.models.outputs import RescaledOutputs as RescaledOutputs
from gconv_jax.models.p4cnn import (
    P4CNN as P4CNN,
    Z2CNN as Z2CNN,
    P4CNNRotationPooling as P4CNNRotationPooling,
)
from gconv_jax.models.pose_network import PoseNetwork as PoseNetwork
from gconv_jax.models.pretrained_folder import (
    load_pretrained as load_pretrained,
    pretrained_config as pretrained_config,
    pretrained_networks as pretrained_networks,
    save_pretrained as save_pretrained,
)
from gconv_jax.models.resnet import ResNet as ResNet, ResNet26 as ResNet26, ResNet44 as ResNet44
from gconv_jax.models.separable import SeparableCNN as SeparableCNN
from gconv_jax.models.unet import UNet as UNet
from gconv_jax.models.vector_outputs import VectorOutputs as VectorOutputs
from gconv_jax.models.vit import (
    VIT_SIZES as VIT_SIZES,
    GroupViT as GroupViT,
    TransformerBlock as TransformerBlock,
)
from gconv_jax.models.voxel_cnn import VoxelCNN as VoxelCNN
from gconv_jax.models.wide_resnet import WideResNet as WideResNet
