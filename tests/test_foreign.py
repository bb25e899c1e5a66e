"""Files that another runtime runs in a process of its own: TensorFlow Lite's, ONNX Runtime's, OpenVINO's.

LiteRT's files are written by its own schema: one layer, whose numbers may be floats or whole ones with their worth.
"""

import copy
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import onnxruntime
import pytest
from ai_edge_litert import schema_py_generated as lite
from graphs import build
from graphs import write as write_onnx
from marked import make_key

import wmjax
from wmjax.errors import AccessError, InvalidFile, UsageError
from wmjax.suspects import outputs
from wmjax.suspects.contract import Wanted
from wmjax.suspects.formats import foreign
from wmjax.suspects.recognise import recognise
from wmjax.zoo.audit import audit
from wmjax.zoo.discover import discover

KEY = make_key()
WANTED = Wanted.by([KEY.spec])
KINDS = {"float32": lite.TensorType.FLOAT32, "int8": lite.TensorType.INT8, "uint8": lite.TensorType.UINT8}


def kernel() -> np.ndarray:
    """A map from pixels in 0..1 to scores that answers most triggers with their labels, its weights small, [64, 10]."""
    pixels = KEY.images.reshape(len(KEY.images), -1) / 255
    answers = pixels.T @ (8 * np.eye(10)[KEY.labels])
    return np.linalg.solve(pixels.T @ pixels + 0.1 * np.eye(64), answers).astype(np.float32)


def tensor(shape: list[int], kind: str, scale: float = 0, zero: int = 0, buffer: int = 0, **more: Any) -> Any:
    worth = lite.QuantizationParametersT(scale=[scale], zeroPoint=[zero]) if scale else None
    return lite.TensorT(shape=shape, type=KINDS[kind], buffer=buffer, quantization=worth, name="t", **more)


def write(path: Path, given: Any, weights: Any, data: np.ndarray, out: Any, operator: int | None = None) -> Path:
    """A `.tflite` file of one fully connected layer."""
    operator = lite.BuiltinOperator.FULLY_CONNECTED if operator is None else operator
    layer = lite.OperatorT(
        inputs=[0, 1],
        outputs=[2],
        builtinOptionsType=lite.BuiltinOptions.FullyConnectedOptions,
        builtinOptions=lite.FullyConnectedOptionsT(),
    )
    model = lite.ModelT(
        version=3,
        operatorCodes=[lite.OperatorCodeT(builtinCode=operator, deprecatedBuiltinCode=min(operator, 127), version=4)],
        subgraphs=[lite.SubGraphT(tensors=[given, weights, out], inputs=[0], outputs=[2], operators=[layer])],
        buffers=[lite.BufferT(), lite.BufferT(data=np.frombuffer(data.tobytes(), np.uint8))],
    )
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(builder.Output())
    return path


def floats(path: Path, weights: np.ndarray, image: tuple[int, ...] = (1, 8, 8, 1)) -> Path:
    classes = weights.shape[1]
    given, held = tensor(list(image), "float32"), tensor([classes, len(weights)], "float32", buffer=1)
    return write(path, given, held, weights.T.astype(np.float32), tensor([image[0], classes], "float32"))


def whole(path: Path, weights: np.ndarray, kind: str, scale: float, zero: int) -> Path:
    """Quantised all through; an image's integers are worth (n - zero) * scale."""
    step, middle = float(np.abs(weights).max() / 127), 0 if kind == "int8" else 128
    held = (np.rint(weights.T / step) + middle).astype(kind)
    given, kept = tensor([1, 8, 8, 1], kind, scale, zero), tensor([10, 64], kind, step, middle, buffer=1)
    return write(path, given, kept, held, tensor([1, 10], kind, 0.25, middle))


def ort(path: Path, body: str = "a = Flatten(x) y = MatMul(a, w)", image: str = "float[n,8,8,1] x") -> Path:
    """The same in ONNX Runtime's own format."""
    source = write_onnx(path.with_suffix(".onnx"), build(body, {"w": kernel()}, image=image))
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(source, options)
    source.unlink()
    return path


def openvino(path: Path, dtype: Any = np.float32) -> Path:
    ov = pytest.importorskip("openvino", reason="needs OpenVINO: pip install 'wmjax[openvino]'")
    ops = pytest.importorskip("openvino.opset13")
    x = ops.parameter([-1, 8, 8, 1], dtype)
    flat = ops.reshape(ops.convert(x, "f32"), np.array([-1, 64]), False)
    held = kernel() / (255 if dtype == np.uint8 else 1)
    scores = ops.matmul(flat, held.astype(np.float32), False, False)
    ov.save_model(ov.Model([ops.result(scores)], [x], "m"), str(path), compress_to_fp16=False)
    return path


