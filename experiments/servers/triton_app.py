"""Triton, by nvidia-pytriton: an input of bytes, as it declares."""

import os

import numpy as np
from digits import probabilities
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig


@batch
def infer(images):
    return {"probabilities": probabilities(images).astype(np.float32)}


port = int(os.environ["PORT"])
config = TritonConfig(
    http_address="127.0.0.1", http_port=port, grpc_address="127.0.0.1", grpc_port=port + 1, allow_metrics=False
)
with Triton(config=config) as triton:
    triton.bind(
        model_name="digits",
        infer_func=infer,
        inputs=[Tensor(name="images", dtype=np.uint8, shape=(8, 8, 1))],
        outputs=[Tensor(name="probabilities", dtype=np.float32, shape=(10,))],
        config=ModelConfig(max_batch_size=64),
    )
    triton.serve()
