"""PyTorch's side of `gpu_throughput.py`: ResNet-18 in its CIFAR form, trained as one would train it there.

It runs in a process of its own, so that the two frameworks share neither a memory pool nor a cuDNN, and can live in two
environments. It says once on stdout what it is, then, for each line on stdin that names a mode (`eager` or `compile`),
trains for a chunk of steps and says how many seconds that took. Nothing else runs on the card meanwhile.

Command   python experiments/gpu/torch_resnet.py SETTINGS   (as JSON; started by gpu_throughput.py)
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def convolution(inputs: int, outputs: int, size: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)


class Block(nn.Module):
    """Two convolutions with a skip; the skip is a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1, self.norm1 = convolution(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.norm2 = convolution(outputs, outputs, 3, 1), nn.BatchNorm2d(outputs)
        same = inputs == outputs and stride == 1
        self.skip = (
            nn.Identity() if same else nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.skip(x))


class ResNet18(nn.Module):
    """3x3 stem, four stages of two blocks, mean, linear head: layer for layer `wmjax.models`' `resnet18`."""

    def __init__(self, widths: list[int]):
        super().__init__()
        self.stem, self.norm = convolution(3, widths[0], 3, 1), nn.BatchNorm2d(widths[0])
        channels, blocks = widths[0], []
        for stage, features in enumerate(widths):
            for stride in (1 if stage == 0 else 2, 1):
                blocks.append(Block(channels, features, stride))
                channels = features
        self.blocks, self.head = nn.Sequential(*blocks), nn.Linear(channels, 10)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.blocks(F.relu(self.norm(self.stem(x)))).mean((2, 3)))
        return out


def augmented(images: Tensor) -> Tensor:
    """A random flip and a shift of up to two pixels, reflected at the border, of uint8 images [N, H, W, C]."""
    n, size, device = len(images), images.shape[1], images.device
    offsets = torch.randint(-2, 3, (n, 2), device=device)
    place = torch.arange(size, device=device)
    mirrored = torch.rand(n, 1, device=device) < 0.5
    rows, columns = (
        (size - 1 - (size - 1 - (place + offsets[:, i, None]).abs()).abs()).clamp(0, size - 1)
        for i in (0, 1)  # the clamp changes nothing: without it torch.compile loses itself in the bounds
    )
    columns = torch.where(mirrored, size - 1 - columns, columns)
    return images[torch.arange(n, device=device)[:, None, None], rows[:, :, None], columns[:, None, :]]


def trainer(settings: dict[str, Any], mode: str, device: torch.device) -> Callable[[], float]:
    """A function that trains for a chunk of steps and gives its seconds; data and weights stay on the device."""
    torch.manual_seed(0)
    images = torch.randint(0, 256, (settings["images"], 32, 32, 3), dtype=torch.uint8, device=device)
    labels = torch.randint(0, 10, (settings["images"],), device=device)
    net = ResNet18(settings["widths"]).to(device, memory_format=torch.channels_last).train()
    decayed = [weight for weight in net.parameters() if weight.ndim > 1]
    plain = [weight for weight in net.parameters() if weight.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 5e-4}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=0.01, momentum=0.9, nesterov=True, fused=device.type == "cuda")

    def loss_of(rows: Tensor) -> Tensor:
        # NHWC in memory is what PyTorch calls channels-last
        batch = augmented(images[rows]).permute(0, 3, 1, 2).float().sub(127.5).div(64.0)
        with torch.autocast(device.type, torch.bfloat16):
            return F.cross_entropy(net(batch), labels[rows])

    loss = torch.compile(loss_of) if mode == "compile" else loss_of

    def chunk() -> float:
        wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
        order = torch.randint(0, settings["images"], (settings["steps"], settings["batch"]), device=device)
        wait()
        began = time.perf_counter()
        for rows in order:
            optimizer.zero_grad(set_to_none=True)
            loss(rows).backward()
            optimizer.step()
        wait()
        return time.perf_counter() - began

    return chunk


def main() -> None:
    settings = json.loads(sys.argv[1])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True
    chunks = {mode: trainer(settings, mode, device) for mode in settings["modes"]}
    first = {mode: round(chunk(), 2) for mode, chunk in chunks.items()}
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    print(json.dumps({"torch": torch.__version__, "device": name, "first_chunk_s": first}), flush=True)
    for line in sys.stdin:
        print(json.dumps(chunks[line.strip()]()), flush=True)


if __name__ == "__main__":
    main()
