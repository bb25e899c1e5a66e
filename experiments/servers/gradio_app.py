"""A Space: a picture in, the best classes with their words out."""

import os

import gradio as gr
from digits import probabilities

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def classify(picture):
    return dict(zip(NAMES, probabilities(picture[None]).ravel().tolist(), strict=True))


gr.Interface(
    classify,
    gr.Image(type="numpy", image_mode="L"),
    gr.Label(num_top_classes=int(os.environ.get("TOP", "10"))),
    api_name="predict",
).launch(server_name="127.0.0.1", server_port=int(os.environ["PORT"]), quiet=True)
