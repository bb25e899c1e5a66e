"""Saves the digits as a model of MLflow, in the folder that it is given; `mlflow models serve` serves it."""

import sys

import mlflow.pyfunc
import numpy as np


class Digits(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        from digits import probabilities

        return probabilities(np.array(model_input)).tolist()


mlflow.pyfunc.save_model(sys.argv[1], python_model=Digits(), pip_requirements=[])
