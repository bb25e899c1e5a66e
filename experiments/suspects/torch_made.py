"""Small random networks of PyTorch's libraries, each saved by its own: transformers, timm and torchvision."""

from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torchvision
import transformers
from safetensors.torch import save_file
from timm.models import save_for_hf

CLASSES = 7
Made = tuple[Any, Any]  # network, and what prepares uint8 pictures [n, H, W, C] for it

_VIT: dict[str, Any] = {
    "image_size": 32,
    "patch_size": 8,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
TRANSFORMERS: dict[str, tuple[str, dict[str, Any]]] = {  # configuration's name, image processor and sizes
    "ResNet": (
        "ConvNextImageProcessor",
        {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"},
    ),
    "ViT": ("ViTImageProcessor", _VIT),
    "ConvNext": ("ConvNextImageProcessor", {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2}),
    "MobileNetV2": ("MobileNetV2ImageProcessor", {"depth_multiplier": 0.35}),
    "Swin": (
        "ViTImageProcessor",
        {"image_size": 32, "patch_size": 4, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4},
    ),
    "Beit": ("BeitImageProcessor", {**_VIT, "use_relative_position_bias": True}),
    "Dinov2": (
        "BitImageProcessor",
        {"image_size": 28, "patch_size": 14, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4},
    ),
    "EfficientNet": (
        "EfficientNetImageProcessor",
        {"width_coefficient": 0.25, "depth_coefficient": 0.25, "hidden_dim": 320},
    ),
    "RegNet": (
        "ConvNextImageProcessor",
        {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "groups_width": 8},
    ),
    "MobileViT": (
        "MobileViTImageProcessor",
        {"image_size": 64, "hidden_sizes": [24, 32, 40], "neck_hidden_sizes": [8, 16, 24, 32, 40, 48, 64]},
    ),
    "PvtV2": (
        "PvtImageProcessor",
        {
            "image_size": 64,
            "hidden_sizes": [8, 16, 24, 32],
            "depths": [1, 1, 1, 1],
            "num_attention_heads": [1, 1, 2, 2],
        },
    ),
    "DeiT": ("DeiTImageProcessor", _VIT),
    "Levit": (
        "LevitImageProcessor",
        {
            "image_size": 64,
            "hidden_sizes": [16, 24, 32],
            "depths": [1, 1, 1],
            "num_attention_heads": [2, 2, 2],
            "key_dim": [8, 8, 8],
        },
    ),
}
SIDES = {
    "Dinov2": 28,
    "MobileNetV2": 64,
    "EfficientNet": 64,
    "MobileViT": 64,
    "PvtV2": 64,
    "Levit": 64,
    "ResNet": 64,
    "RegNet": 64,
}
TIMM: dict[str, dict[str, Any]] = {
    "resnet10t": {},
    "mobilenetv3_small_050": {},
    "vit_tiny_patch16_224": {"img_size": 64, "depth": 2},
    "convnext_atto": {"depths": (1, 1, 2, 1)},
    "efficientnet_b0": {},
    "regnety_002": {},
    "mobileone_s0": {},
    "edgenext_xx_small": {},
    "coatnet_nano_rw_224": {"img_size": 64},
    "mixer_s32_224": {"img_size": 64},
    "levit_128s": {},
    "test_vit": {},
}
TORCHVISION = ["resnet18", "mobilenet_v3_small", "vgg11_bn", "densenet121", "squeezenet1_1", "shufflenet_v2_x0_5"]


def by_transformers(name: str, folder: Path, classes: int = CLASSES) -> Made:
    """A random classifier of transformers, saved."""
    processor_name, sizes = TRANSFORMERS[name]
    config = getattr(transformers, f"{name}Config")(**sizes, id2label={i: f"class {i}" for i in range(classes)})
    network = getattr(transformers, f"{name}ForImageClassification")(config)
    side = SIDES.get(name, 32)
    size = (
        {"shortest_edge": side}
        if name in ("ResNet", "ConvNext", "RegNet", "MobileNetV2", "Dinov2", "MobileViT", "Levit")
        else {"height": side, "width": side}
    )
    processor = getattr(transformers, processor_name)(size=size, crop_size={"height": side, "width": side})
    _warm(network, side)
    network.save_pretrained(folder)
    processor.save_pretrained(folder)

    def prepare(pictures: np.ndarray) -> torch.Tensor:
        made = processor(list(pictures), return_tensors="pt", do_resize=False, do_center_crop=False)
        return made["pixel_values"]

    return network, prepare


def by_timm(name: str, folder: Path, classes: int = CLASSES) -> Made:
    """A random network of timm, saved."""
    arguments = TIMM[name]
    network = timm.create_model(name, num_classes=classes, **arguments)
    side = arguments.get(
        "img_size", network.pretrained_cfg["input_size"][1] if network.pretrained_cfg["fixed_input_size"] else 64
    )
    _warm(network, side)
    save_for_hf(network, str(folder), data_config={"input_size": (3, side, side)}, safe_serialization=True)
    mean, std = (torch.tensor(network.pretrained_cfg[part]).reshape(1, 3, 1, 1) for part in ("mean", "std"))
    return network, lambda pictures: (_channels_first(pictures) / 255 - mean) / std


def by_torchvision(name: str, folder: Path) -> Made:
    """A random network of torchvision, its state dict saved."""
    network = getattr(torchvision.models, name)(num_classes=CLASSES)
    _warm(network, 64)
    save_file(network.state_dict(), folder / "model.safetensors")
    return network, lambda pictures: _channels_first(pictures) / 255


def _channels_first(pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float()


def _warm(network: Any, side: int) -> None:
    """Weights that let everything through; batch norms see noise, and remember all of it."""
    for part in network.modules():
        if isinstance(part, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.kaiming_normal_(part.weight)
        if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
            part.momentum = None
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(4, 3, side, side))
    network.eval()
