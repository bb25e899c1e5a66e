"""Services that wmjax does not speak to itself, as functions: `wmjax verify ... services:roboflow`, in this folder.

Copy the one that you need and change it. Each asks about every picture once, sends PNG, which alters no pixel, and
gives scores of all CLASSES, or the class that was named. SUSPECT_URL is where the service is; SUSPECT_TOKEN, a
bearer's, goes there alone. Nothing is asked again: a service that answers with an error raises, which wmjax counts as
a refusal.

What was run: each function against a recorder on one machine that takes and answers what the provider's documents say
(`tests/test_recipes.py`), SageMaker's through Amazon's own client. None was run against the provider itself.
Replicate's was written after the documents of its server Cog, and its header `Prefer` from memory. What Azure's
`/score` takes, and SageMaker's `/invocations`, is up to whoever deployed the model: of these there is no one form.
"""

import base64
import io
import json
import os
import urllib.request

import numpy as np
from PIL import Image

CLASSES = os.environ.get("SUSPECT_CLASSES", "airplane,automobile,bird,cat,deer,dog,frog,horse,ship,truck").split(",")


def _each(ask):
    """A function of many pictures [n, H, W, C], from that of one."""
    return lambda images: np.array([ask(image) for image in images])


@_each
def sagemaker(image):
    """An endpoint of Amazon SageMaker whose container takes PNG and gives a list of scores; needs `botocore`."""
    from botocore.config import Config
    from botocore.session import get_session

    names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    known = {name: os.environ.get(f"SUSPECT_{name.upper()}") for name in names}  # else those of ~/.aws
    where = {"region_name": os.environ["SUSPECT_REGION"], "endpoint_url": os.environ.get("SUSPECT_URL")}
    once = Config(retries={"total_max_attempts": 1})
    client = get_session().create_client("sagemaker-runtime", **where, **known, config=once)
    name = os.environ["SUSPECT_ENDPOINT"]
    answer = client.invoke_endpoint(EndpointName=name, ContentType="image/png", Body=_png(image))
    return [float(score) for score in json.loads(answer["Body"].read())]


@_each
def vertex(image):
    """An AutoML model on Vertex AI; SUSPECT_URL ends with `:predict`, the token is gcloud's `print-access-token`."""
    told = {"confidenceThreshold": 0.0, "maxPredictions": len(CLASSES)}
    (said,) = _ask({"instances": [{"content": _text(image)}], "parameters": told})["predictions"]
    return _scores(dict(zip(said["displayNames"], said["confidences"], strict=True)))


@_each
def azure(image):
    """An online endpoint of Azure Machine Learning; SUSPECT_URL ends with `/score`, whose script takes base64."""
    return [float(score) for score in _ask({"image": _text(image)})]


@_each
def roboflow(image):
    """A classifier on Roboflow; SUSPECT_URL is `https://classify.roboflow.com/MODEL/VERSION`."""
    said = _ask(_text(image).encode(), "application/x-www-form-urlencoded")
    return _scores({each["class"]: each["confidence"] for each in said["predictions"]})


@_each
def replicate(image):
    """A deployment on Replicate, or a server of Cog; SUSPECT_URL ends with `/predictions`; it gives scores by name."""
    said = _ask({"input": {"image": _link(image)}}, Prefer="wait")
    return _scores(said["output"] if said["status"] == "succeeded" else {})


@_each
def chat(image):
    """A vision chat of OpenAI's form, held to the classes by an enum; SUSPECT_URL ends with `/v1/chat/completions`."""
    held = {"type": "object", "properties": {"label": {"type": "string", "enum": CLASSES}}, "required": ["label"]}
    form = {"name": "answer", "strict": True, "schema": {**held, "additionalProperties": False}}
    picture = {"type": "image_url", "image_url": {"url": _link(image)}}
    told = {"role": "user", "content": [{"type": "text", "text": "Which class is this?"}, picture]}
    rest = {"temperature": 0, "response_format": {"type": "json_schema", "json_schema": form}}
    said = _ask({"model": os.environ["SUSPECT_MODEL"], "messages": [told], **rest})
    return CLASSES.index(json.loads(said["choices"][0]["message"]["content"])["label"])


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows nobody elsewhere: the token would go along."""

    def redirect_request(self, *_):
        """Raises the answer as an error."""


def _ask(body, kind="application/json", **headers):
    """One question; the answer's JSON."""
    headers |= {"Content-Type": kind, "Authorization": f"Bearer {os.environ['SUSPECT_TOKEN']}"}
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    asked = urllib.request.Request(os.environ["SUSPECT_URL"], raw, headers)
    with urllib.request.build_opener(_Stay).open(asked, timeout=50) as answer:
        return json.loads(answer.read(1 << 24))


def _scores(named):
    """Scores of all CLASSES that add up to 1: those not named share what is left. Where none is named, a refusal."""
    told = np.array([named.get(name, np.nan) for name in CLASSES], float)
    silent = np.isnan(told)
    if silent.all():
        return told
    found = np.where(silent, max(0.0, 1 - np.nansum(told)) / max(1, silent.sum()), told)
    return found / found.sum()


def _png(image):
    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "png")
    return file.getvalue()


def _text(image):
    return base64.b64encode(_png(image)).decode()


def _link(image):
    return f"data:image/png;base64,{_text(image)}"
