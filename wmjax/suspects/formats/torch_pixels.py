"""How a folder of transformers or timm says that pixels are prepared: an affine map of colours, and a size.

transformers' own image processor is asked what it makes of a few pictures, rather than its settings be read: some turn
red and blue around, scale twice, or crop by a share.
"""

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from wmjax.suspects.contract import Image
from wmjax.suspects.formats.torch_build import building

_LARGEST_SIDE = 2048
_LARGEST_NUMBER, _MOST_NUMBERS = 4096, 64  # in a processor's settings
_CLASSIFIERS = (
    *("Beit", "Bit", "CLIP", "ConvNext", "DeiT", "EfficientNet", "Levit", "MobileNetV1", "MobileNetV2", "MobileViT"),
    *("Perceiver", "PoolFormer", "Pvt", "Segformer", "Siglip", "TextNet", "ViT"),
)  # processors that look at a whole picture once; others cut it into as many tiles as their settings say
_CLOSE = 1e-4  # of what the processor makes of a picture: float32's sums in another order


class Prepared(NamedTuple):
    """What becomes of a picture.

    Attributes:
      image: height, width and channels that the network takes.
      mix: [channels, channels] rows, one for each channel that it takes, of colours in 0..255.
      shift: what is added to each.
    """

    image: Image
    mix: tuple[tuple[float, ...], ...]
    shift: tuple[float, ...]

    def __call__(self, images: Array) -> Array:
        """Uint8 images [n, H, W, C] as float32 of the same shape."""
        mix, shift = np.array(self.mix, np.float32), np.array(self.shift, np.float32).reshape(1, 1, 1, -1)
        x = images.astype(jnp.float32)
        if np.count_nonzero(mix - np.diag(np.diag(mix))) == 0:
            return x * np.diag(mix).reshape(1, 1, 1, -1) + shift
        return jnp.einsum("nhwc,dc->nhwd", x, mix, precision="highest") + shift


def by_timm(said: Mapping[str, Any]) -> Prepared | None:
    """By timm's `pretrained_cfg`: pixels in 0..1, less `mean`, by `std`; None where it says none of that."""
    mean, std, size = (_numbers(said.get(name)) for name in ("mean", "std", "input_size"))
    if len(size) != 3:
        return None
    channels, height, width = (int(n) for n in size)
    if not 0 < max(height, width) <= _LARGEST_SIDE or len(mean) != channels or len(std) != channels:
        return None
    scale = [1.0 / (255.0 * s) if s else 0.0 for s in std]
    mix = tuple(tuple(float(row[i]) for i in range(channels)) for row in np.diag(scale))
    shift = tuple(-m / s if s else 0.0 for m, s in zip(mean, std, strict=True))
    return Prepared((height, width, channels), mix, shift)


def _numbers(values: Any) -> list[float]:
    """A list of numbers; none of them where it is anything else."""
    numbers = isinstance(values, list | tuple) and all(type(n) in (int, float) for n in values)
    return list(values) if numbers else []


def by_processor(said: Mapping[str, Any], family: Mapping[str, Any]) -> Prepared | None:
    """By transformers' `preprocessor_config.json`; None where its processor is not affine in the colours of a pixel.

    Args:
      said: what that file says.
      family: what config.json says; its `num_channels` are those of the pictures, 3 by default.

    Raises:
      InvalidFile: no processor of transformers can be made by it.
    """
    kind = said.get("image_processor_type") or said.get("feature_extractor_type") or "ImageProcessor"
    if not re.fullmatch(rf"({'|'.join(_CLASSIFIERS)})?(ImageProcessor(Fast|Pil)?|FeatureExtractor)", str(kind)):
        return None
    if any(side > _LARGEST_SIDE for side in _whole([said.get("size"), said.get("crop_size")])):
        return None
    numbers = _whole(said)
    if len(numbers) > _MOST_NUMBERS or any(abs(number) > _LARGEST_NUMBER for number in numbers):
        return None
    channels = family.get("num_channels", 3)
    if channels not in (1, 3):
        return None
    with building("its preprocessor_config.json"):
        ask = _processor(said, family)
        height, width = ask(np.zeros((64, 64, channels), np.uint8)).shape[-2:]
        shape = (height, width, channels)
        pictures = np.zeros((channels + 2, *shape), np.uint8)
        for channel in range(channels):
            pictures[channel + 1, ..., channel] = 255
        pictures[-1] = (np.arange(pictures[-1].size) * 7919 % 251).reshape(shape)
        made = [ask(picture, do_resize=False, do_center_crop=False) for picture in pictures]
    if any(each.shape != (channels, height, width) for each in made):
        return None
    shift = made[0].mean(axis=(1, 2))
    mix = np.stack([(each.mean(axis=(1, 2)) - shift) / 255.0 for each in made[1:-1]], axis=1)
    mix[np.abs(mix) < 1e-3 * np.abs(mix).max()] = 0.0
    expected = np.einsum("hwc,dc->dhw", pictures[-1].astype(np.float64), mix) + shift[:, None, None]
    if not np.allclose(made[-1], expected, rtol=_CLOSE, atol=_CLOSE * max(1.0, np.abs(expected).max())):
        return None
    return Prepared(shape, tuple(tuple(float(n) for n in row) for row in mix), tuple(float(n) for n in shift))


def _whole(value: Any) -> list[int]:
    """The whole numbers in some settings."""
    if isinstance(value, dict | list):
        return [number for item in (value.values() if isinstance(value, dict) else value) for number in _whole(item)]
    return [value] if isinstance(value, int) else []


def _processor(said: Mapping[str, Any], family: Mapping[str, Any]) -> Any:
    """What transformers' processor makes of a picture, float64 [C, H, W]; the library reads two files of ours."""
    from transformers import AutoImageProcessor

    own = {name: value for name, value in said.items() if name not in ("auto_map", "processor_class")}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "preprocessor_config.json").write_text(json.dumps(own))
        Path(folder, "config.json").write_text(json.dumps(dict(family)))
        processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)

    def ask(picture: np.ndarray, **how: Any) -> np.ndarray:
        made = processor(picture, return_tensors="np", input_data_format="channels_last", **how)
        pixels: np.ndarray = np.asarray(made["pixel_values"], np.float64)[0]
        return pixels

    return ask
