"""PyTorch's side of `lenet_ratio.py`: many LeNets asked one after another, as one would write it there.

It runs in a process of its own, so that neither framework's threads hold up the other's, and can live in another
environment. It says when it is ready; for each line on stdin it then asks every network all triggers and says how many
seconds that took. The first answer holds the logits too, so that the two sides can be compared.

Command   python experiments/audits/torch_lenet.py --worker FILE.npz   (started by lenet_ratio.py)
"""

import json
import os
import sys
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class LeNet(nn.Module):
    """`zoos.LeNet`, layer for layer."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)])
        self.dense = nn.ModuleList([nn.Linear(400, 120), nn.Linear(120, 84)])
        self.head = nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = nn.functional.max_pool2d(nn.functional.relu(conv(x)), 2)
        x = x.flatten(1)
        for dense in self.dense:
            x = nn.functional.relu(dense(x))
        out: Tensor = self.head(x)
        return out


def lenet(weights: dict[str, np.ndarray]) -> LeNet:
    """A network with weights in Flax's layout: kernels [h, w, in, out] and [in, out], pixels before channels."""
    state = {}
    for name, leaf in weights.items():
        target = name.replace("/kernel", "/weight").replace("/", ".")
        if leaf.ndim == 4:
            leaf = leaf.transpose(3, 2, 0, 1)
        elif name == "dense/0/kernel":
            leaf = leaf.reshape(5, 5, 16, 120).transpose(3, 2, 0, 1).reshape(120, 400)
        elif leaf.ndim == 2:
            leaf = leaf.T
        state[target] = torch.from_numpy(np.ascontiguousarray(leaf))
    network = LeNet()
    network.load_state_dict(state)
    return network.eval()


def main(path: str) -> None:
    with np.load(path) as stored:
        arrays = dict(stored)
    images, labels = arrays.pop("images"), torch.from_numpy(arrays.pop("labels")).long()
    networks = [lenet({name: leaf[row] for name, leaf in arrays.items()}) for row in range(len(arrays["head/bias"]))]
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255

    def loop() -> tuple[float, list[int]]:
        began = time.perf_counter()
        matches = [int((network(pixels).argmax(1) == labels).sum()) for network in networks]
        return time.perf_counter() - began, matches

    with torch.inference_mode():
        tried = {}
        for threads in (1, os.cpu_count() or 1):
            torch.set_num_threads(threads)
            loop()
            tried[threads] = min(loop()[0] for _ in range(3))
        torch.set_num_threads(min(tried, key=lambda threads: tried[threads]))
        about: dict[str, Any] = {"torch": torch.__version__, "threads": torch.get_num_threads(), "tried_s": tried}
        about["logits"] = [network(pixels).tolist() for network in networks]
        print('"ready"', flush=True)
        for _ in sys.stdin:
            seconds, matches = loop()
            print(json.dumps({"seconds": seconds, "matches": matches, **about}), flush=True)
            about = {}


if __name__ == "__main__":
    main(sys.argv[2])