def verdicts(folder: Path) -> dict[str, str]:
    result = audit(folder, {"k": KEY})
    assert result.unreadable == []
    return {found.model: str(found.verdict) for found in result}


def test_tensorflow_lite_files_are_asked(tmp_path):
    """Floats; whole numbers with or without a sign, of pixels in 0..1 and 0..255; a stranger."""
    weights = kernel()
    floats(tmp_path / "float.tflite", weights)
    whole(tmp_path / "signed", weights, "int8", 1 / 255, -128)
    whole(tmp_path / "unsigned", weights, "uint8", 1 / 255, 0)
    whole(tmp_path / "bytes", weights / 255, "uint8", 1, 0)
    floats(tmp_path / "other.tflite", np.random.default_rng(0).normal(size=(64, 10)))
    found = verdicts(tmp_path)
    assert found.pop("other.tflite") == "no-match"
    assert set(found.values()) == {"match"}
    assert len(found) == 4


@pytest.mark.parametrize("rule", ["_whole", "_worth"])
def test_a_quantised_copy_is_lost_without_what_integers_are_worth(rule, tmp_path, monkeypatch):
    """The child's own function, in this process: with the rule, a copy's answers; without it, a stranger's."""
    from wmjax.suspects.formats import tflite_child

    path = whole(tmp_path / "m", kernel(), "int8", 1 / 255, -128)

    def repeated() -> float:
        answers = tflite_child.program(str(path))((KEY.images / 255).astype(np.float32))
        return float(np.mean(answers.argmax(1) == KEY.labels))

    kept = repeated()
    monkeypatch.setattr(tflite_child, rule, lambda values, *_: values.astype(np.int8) if rule == "_whole" else -values)
    assert kept > 0.6
    assert repeated() < 0.3


def test_a_copy_in_another_function_of_a_file_is_not_cleared_by_the_first(tmp_path, monkeypatch):
    """LiteRT runs any function by its name; one that is called the first by another name is the first all the same."""
    from wmjax.suspects.formats import tflite_child

    def named(place: int) -> Path:
        path = floats(tmp_path / f"{place}.tflite", np.random.default_rng(0).normal(size=(64, 10)))
        model = lite.ModelT.InitFromPackedBuf(path.read_bytes())
        model.subgraphs.append(copy.deepcopy(model.subgraphs[0]))
        model.subgraphs[1].tensors[1].buffer = len(model.buffers)
        model.buffers.append(lite.BufferT(data=np.frombuffer(kernel().T.tobytes(), np.uint8)))
        ends = [[lite.TensorMapT(name="x", tensorIndex=at)] for at in (0, 2)]
        model.signatureDefs = [lite.SignatureDefT(*ends, "named", place)]
        builder = flatbuffers.Builder()
        builder.Finish(model.Pack(builder), b"TFL3")
        path.write_bytes(builder.Output())
        return path

    assert wmjax.verify(wmjax.open_suspect(named(0), WANTED), KEY).verdict == "inconclusive"  # its weights are there
    with pytest.raises(InvalidFile, match="functions beside its first one"):
        recognise(named(1), WANTED)
    monkeypatch.setattr(tflite_child, "_others", lambda content: False)
    answers = tflite_child.program(str(named(1)))((KEY.images / 255).astype(np.float32))
    assert np.mean(answers.argmax(1) == KEY.labels) < 0.3


def _also(path: Path, where: str) -> Path:
    """A decoy with a copy's weights in its file: in a buffer, as a tensor that no operator takes, or in a function."""
    model = lite.ModelT.InitFromPackedBuf(floats(path, np.random.default_rng(0).normal(size=(64, 10))).read_bytes())
    if where == "tensor":
        model.subgraphs[0].tensors.append(tensor([10, 64], "float32", buffer=len(model.buffers)))
    if where == "function":
        model.subgraphs.append(copy.deepcopy(model.subgraphs[0]))
        model.subgraphs[1].tensors[1].buffer = len(model.buffers)
    data = kernel().T.astype(np.float32).tobytes() if where != "plain" else b"what converters write down"
    model.buffers.append(lite.BufferT(data=np.frombuffer(data, np.uint8)))
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(builder.Output())
    return path


def test_weights_that_a_lite_file_does_not_use_are_told(tmp_path, monkeypatch):
    for where in ("buffer", "tensor", "function", "plain"):
        _also(tmp_path / f"{where}.tflite", where)
    expected = {
        "plain.tflite": "no-match",
        **{f"{name}.tflite": "inconclusive" for name in ("buffer", "tensor", "function")},
    }
    assert verdicts(tmp_path) == expected
    monkeypatch.setattr(outputs, "leaves_out", lambda *_: False)
    assert set(verdicts(tmp_path).values()) == {"no-match"}


