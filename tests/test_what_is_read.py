"""The table of what an audit reads, row by row: what each says is tried on files that their own libraries write."""

import importlib.util
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import test_foreign
import test_tensorflow
from marked import FORMATS, make_key, marked

from experiments.suspects import real_forms
from wmjax.suspects import Wanted
from wmjax.suspects.sniff import kind_of
from wmjax.zoo.discover import discover
from wmjax.zoo.records import Zoo

ROOT = Path(__file__).parent.parent
IMAGE = real_forms.IMAGE
FLAX = Wanted(("experiments.suspects.real_forms:flax_net",), (IMAGE,), pickles=True)
TORCH = Wanted(("experiments.suspects.real_forms:torch_net",), (IMAGE,), pickles=True)
torch = pytest.mark.skipif(not importlib.util.find_spec("torchax"), reason="the torch packages are not installed")
Row = Callable[[Path], None]


@pytest.fixture(scope="module")
def weights() -> real_forms.Tree:
    images = np.random.default_rng(0).integers(0, 256, (2, *IMAGE), np.uint8)
    return real_forms.fitted(images, np.array([0, 1]), "0..1", 0, steps=0, after=0)


@pytest.fixture
def zoo(tmp_path: Path, weights: real_forms.Tree) -> Callable[..., Zoo]:
    """What is found where some forms are written, each into a folder of its own."""

    def write(*forms: str, wanted: Wanted = FLAX) -> Zoo:
        for form in forms:
            (tmp_path / form).mkdir()
            real_forms.FORMS[form](tmp_path / form, weights, np.zeros((1, *IMAGE), np.uint8))
        return discover(tmp_path, wanted)

    return write


def rows() -> list[str]:
    """The first column of the table."""
    table = (ROOT / "docs" / "reference" / "what-is-read.md").read_text().partition("| in the zoo | what it takes |")[2]
    return [line.split(" | ")[0].removeprefix("| ") for line in table.split("\n\n")[0].splitlines() if line[:2] == "| "]


def test_each_row_has_its_test() -> None:
    tried = "\n".join(str(test.__doc__) for name, test in globals().items() if name.startswith("test_"))
    assert [row for row in rows() if re.split("[:,(]", row)[0].strip("`* ") not in tried] == []


def test_ours(tmp_path: Path) -> None:
    """wmjax checkpoints, exported models, runs, packs."""
    network = marked(make_key())
    for name in ("checkpoint", "run", "pack"):
        (tmp_path / name).mkdir()
        FORMATS[name][0](tmp_path / name / "model", network)
    found = discover(tmp_path, Wanted())
    assert (len(found.entries) >= 3, found.unreadable) == (True, [])


def test_flax(zoo: Callable[..., Zoo]) -> None:
    """weights of NNX or Linen modules."""
    forms = [form for form in real_forms.FORMS if form.startswith(("Orbax", "Flax", "npz", "safetensors "))]
    forms = [form for form in forms if "PyTorch" not in form and "sharded" not in form]
    found = zoo(*forms)
    assert found.unreadable == []
    assert {entry.name.split("/")[0].split(":")[0] for entry in found.entries} == set(forms)


def test_index(tmp_path: Path, weights: real_forms.Tree, zoo: Callable[..., Zoo]) -> None:
    """.safetensors.index.json` with the files that it names."""
    tensors = list(real_forms.flat(weights).items())
    places = {}
    for i, half in enumerate((tensors[:5], tensors[5:]), 1):
        file = f"model-{i:05d}-of-00002.safetensors"
        real_forms.save(tmp_path / file, dict(half))
        places |= {name: file for name, _ in half}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    found = zoo()
    assert ([entry.name for entry in found.entries], found.unreadable) == (["model.safetensors.index.json"], [])


def test_sets(zoo: Callable[..., Zoo]) -> None:
    """several sets of weights in one file or checkpoint."""
    names = [entry.name for entry in zoo("Orbax average").entries]
    assert len(names) == 2
    assert any(name.endswith(":ema") for name in names)


def test_onnx(tmp_path: Path) -> None:
    """.onnx` image classifiers."""
    FORMATS["ONNX"][0](tmp_path / "model", marked(make_key()))
    assert [entry.name for entry in discover(tmp_path, Wanted()).entries] == ["model.onnx"]


def test_program(zoo: Callable[..., Zoo]) -> None:
    """files of `jax.export`."""
    assert [entry.name for entry in zoo("jax.export").entries] == ["jax.export/model.jaxexport"]


