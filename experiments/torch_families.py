"""Which families of PyTorch's image classifiers wmjax reads from files of their own libraries, and how exactly.

Command   python experiments/torch_families.py [--only NAME ...]
Expected  at least 28 of 31 families read, their scores as near to PyTorch's as float32 allows
Time      about 15 minutes on 2 CPU cores

Networks are small and random; batch norms have seen a few batches of noise, so that nothing dies on the way. Each is
saved by its own library: transformers' with the image processor of its family, timm's by `save_for_hf`, torchvision's
state dict by safetensors. wmjax is given the folder alone (torchvision's: its name too). The same uint8 pictures go
through the library's own processor and network, and through wmjax's function; `error` is the largest difference of
scores by the largest score, `own_error` the same of PyTorch's float32 against its float64: a family is read if the
error is below 1e-5 or three times that. `vmap`: two models side by side answer as alone.
"""

import argparse
import importlib.metadata
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import timm
import torch
import torchvision
import transformers
from record import write
from safetensors.torch import save_file
from timm.models import save_for_hf

from wmjax.suspects.contract import Wanted
from wmjax.suspects.recognise import recognise
from wmjax.suspects.stored import read_weights

CLASSES, PICTURES = 7, 3
EXACT = 1e-5
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


def measure(name: str, make: Callable[[str, Path], Made], models: tuple[str, ...] = ()) -> dict[str, Any]:
    """One family: saved, read and compared."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as place:
        network, prepare = make(name, Path(place))
        path = Path(place) / "model.safetensors"
        began = time.perf_counter()
        (stored,) = recognise(path, Wanted(models, ((64, 64, 3),), pixels="0..1"))
        weights, read = read_weights(stored), time.perf_counter()
        ours = stored.network
        pictures = np.random.default_rng(0).integers(0, 256, (PICTURES, *ours.image), np.uint8)
        with torch.no_grad():
            answer = network(prepare(pictures))
            exact = network.double()(prepare(pictures).double())
        wanted, exact = (getattr(scores, "logits", scores).numpy() for scores in (answer, exact))
        scores = np.asarray(jax.jit(ours.logits)(weights, pictures))
        compiled = time.perf_counter()
        two = {name: np.stack([array, 0.9 * array]) for name, array in weights.items()}
        record = {
            "error": float(np.abs(scores - wanted).max() / np.abs(wanted).max()),
            "own_error": float(np.abs(exact - wanted).max() / np.abs(wanted).max()),
            "same_answers": bool((scores.argmax(1) == wanted.argmax(1)).all()),
            "image": list(ours.image),
            "tensors": len(weights),
            "seconds_to_read": round(read - began, 2),
            "seconds_to_compile_and_ask": round(compiled - read, 2),
            "spread": float(wanted.std() / np.abs(wanted).max()),
        }
        try:
            side_by_side = np.asarray(jax.jit(jax.vmap(ours.logits, (0, None)))(two, pictures))
            record["vmap_error"] = float(np.abs(side_by_side[0] - wanted).max() / np.abs(wanted).max())
        except Exception as error:
            record["vmap_fails"] = f"{type(error).__name__} {str(error).splitlines()[0]:.200}"
        return record


def _agrees(found: dict[str, Any], what: str) -> bool:
    return what in found and found[what] < max(EXACT, 3 * found["own_error"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    families: dict[str, dict[str, Any]] = {}
    for library, names, make in (
        ("transformers", TRANSFORMERS, by_transformers),
        ("timm", TIMM, by_timm),
        ("torchvision", TORCHVISION, by_torchvision),
    ):
        for name in names:
            if options.only and name not in options.only:
                continue
            models = (f"torchvision:{name}",) if library == "torchvision" else ()
            try:
                found = measure(name, make, models)
            except Exception as error:
                found = {"fails": f"{type(error).__name__} {str(error).splitlines()[0]:.200}"}
            families[f"{library} {name}"] = found
            print(library, name, found, file=sys.stderr, flush=True)
    read = [found for found in families.values() if _agrees(found, "error")]
    packages = ("torch", "torchax", "torchvision", "transformers", "timm")
    figures = {
        "families": families,
        "read": len(read),
        "of": len(families),
        "largest_error": max(found["error"] for found in read),
        "side_by_side": sum(_agrees(found, "vmap_error") for found in families.values()),
        "packages": {name: importlib.metadata.version(name) for name in packages},
    }
    if not options.only:
        write("torch_families", figures)


if __name__ == "__main__":
    main()