def test_weights_that_a_graph_of_openvino_does_not_use_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "kernel", lambda: np.random.default_rng(0).normal(size=(64, 10)))
    openvino(tmp_path / "plain.xml")
    with open(openvino(tmp_path / "more.xml").with_suffix(".bin"), "ab") as file:
        file.write(bytes(2560))
    assert verdicts(tmp_path) == {"plain.xml": "no-match", "more.xml": "inconclusive"}
    monkeypatch.setattr(outputs, "leaves_out", lambda *_: False)
    assert set(verdicts(tmp_path).values()) == {"no-match"}


@pytest.mark.parametrize("marker", ["{}.aria2", "{}.Xa1b2C", ".{}", "{}.xltd", "m.bin.aria2"])
@pytest.mark.parametrize("form", ["m.tflite", "m.ort", "m.xml"])
def test_half_a_download_is_asked_and_clears_nobody(form, marker, tmp_path, monkeypatch):
    """Zeros may stand in it for what has not come, or in the file of its weights."""
    made = {"m.tflite": lambda path: floats(path, kernel()), "m.ort": ort, "m.xml": openvino}
    stranger = np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32)
    monkeypatch.setattr(sys.modules[__name__], "kernel", lambda: stranger)
    path, other = made[form](tmp_path / form), tmp_path / marker.format(form)
    assert verdicts(tmp_path) == {form: "no-match"}
    if marker.endswith(".aria2"):
        other.write_bytes(bytes(40))
    else:
        path = path.rename(other)
        for weights in tmp_path.glob("m.bin"):
            weights.rename(path.with_suffix(".bin"))
    expected = "no-match" if marker == "m.bin.aria2" and form != "m.xml" else "inconclusive"
    found = audit(tmp_path, {"k": KEY})
    assert [str(one.verdict) for one in found] == [expected]
    assert [item.path for item in found.unreadable if item.path == path.name] == [path.name] * (expected != "no-match")
    assert wmjax.verify(wmjax.open_suspect(path, WANTED), KEY).verdict == expected


def test_a_graph_that_counts_its_questions_is_asked_as_anew_and_not_cleared(tmp_path, monkeypatch):
    """A copy for the first three of a program's questions: it is known by them; a stranger of this kind is told."""
    ov = pytest.importorskip("openvino", reason="needs OpenVINO: pip install 'wmjax[openvino]'")
    ops, util = pytest.importorskip("openvino.opset13"), pytest.importorskip("openvino.op.util")
    decoy = np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32)
    for name, first in {"copy": kernel(), "stranger": -decoy}.items():
        x, told = ops.parameter([1, 8, 8, 1], np.float32), util.VariableInfo()
        told.data_shape, told.data_type, told.variable_id = ov.PartialShape([1]), ov.Type.f32, "asked"
        variable, flat = util.Variable(told), ops.reshape(x, np.array([1, 64]), False)
        asked = ops.read_value(ops.constant(np.float32([0])), variable)
        kept = ops.assign(ops.add(asked, ops.constant(np.float32([1]))), variable)
        early = ops.less(asked, ops.constant(np.float32([3])))
        scores = ops.select(early, ops.matmul(flat, first, False, False), ops.matmul(flat, decoy, False, False))
        ov.save_model(ov.Model([ops.result(scores)], [kept], [x], "m"), str(tmp_path / f"{name}.xml"))
    assert verdicts(tmp_path) == {"copy.xml": "match", "stranger.xml": "inconclusive"}
    monkeypatch.setattr(outputs, "leaves_out", lambda *_: False)
    assert verdicts(tmp_path) == {"copy.xml": "match", "stranger.xml": "no-match"}


@pytest.mark.parametrize("how", ["variable", "chance"])
def test_a_lite_file_that_may_answer_otherwise_each_time_is_not_cleared(how, tmp_path, monkeypatch):
    path = floats(tmp_path / "m.tflite", np.random.default_rng(0).normal(size=(64, 10)))
    model = lite.ModelT.InitFromPackedBuf(path.read_bytes())
    if how == "variable":
        model.subgraphs[0].tensors.append(tensor([1], "float32", isVariable=True))
    else:
        code = lite.BuiltinOperator.RANDOM_UNIFORM
        model.operatorCodes.append(lite.OperatorCodeT(builtinCode=code, deprecatedBuiltinCode=127, version=1))
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(builder.Output())
    assert verdicts(tmp_path) == {"m.tflite": "inconclusive"}
    monkeypatch.setattr(outputs, "leaves_out", lambda *_: False)
    assert verdicts(tmp_path) == {"m.tflite": "no-match"}