@pytest.mark.filterwarnings("ignore")  # Keras has many
def test_keras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras's `*.keras` and `*.h5` classifiers of images of one size."""
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    layers = pytest.importorskip("keras", reason="needs Keras: pip install 'wmjax[keras]'").layers
    model = layers.Flatten()(entry := layers.Input((8, 8, 1)))
    for name in ("model.h5", "model.keras"):
        pytest.importorskip("keras").Model(entry, layers.Dense(10)(model)).save(tmp_path / name)
    assert {found.name for found in discover(tmp_path, Wanted()).entries} == {"model.h5", "model.keras"}


def test_tflite(tmp_path: Path) -> None:
    """`*.tflite`: TensorFlow Lite's classifiers of images of one size."""
    test_foreign.floats(tmp_path / "m.tflite", test_foreign.kernel())
    assert [entry.name for entry in discover(tmp_path, Wanted()).entries] == ["m.tflite"]


def test_ort(tmp_path: Path) -> None:
    """`*.ort`: ONNX Runtime's own format."""
    test_foreign.ort(tmp_path / "m.ort")
    assert [entry.name for entry in discover(tmp_path, Wanted()).entries] == ["m.ort"]


def test_openvino(tmp_path: Path) -> None:
    """`*.xml`: OpenVINO's graphs."""
    test_foreign.openvino(tmp_path / "m.xml")
    zoo = discover(tmp_path, Wanted())
    assert ([entry.name for entry in zoo.entries], zoo.unreadable) == (["m.xml"], [])


def test_saved_models(tmp_path: Path) -> None:
    """TensorFlow's SavedModels; *.pb`: frozen graphs of TensorFlow 1."""
    tensorflow = pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'wmjax[tensorflow]'")
    test_tensorflow.saved(tensorflow, tmp_path / "m")
    zoo = discover(tmp_path, Wanted())
    assert ([entry.name for entry in zoo.entries], zoo.unreadable) == (["m/saved_model.pb"], [])
    (tmp_path / "frozen.pb").write_bytes(b"\nG\n\x05input\x12\x0bPlaceholder")
    assert kind_of(tmp_path / "frozen.pb") == "frozen-graph"


def test_list(tmp_path: Path, zoo: Callable[..., Zoo]) -> None:
    """suspects.toml`."""
    (tmp_path / "suspects.toml").write_text('[[suspect]]\nname = "a"\npath = "npz/model.npz"\n')
    assert [entry.name for entry in zoo("npz").entries] == ["suspects.toml:a"]


def test_cache(tmp_path: Path, zoo: Callable[..., Zoo]) -> None:
    """a Hugging Face cache."""
    zoo("npz")
    blobs, snapshot = tmp_path / "models--a--b" / "blobs", tmp_path / "models--a--b" / "snapshots" / "0a"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    (tmp_path / "npz" / "model.npz").rename(blobs / "f00d")
    os.symlink("../../blobs/f00d", snapshot / "model.npz")
    assert [entry.name for entry in zoo().entries] == ["models--a--b/snapshots/0a/model.npz"]


@torch
def test_folders(tmp_path: Path) -> None:
    """Folders of transformers and timm as the Hub has them."""
    import transformers

    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic", num_labels=10
    )
    transformers.ResNetForImageClassification(config).save_pretrained(tmp_path / "resnet")
    found = discover(tmp_path, Wanted(images=(IMAGE,)))
    assert (len(found.entries), found.unreadable) == (1, [])


@torch
@pytest.mark.filterwarnings("ignore")  # PyTorch calls TorchScript old
def test_pytorch(zoo: Callable[..., Zoo]) -> None:
    """PyTorch's weights in safetensors; PyTorch files (`.pt`, ...), and archives that hold programs."""
    forms = ["safetensors PyTorch", "safetensors sharded", "pt", "pth", "TorchScript", "torch.export"]
    found = zoo(*forms, wanted=TORCH)
    assert ({entry.name.split("/")[0] for entry in found.entries}, found.unreadable) == (set(forms), [])


def test_others(tmp_path: Path) -> None:
    """other pickles, archives and ... are listed."""
    import pickle
    import zipfile

    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"a": [1.0]}))
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("weights", b"0")
    (tmp_path / "c.gguf").write_bytes(b"GGUF" + bytes(64))
    found = discover(tmp_path, Wanted())
    assert ([item.path for item in found.unreadable], found.entries) == (["a.pkl", "b.zip", "c.gguf"], [])
    assert all(re.search("pickle|archive|GGUF", item.why) for item in found.unreadable)
