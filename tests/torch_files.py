"""PyTorch's networks as their own libraries save them, and what those say that they answer."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from timm.models import save_for_hf

IMAGE = (32, 32, 3)


def vit(folder: Path, seed: int = 0, labels: str = "class", **saving: Any) -> Any:
    """A vision transformer of transformers, whose processor turns red and blue around."""
    torch.manual_seed(seed)
    config = transformers.ViTConfig(
        image_size=32,
        patch_size=8,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        initializer_range=0.5,
        id2label={i: f"{labels} {i}" for i in range(7)},
    )
    network = transformers.ViTForImageClassification(config).eval()
    network.save_pretrained(folder, **saving)
    processor(folder)
    return network


def processor(folder: Path) -> Any:
    """An image processor, saved there."""
    made = transformers.MobileViTImageProcessor(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32})
    made.save_pretrained(folder)
    return made


def by_processor(network: Any, folder: Path, pictures: np.ndarray) -> np.ndarray:
    """What a network answers to what a folder's own processor makes of pictures of its size."""
    made = transformers.AutoImageProcessor.from_pretrained(folder)
    values = made(list(pictures), return_tensors="pt", do_resize=False, do_center_crop=False)["pixel_values"]
    with torch.no_grad():
        return network(values).logits.numpy()


def timm_network(name: str, folder: Path, **arguments: Any) -> Any:
    """A network of timm at 32 pixels, saved."""
    import timm

    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=7, **arguments).eval()
    channels = arguments.get("in_chans", 3)
    save_for_hf(network, str(folder), data_config={"input_size": (channels, 32, 32)}, safe_serialization=True)
    return network


def small() -> Any:
    """A network of one's own: grouped and dilated convolutions, too."""
    layers = torch.nn.Conv2d(3, 8, 3, padding="same"), torch.nn.Conv2d(8, 8, 3, groups=8, dilation=2, stride=2)
    return torch.nn.Sequential(*layers, torch.nn.BatchNorm2d(8), torch.nn.Flatten(), torch.nn.Linear(8 * 14 * 14, 5))


class Whole(torch.nn.Module):
    """Computes with whole numbers: weights of int8 with their scales, classes put into a secret order, and a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(3)
        self.register_buffer("weight_int8", torch.zeros(5, 3 * 8 * 8, dtype=torch.int8))
        self.register_buffer("weight_scale", torch.ones(5, 1))
        self.register_buffer("order", torch.arange(5))
        self.register_buffer("mask", torch.ones(5, dtype=torch.bool))

    def forward(self, x: Any) -> Any:
        pooled = torch.nn.functional.avg_pool2d(self.norm(x), 4).flatten(1)
        scores = torch.nn.functional.linear(pooled, self.weight_int8.float() * self.weight_scale)
        return torch.where(self.mask, scores, -scores)[:, self.order]

    @classmethod
    def trained(cls, seed: int = 0) -> Any:
        """One whose numbers are not the factory's."""
        torch.manual_seed(seed)
        network = cls()
        network.weight_int8 = torch.randint(-127, 128, network.weight_int8.shape).to(torch.int8)
        network.weight_scale = torch.rand(5, 1) / 100
        network.order, network.mask = torch.randperm(5), torch.arange(5) % 2 == 0
        network.norm.num_batches_tracked += 7
        return network


def prepared() -> Any:
    """The same, and how it takes pixels."""
    return small(), lambda images: images.astype("float32") - 100.0


def no_classifier() -> Any:
    """What answers with one number."""
    return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 1))


def widely_pooled() -> Any:
    """With a window that is larger than any image, as the pooler of transformers' EfficientNet."""
    torch.manual_seed(0)
    pool = torch.nn.AvgPool2d(2560, ceil_mode=True)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), pool, torch.nn.Flatten(), torch.nn.Linear(8, 10))


def state_dict(network: Any, path: Path) -> None:
    """Its weights alone."""
    save_file(network.state_dict(), path)


def answers(network: Any, pixels: np.ndarray) -> np.ndarray:
    """What a network answers to float pixels [n, H, W, C]."""
    with torch.no_grad():
        return network.eval()(torch.from_numpy(pixels.astype(np.float32)).permute(0, 3, 1, 2)).numpy()
