"""PyTorch's side of `torch_ratio.py`: the same networks, and a step as its users write it."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from wmjax.models import Config
from wmjax.train import default_recipe


class MeanPlusMax(nn.Module):
    """The head of our vgg: mean over the pixels plus maximum."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From [N, C, H, W] to [N, C]."""
        return x.mean((2, 3)) + x.amax((2, 3))


def cnn_layers(config: Config) -> Iterator[nn.Module]:
    """`wmjax.models.cnn.CNN`."""
    side, _, channels = config.image
    for features in config.widths:
        for inputs in (channels, features):
            yield from (nn.Conv2d(inputs, features, 3, padding=1), nn.ReLU())
        yield from (nn.MaxPool2d(2), nn.Dropout(config.dropout))
        channels, side = features, side // 2
    yield nn.Flatten()
    units = [side * side * channels, *config.dense]
    for inputs, outputs in pairwise(units):
        yield from (nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(config.dropout))
    yield nn.Linear(units[-1], config.classes)


def vgg_layers(config: Config) -> Iterator[nn.Module]:
    """`wmjax.models.vgg.VGG`."""
    channels = config.image[2]
    for stage, features in enumerate(config.widths):
        for pooled in (True,) if stage == 0 else (True, False):
            yield nn.Conv2d(channels, features, 3, padding=1, bias=False)
            if pooled:
                yield nn.MaxPool2d(2)
            yield from (nn.BatchNorm2d(features), nn.ReLU())
            channels = features
    yield from (MeanPlusMax(), nn.Linear(channels, config.classes))


def torch_step(config: Config, batch: int) -> Callable[[], None]:
    """One step of PyTorch each call, written as its users write it."""
    layers = {"cnn": cnn_layers, "vgg": vgg_layers}[config.name](config)
    model: Any = nn.Sequential(*layers)
    model = model.to(memory_format=torch.channels_last)
    sgd = torch.optim.SGD(
        model.parameters(), default_recipe(config).learning_rate / 10, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    height, width, channels = config.image
    images = torch.randn(batch, channels, height, width).to(memory_format=torch.channels_last)
    labels = torch.randint(0, config.classes, (batch,))

    def run() -> None:
        sgd.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        sgd.step()

    return run
