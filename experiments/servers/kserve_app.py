"""KServe: V1 and V2 on one port. It declares nothing of its input, as KServe's custom models do."""

import os

import numpy as np
from digits import probabilities
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer


class Digits(Model):
    def __init__(self, name):
        super().__init__(name)
        self.ready = True

    def predict(self, payload, headers=None, response_headers=None):
        if isinstance(payload, InferRequest):
            p = probabilities(payload.inputs[0].as_numpy())
            out = InferOutput(name="probabilities", shape=list(p.shape), datatype="FP32", data=p.flatten().tolist())
            return InferResponse(response_id=payload.id or "r", model_name=self.name, infer_outputs=[out])
        return {"predictions": probabilities(np.array(payload["instances"])).tolist()}


ModelServer(http_port=int(os.environ["PORT"]), enable_grpc=False).start([Digits("digits")])
