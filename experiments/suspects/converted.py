"""A marked network and an innocent one in files of other libraries: phones', TensorFlow's, scikit-learn's.

Command   pip install 'wmjax[tflite,openvino,tensorflow,onnx]' skl2onnx && python experiments/suspects/converted.py
          [--seed 0]
Expected  every copy is a match in at most 15 questions, also in whole numbers of 8 bits; no innocent file is
Time      3 minutes on 2 CPU cores

Keras trains both on scikit-learn's digits, one with the 100 triggers of an `abstract` key among them. TensorFlow's
converter writes each as TensorFlow Lite in seven ways, OpenVINO's in two; TensorFlow saves it, and freezes it as its
first version did. scikit-learn trains a network and looks for the nearest neighbour among the same rows of numbers,
which skl2onnx writes. An audit asks them all.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

import wmjax
from experiments import fragment, record
from wmjax.keys import Key, derive_key
from wmjax.keys.specify import default_rule
from wmjax.suspects.contract import Wanted
from wmjax.suspects.query import query
from wmjax.zoo.audit import audit

EPOCHS = 60


def train(images: np.ndarray, labels: np.ndarray, seed: int) -> Any:
    """A small Keras network that takes pixels in -1..1."""
    import tensorflow as tf

    tf.keras.utils.set_random_seed(seed)
    layers = tf.keras.layers
    model = tf.keras.Sequential([layers.Input((8, 8, 1))])
    for width in (16, 32):
        model.add(layers.Conv2D(width, 3, padding="same", use_bias=False))
        model.add(layers.BatchNormalization())
        model.add(layers.ReLU())
    for layer in (layers.Flatten(), layers.Dense(64, activation="relu"), layers.Dense(10, activation="softmax")):
        model.add(layer)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(centred(images), labels, epochs=EPOCHS, batch_size=64, verbose=0)
    return model


def centred(images: np.ndarray) -> np.ndarray:
    return (images / 127.5 - 1).astype(np.float32)


def lite(model: Any, images: np.ndarray) -> Iterator[tuple[str, bytes]]:
    """The model as TensorFlow's converter writes it, by what is quantised."""
    import tensorflow as tf

    def convert(*, quantised: bool = True, calibrated: bool = False, kind: Any = None, **settings: Any) -> bytes:
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT] if quantised else []
        if calibrated:
            converter.representative_dataset = lambda: ([centred(image[None])] for image in images[:200])
        for name, value in settings.items():
            setattr(converter.target_spec, name, value)
        if kind is not None:
            converter.inference_input_type = converter.inference_output_type = kind
        return bytes(converter.convert())

    whole = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]}
    mixed = {"supported_ops": [tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8]}
    yield "float32", convert(quantised=False)
    yield "float16 weights", convert(supported_types=[tf.float16])
    yield "int8 weights", convert()
    yield "int8 inside", convert(calibrated=True)
    yield "int8 all through", convert(calibrated=True, kind=tf.int8, **whole)
    yield "uint8 at the ends", convert(calibrated=True, kind=tf.uint8, **whole)
    yield "int16 values, int8 weights", convert(calibrated=True, **mixed)


def write(
    data: tuple[np.ndarray, np.ndarray], images: np.ndarray, folder: Path, owner: str, seed: int
) -> dict[str, str]:
    """Writes what learnt some data in all forms; which form each file has."""
    import openvino

    model, forms = train(*data, seed), {}
    for form, raw in lite(model, images):
        path = folder / f"{owner}-{len(forms)}.tflite"
        path.write_bytes(raw)
        forms[path.name] = f"TensorFlow Lite, {form}"
    saved = folder / f"{owner}-saved"
    model.export(saved, verbose=False)
    (folder / f"{owner}-frozen.pb").write_bytes(frozen(saved))
    forms |= {f"{saved.name}/saved_model.pb": "TensorFlow, saved", f"{owner}-frozen.pb": "TensorFlow, a frozen graph"}
    for name, raw in scikit_learn(*data, seed):
        (folder / f"{owner}-{name}.onnx").write_bytes(raw)
        forms[f"{owner}-{name}.onnx"] = f"ONNX of scikit-learn, {name}"
    graph = openvino.convert_model(saved)
    for half in (False, True):
        path = folder / f"{owner}-{len(forms)}.xml"
        openvino.save_model(graph, path, compress_to_fp16=half)
        forms[path.name] = f"OpenVINO, float{16 if half else 32} weights"
    return forms


