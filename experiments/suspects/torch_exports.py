"""PyTorch's side of `onnx_exports.py`: torchvision's and timm's networks with random weights, as ONNX files.

Each network is written by both exporters of torch.onnx, the older one and `dynamo`, for 10 classes and any number of
images (where an exporter refuses that, for one image). It runs in an environment of its own, with torch, torchvision,
timm and onnxscript. Files that are already there are kept; what could not be exported is told.

Command   python experiments/suspects/torch_exports.py FOLDER
Time      40 minutes, 4 GB of files (2 CPU cores)
"""

import argparse
import signal
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision.models as tv
from torch import nn

LONGEST = 400  # seconds for one file
TORCHVISION: dict[str, tuple[Callable[..., nn.Module], int]] = {
    **{
        name: (partial(tv.get_model, name), 64)
        for name in (
            "resnet18", "mobilenet_v3_small", "mobilenet_v2", "efficientnet_b0", "densenet121", "squeezenet1_1",
            "regnet_y_400mf", "mnasnet0_5", "shufflenet_v2_x0_5", "convnext_tiny", "swin_t", "swin_v2_t",
        )
    },
    "alexnet": (partial(tv.alexnet), 224),  # whose older exporter needs pools that divide its maps
    "googlenet": (partial(tv.googlenet, init_weights=False, aux_logits=False), 64),
    "vit": (partial(tv.VisionTransformer, 64, 16, 4, 4, 128, 256), 64),
    "maxvit": (partial(tv.MaxVit, (64, 64), 16, 2, [32, 32], [1, 2], 16, 0.0), 64),
}  # fmt: skip
TIMM = {
    **dict.fromkeys(
        (
            "convnext_atto", "fastvit_t8", "ghostnet_100", "hgnetv2_b0", "mobilenetv4_conv_small", "repvgg_a0",
            "resnet26t", "tinynet_e", "dla34", "lcnet_050", "mobileone_s0", "repghostnet_050", "rexnet_100",
            "selecsls42b", "resnest14d", "xception41", "tf_efficientnetv2_b0", "efficientvit_b0", "edgenext_xx_small",
            "mobilevit_xxs", "res2net50_14w_8s", "skresnet18", "hrnet_w18_small", "poolformer_s12", "nextvit_small",
            "eca_nfnet_l0",
        ),
        64,
    ),
    **dict.fromkeys(
        (
            "mixer_s32_224", "resmlp_12_224", "vit_tiny_patch16_224", "deit_tiny_patch16_224", "cait_xxs24_224",
            "pit_ti_224", "swin_tiny_patch4_window7_224", "twins_pcpvt_small", "eva02_tiny_patch14_224", "levit_128s",
            "coat_tiny", "tiny_vit_5m_224", "efficientformerv2_s0", "xcit_nano_12_p16_224",
        ),
        224,
    ),
    "crossvit_tiny_240": 240,
}  # fmt: skip


def networks() -> dict[str, tuple[Callable[..., nn.Module], int]]:
    """By name: what makes the network, and the side of its images."""
    return {
        **{f"torchvision-{name}": made for name, made in TORCHVISION.items()},
        **{f"timm-{name}": (partial(timm.create_model, name), side) for name, side in TIMM.items()},
    }


def write(path: Path, network: nn.Module, side: int, dynamo: bool, batch: bool) -> None:
    """Exports for images [n, 3, side, side], n open where `batch` is true."""
    images = torch.rand(2 if batch else 1, 3, side, side)
    named: dict[str, Any] = {"input_names": ["images"], "output_names": ["scores"], "verbose": False}
    if dynamo:
        open_batch = ({0: torch.export.Dim.DYNAMIC},) if batch else None
        torch.onnx.export(
            network, (images,), path, dynamo=True, external_data=False, dynamic_shapes=open_batch, **named
        )
    else:
        axes = {"images": {0: "n"}, "scores": {0: "n"}} if batch else None
        torch.onnx.export(network, (images,), path, dynamo=False, opset_version=17, dynamic_axes=axes, **named)


def attempt(path: Path, network: nn.Module, side: int, dynamo: bool) -> str:
    """Exports, if need be for one image; returns why neither could be done, else nothing."""
    why = ""
    for batch in (True, False):
        signal.alarm(LONGEST)
        try:
            write(path, network, side, dynamo, batch)
            return ""
        except Exception as error:  # whatever an exporter raises
            why = f"{type(error).__name__} {str(error).splitlines()[0] if str(error) else ''}"[:200]
            path.unlink(missing_ok=True)
        finally:
            signal.alarm(0)
    return why


def too_long(number: int, frame: object) -> None:
    raise TimeoutError(f"more than {LONGEST} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(exist_ok=True)
    warnings.filterwarnings("ignore")
    signal.signal(signal.SIGALRM, too_long)
    for name, (make, side) in networks().items():
        torch.manual_seed(0)
        network = make(num_classes=10).eval()
        for weights in network.parameters():
            if weights.ndim > 1 and not weights.any():  # a head that begins at zero would answer zero
                nn.init.normal_(weights, std=0.02)
        for exporter in ("script", "dynamo"):
            path = folder / f"{name}.{exporter}.onnx"
            why = "" if path.exists() else attempt(path, network, side, exporter == "dynamo")
            print(path.name, why or "written", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