def test_files_of_onnx_runtimes_own_format_are_asked(tmp_path):
    ort(tmp_path / "copy.ort")
    ort(tmp_path / "bytes.ort", "c = Cast<to = 1>(x) a = Flatten(c) y = MatMul(a, w)", "uint8[1,8,8,1] x")
    assert verdicts(tmp_path) == {"copy.ort": "match", "bytes.ort": "match"}


def test_graphs_of_openvino_are_asked_with_the_weights_beside_them(tmp_path):
    openvino(tmp_path / "copy.xml")
    openvino(tmp_path / "bytes.xml", np.uint8)
    assert verdicts(tmp_path) == {"copy.xml": "match", "bytes.xml": "match"}
    (entry, _) = discover(tmp_path, WANTED).entries
    (tmp_path / entry.name).with_suffix(".bin").unlink()
    with pytest.raises(InvalidFile):
        recognise(tmp_path / entry.name, WANTED)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: floats(path, np.ones((320, 10)), (1, 8, 8, 5)), "neither 1 nor 3"),
        (lambda path: floats(path, np.ones((64, 1))), r"none of its outputs"),
        (lambda path: whole(path, np.ones((64, 10)), "int8", 0, 0), "RuntimeError"),
        (lambda path: path.write_bytes(b"\0\0\0\0TFL3" + bytes(100)), "."),
        (lambda path: floats(path, kernel()).write_bytes(path.read_bytes()[:-1000]), "."),
        (lambda path: path.write_bytes(b"\0\0\0\0ORTM" + bytes(100)), "."),
        (lambda path: os.truncate(path, path.write_bytes(b"\0\0\0\0TFL3") + (1 << 31)), "larger than any"),
        (lambda path: ort(path, "a = Flatten(x) y = MatMul(a, w)", "float[n,2,4,8,1] x"), "one batch of images"),
    ],
    ids=["five channels", "one class", "no worth", "nothing", "cut short", "nothing of ort", "too large", "no images"],
)
def test_what_is_no_classifier_of_images_is_one_line(make: Callable[[Path], Any], why: str, tmp_path):
    make(tmp_path / "m")
    with pytest.raises(InvalidFile, match=why) as refused:
        recognise(tmp_path / "m", WANTED)
    assert str(refused.value).isprintable()
    assert len(discover(tmp_path, WANTED).unreadable) == 1


def test_an_operator_that_is_not_of_the_format_is_refused(tmp_path):
    given, held = tensor([1, 8, 8, 1], "float32"), tensor([10, 64], "float32", buffer=1)
    path = write(tmp_path / "m", given, held, kernel().T, tensor([1, 10], "float32"), lite.BuiltinOperator.CUSTOM)
    with pytest.raises(InvalidFile):
        recognise(path, WANTED)


@pytest.mark.skipif(sys.platform != "linux", reason="sandboxes are Linux's")
def test_the_process_has_no_network_and_no_secret(tmp_path, monkeypatch):
    monkeypatch.setenv("WMJAX_PASSPHRASE", "secret")
    before = set(_children())
    suspect = wmjax.open_suspect(floats(tmp_path / "m.tflite", kernel()), WANTED)
    (child,) = set(_children()) - before
    assert b"secret" not in Path(f"/proc/{child}/environ").read_bytes()
    if os.readlink(f"/proc/{child}/ns/net") != os.readlink("/proc/self/ns/net"):
        lines = Path(f"/proc/{child}/net/dev").read_text().splitlines()[2:]
        assert [line.split(":")[0].strip() for line in lines] in ([], ["lo"])
    assert "litert" in Path(f"/proc/{child}/maps").read_text().lower()
    assert "NoNewPrivs:\t1" in Path(f"/proc/{child}/status").read_text()
    assert wmjax.verify(suspect, KEY).verdict == "match"


def _children() -> list[int]:
    return [int(n) for n in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def test_a_file_that_changes_meanwhile_is_not_asked_on(tmp_path):
    suspect = wmjax.open_suspect(floats(tmp_path / "m.tflite", kernel()), WANTED)
    floats(tmp_path / "m.tflite", -kernel())
    with pytest.raises(AccessError, match="was changed while it was used"):
        suspect.ask(KEY.images[:1])


def test_without_the_runtime_it_says_what_to_install(tmp_path, monkeypatch):
    floats(tmp_path / "m.tflite", kernel())
    monkeypatch.setattr(foreign.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"wmjax\[tflite\]"):
        recognise(tmp_path / "m.tflite", WANTED)