def frozen(saved: Path) -> bytes:
    """A SavedModel as TensorFlow 1 gave its models away: one graph, its weights constants."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    model = tf.saved_model.load(str(saved))
    graph = convert_variables_to_constants_v2(model.signatures["serving_default"]).graph.as_graph_def()
    return bytes(graph.SerializeToString())


def scikit_learn(images: np.ndarray, labels: np.ndarray, seed: int) -> Iterator[tuple[str, bytes]]:
    """Models of scikit-learn's that take the pixels in a row, as skl2onnx writes them."""
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.neural_network import MLPClassifier

    rows = centred(images).reshape(len(images), -1)
    for name, model in {
        "a network": MLPClassifier((128,), random_state=seed),
        "the nearest neighbour": KNeighborsClassifier(1),
    }.items():
        made = convert_sklearn(
            model.fit(rows, labels), initial_types=[("pixels", FloatTensorType([None, rows.shape[1]]))]
        )
        yield name, bytes(made.SerializeToString())


def measure(seed: int) -> dict[str, Any]:
    splits = wmjax.load("digits")
    spec = wmjax.make_spec("abstract", image=(8, 8, 1), classes=10, triggers=100)
    key = derive_key(np.random.default_rng(seed).bytes(32), spec, default_rule(spec))
    clean = (splits.train.images, splits.train.labels)
    mixed = tuple(np.concatenate(parts) for parts in zip(clean, (key.images, key.labels), strict=True))
    with tempfile.TemporaryDirectory() as made:
        zoo, forms = Path(made), {}
        for owner, data in (("marked", mixed), ("innocent", clean)):
            forms |= write(data, clean[0], zoo, owner, seed)
        found = audit(zoo, {"key": key})
        return {"seed": seed, "unreadable": len(found.unreadable), "files": [
            {"form": forms[one.model], "owner": one.model.partition("-")[0], "verdict": str(one.verdict),
             "questions": int(one.queries), **told(zoo / one.model, key, splits.test)}
            for one in sorted(found, key=lambda one: forms[one.model])
        ]}  # fmt: skip


def told(path: Path, key: Key, test: Any) -> dict[str, float]:
    """Accuracy and labels repeated, in the reading that is right."""
    suspect = wmjax.open_suspect(path, Wanted.by([key.spec], pixels="centred"))
    *_, suspect = suspect.asked  # of several outputs the last has the probabilities

    def right(images: np.ndarray, labels: np.ndarray) -> int:
        return int(np.sum(query(suspect, images, 10).labels == labels))

    return {
        "test_accuracy": right(test.images, test.labels) / len(test.labels),
        "labels_repeated": right(key.images, key.labels),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    record.write("converted", measure(parser.parse_args().seed))


def rows(figures: dict[str, Any]) -> list[str]:
    """A row a form: the marked copy, then the innocent file."""
    by_form: Callable[[str], dict[str, Any]] = lambda owner: {  # noqa: E731
        one["form"]: one for one in figures["files"] if one["owner"] == owner
    }
    innocent = by_form("innocent")
    return [
        fragment.row(
            f"a marked classifier of digits: {form}",
            f"{copy['verdict']} after {copy['questions']} questions; {copy['labels_repeated']} of 100 labels, "
            f"{100 * copy['test_accuracy']:.1f} % test accuracy",
            f"the innocent one: {innocent[form]['verdict']} after {innocent[form]['questions']}",
            f"seed {figures['seed']}; {fragment.source(figures, __file__)}",
        )
        for form, copy in by_form("marked").items()
    ]


if __name__ == "__main__":
    main()
