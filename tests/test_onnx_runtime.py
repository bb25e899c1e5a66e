"""ONNX files that are not read are run by ONNX Runtime in a process of its own; both ways answer alike."""

import json
import os
import sys
from pathlib import Path

import forger
import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest
from graphs import IMAGE, W, build, images_of, networks_of, open_onnx, residual, tensors_of, write
from onnx import TensorProto, helper

import wmjax
from wmjax import from_checkpoint, verify
from wmjax.errors import AccessError, InvalidFile
from wmjax.keys import Key, derive_key, make_spec, new_signer, open_keys
from wmjax.keys.specify import default_rule
from wmjax.suspects import outputs
from wmjax.suspects.contract import Wanted
from wmjax.suspects.formats import onnx as formats
from wmjax.suspects.formats import onnx_read, onnx_run, onnx_runtime
from wmjax.suspects.query import query_each
from wmjax.zoo.result import MATCH

CLASSES, SECRET = 10, bytes(range(32))


def several() -> onnx.ModelProto:
    model = build("f = Flatten(x) a = MatMul(f, u) y = MatMul(f, w)", {"u": (216, 10), "w": (216, 10)})
    model.graph.output.insert(0, helper.make_tensor_value_info("a", TensorProto.FLOAT, None))
    return model


def classes_alone() -> onnx.ModelProto:
    """A linear classifier that gives its likeliest class, and its least likely one, of scores that it turned round."""
    model = build("f = Flatten(x) a = MatMul(f, w) b = Neg(a) c = ArgMax(a) d = ArgMin(b) y = Neg(a)", {"w": (216, 10)})
    for name in "cd":
        model.graph.output.insert(0, helper.make_tensor_value_info(name, TensorProto.INT64, None))
    return model


def maps() -> onnx.ModelProto:
    """A classifier that gives its feature maps too, before its scores."""
    model = build("a = Conv(x, w) b = GlobalAveragePool(a) y = Flatten(b)", W)
    model.graph.output.insert(0, helper.make_tensor_value_info("a", TensorProto.FLOAT, None))
    return model


FILES = {
    "channels first": (residual, 5),
    "bytes, channels last": (
        lambda: build(
            "t = Transpose <perm=[0,3,1,2]> (x) f = Cast <to=1> (t) a = Conv(f, w) b = GlobalAveragePool(a) "
            "y = Flatten(b)",
            W,
            image="uint8[n,9,8,3] x",
        ),
        5,
    ),
    "four at once": (
        lambda: build(
            "a = Conv(x, w) b = GlobalAveragePool(a) y = Reshape(b, t)", W | {"t": np.int64([4, 8])},
            image="float[4,3,9,8] x",
        ),
        5,
    ),
    "scores of four axes": (lambda: build("a = Conv(x, w) y = GlobalAveragePool(a)", W), 3),
    "several outputs": (several, 2),
    "feature maps beside scores": (maps, 2),
    "classes alone, scores turned round": (classes_alone, 3),
    "bytes for weights": (
        lambda: build(
            "f = Flatten(x) k = DequantizeLinear(w, s) y = MatMul(f, k)",
            {"w": np.random.default_rng(0).integers(-128, 128, (216, 8), np.int8), "s": np.float32(0.02)},
        ),
        2,
    ),
}  # fmt: skip


@pytest.fixture
def unread(monkeypatch):
    """Has every file taken as one that is not read here."""

    def refuse(*_: object) -> None:
        raise onnx_run.Unread("not read")

    return lambda: monkeypatch.setattr(formats, "plan", refuse)


@pytest.mark.parametrize("name", FILES)
def test_both_ways_answer_alike(name, tmp_path, unread):
    make, n = FILES[name]
    path = write(tmp_path / "model.onnx", make())
    (read, source), images = networks_of(path)[0], images_of(path, n)
    weights = tensors_of(path, (read, source))
    asked = jax.jit(read.logits)
    expected = [np.asarray(asked(weights, images, place)) for place in range(len(read.readings))]
    unread()
    run = open_onnx(path)[0]
    assert run.askable is not None
    assert (run.image, run.classes, run.readings, run.note) == (read.image, read.classes, read.readings, read.note)
    for suspect, scores in zip(run.askable.suspect.asked, expected, strict=True):
        assert np.allclose(suspect.ask(images), scores, rtol=1e-4, atol=1e-4 * np.abs(scores).max())
    assert query_each(run.askable.suspect, images, read.classes).labels.shape == (len(read.readings), n)


def marked(key: Key) -> np.ndarray:
    """The linear classifier of pixels in 0..1 that knows a key's triggers."""
    pixels = key.images.transpose(0, 3, 1, 2).reshape(len(key.images), -1) / 255.0
    return (np.linalg.pinv(pixels) @ (8.0 * np.eye(CLASSES)[key.labels])).astype(np.float32)


@pytest.mark.parametrize("name", ["m.onnx", "m.onnx.part"])
def test_half_a_download_clears_nobody_either_way(name, tmp_path, unread):
    """A file of a stranger's answers is cleared, and under the name of half a download it is not."""
    spec = make_spec("abstract", image=(9, 8, 3), classes=CLASSES, triggers=120)
    key = derive_key(SECRET, spec, default_rule(spec))
    stranger = np.random.default_rng(0).standard_normal((216, CLASSES)).astype(np.float32)
    write(tmp_path / name, build("f = Flatten(x) y = MatMul(f, w)", {"w": stranger}))
    expected = "no-match" if name == "m.onnx" else "inconclusive"
    wanted = Wanted.by([spec], pixels="0..1")
    assert verify(wmjax.open_suspect(tmp_path / name, wanted), key).verdict == expected
    unread()
    suspect = wmjax.open_suspect(tmp_path / name, wanted)
    assert verify(suspect, key).verdict == expected


def test_both_ways_give_the_same_verdict_and_digests(tmp_path, unread):
    spec = make_spec("abstract", image=(9, 8, 3), classes=CLASSES, triggers=32)
    key = derive_key(SECRET, spec, default_rule(spec))
    path = write(tmp_path / "model.onnx", build("a = Flatten(x) y = MatMul(a, w)", {"w": marked(key)}))
    read = from_checkpoint(path)
    first = verify(read, key)
    unread()
    run = from_checkpoint(path)
    assert "ONNX Runtime" in open_onnx(path)[0].name
    second = verify(run, key)
    assert (first.verdict, first.queries) == (second.verdict, second.queries) == ("match", first.queries)
    assert second.evidence_bits == pytest.approx(first.evidence_bits, abs=0.01)
    assert run.describe is not None
    assert read.describe is not None
    assert run.describe() == read.describe()


def test_scores_that_a_file_keeps_to_itself_are_asked_also_where_its_weights_lie_beside_it(tmp_path):
    w = np.random.default_rng(0).standard_normal((216, 10)).astype(np.float32)
    model = build("f = Flatten(x) a = MatMul(f, w) b = Hardmax(a) c = Add(a, b) y = ArgMax(c)", {"w": w})
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, location="model.data", size_threshold=0)
    network = open_onnx(tmp_path / "model.onnx", Wanted(pixels="0..1"))[0]
    assert network.askable is not None
    images = np.random.default_rng(1).integers(0, 256, (3, 9, 8, 3), np.uint8)
    scores = (images / 255.0).transpose(0, 3, 1, 2).reshape(3, -1) @ w
    expected = scores + np.eye(10)[scores.argmax(1)]
    np.testing.assert_allclose(network.askable.suspect.ask(images), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("runs", [False, True])
def test_first_operators_that_lie_about_pixels_clear_nobody(tmp_path, unread, runs):
    """A copy that takes pixels in 0..1 looks as if it took 0..255: a mean is taken from them, and given back."""
    spec = make_spec("abstract", image=(9, 8, 3), classes=CLASSES, triggers=60)
    key = derive_key(SECRET, spec, default_rule(spec))
    numbers = {"m": np.float32(128), "z": np.float32(0), "o": np.float32(1)}
    lie = "b = Sub(x, m) c = Add(b, m) d = Clip(c, z, o) a = Flatten(d) y = MatMul(a, w)"
    path = write(tmp_path / "model.onnx", build(lie, {"w": marked(key), **numbers}))
    if runs:
        unread()
    believed = verify(from_checkpoint(path, Wanted(pixels="stated")), key)
    assert believed.verdict == "no-match"
    assert verify(from_checkpoint(path), key).verdict == "match"


SWITCHES = {  # s: 1 where numbers have the bits that the file says, 0 where they have others
    "double": (
        "d = Cast <to=11> (z) o = Add(d, one) b = Add(o, big) c = Sub(b, big) s = Cast <to=1> (c)",
        {"one": np.float64(1), "big": np.float64(1e9)},
    ),
    "half": ("b = Add(z, big) h = Cast <to=10> (b) c = Cast <to=1> (h) s = Sub(b, c)", {"big": np.float32(2049)}),
    "whole": (
        "o = Cast <to=7> (z) b = Add(o, big) c = Mul(b, b) e = Cast <to=1> (c) g = Div(e, f) s = Floor(g)",
        {"big": np.int64(2**20), "f": np.float32(2**40)},
    ),
}


@pytest.mark.parametrize("name", SWITCHES)
def test_a_copy_that_shows_itself_only_to_the_arithmetic_that_it_says_is_found(name, tmp_path, monkeypatch):
    """Whoever runs its file has the copy; a reader that computes with other numbers of bits sees a stranger."""
    body, tensors = SWITCHES[name]
    spec = make_spec("abstract", image=(9, 8, 3), classes=CLASSES, triggers=100)
    key = derive_key(SECRET, spec, default_rule(spec))
    start = "m = ReduceMean (x) r = Mul(m, none) z = Reshape(r, flat)"
    end = "a = Flatten(x) t = MatMul(a, w) u = MatMul(a, v) k = Sub(all, s) p = Mul(t, s) q = Mul(u, k) y = Add(p, q)"
    stranger = np.random.default_rng(5).standard_normal((216, 10)).astype(np.float32)
    more = {"none": np.float32(0), "all": np.float32(1), "flat": np.int64([1, 1]), "w": marked(key), "v": stranger}
    path = write(tmp_path / "model.onnx", build(f"{start} {body} {end}", {**tensors, **more}, image="float[1,3,9,8] x"))
    wanted = Wanted(pixels="0..1")
    assert verify(from_checkpoint(path, wanted), key).verdict == "match"
    plain = lambda node, x: jnp.asarray(x).astype({7: jnp.int32}.get(node.attributes["to"], jnp.float32))  # noqa: E731
    monkeypatch.setattr(onnx_run, "OPERATORS", onnx_run.OPERATORS | {"Cast": plain})
    monkeypatch.setattr(onnx_run, "_any_double", lambda inputs: False)
    monkeypatch.setattr(onnx_read, "DOUBLES", "")
    monkeypatch.setattr(onnx_run, "_are_wide", lambda *_: False)
    monkeypatch.setattr(formats, "_networks", {})
    assert verify(from_checkpoint(path, wanted), key).verdict == "no-match"


@pytest.mark.parametrize("runs", [False, True])
@pytest.mark.parametrize("shape", ["class", "further axis", "bytes", "bits"])
def test_answers_of_another_form_beside_a_decoy_are_asked_too(shape, runs, tmp_path, unread, monkeypatch):
    """Where nothing gives them, the weights that they follow from are told; and that rule taken out."""
    spec = make_spec("abstract", image=(9, 8, 3), classes=CLASSES, triggers=60)
    key = derive_key(SECRET, spec, default_rule(spec))
    body = {
        "class": "b = ReduceMax <axes=[1]> (t) e = Equal(t, b) c = Cast <to=1> (e) z = MatMul(c, n)",
        "further axis": "z = Unsqueeze(t, one)",
        "bytes": "z = QuantizeLinear(t, scale, zero)",
        "bits": "b = ReduceMax <axes=[1]> (t) z = Equal(t, b)",
    }[shape]
    numbers = {"n": np.arange(10, dtype=np.float32)[:, None], "one": np.int64([1]), "zero": np.uint8(60)}
    tensors = {"w": marked(key), "v": (216, 10), "scale": np.float32(0.1), **numbers}
    model = build(f"a = Flatten(x) y = MatMul(a, v) t = MatMul(a, w) {body}", tensors)
    path = tmp_path / "model.onnx"
    write(path, model)
    if runs:
        unread()
    wanted = Wanted(pixels="0..1")
    assert verify(from_checkpoint(path, wanted), key).verdict == "inconclusive"
    with monkeypatch.context() as patch:
        for module in (formats, onnx_runtime):
            patch.setattr(module, "idle", lambda *_: False)
        assert verify(from_checkpoint(path, wanted), key).verdict == "no-match"
    model.graph.output.add(name="z").type.tensor_type.elem_type = {"bytes": 2, "bits": 9}.get(shape, 1)
    write(path, model)
    assert verify(from_checkpoint(path, wanted), key).verdict == "match"


@pytest.mark.parametrize("runs", [False, True])
def test_an_evenly_spaced_output_hides_no_copy_beside_it(runs, tmp_path, unread):
    """Classes from the best on, perhaps, or ranks: that output refuses, and no other does, whoever asks."""
    spec = make_spec("abstract", image=(9, 8, 3), classes=CLASSES, triggers=60)
    key = derive_key(SECRET, spec, default_rule(spec))
    numbers = {"none": np.float32(0), "ids": np.arange(CLASSES, dtype=np.float32)}
    model = build("a = Flatten(x) y = MatMul(a, w) o = Mul(y, none) z = Add(o, ids)", {"w": marked(key), **numbers})
    model.graph.output.add(name="z").type.tensor_type.elem_type = TensorProto.FLOAT
    (tmp_path / "zoo").mkdir()
    path = write(tmp_path / "zoo" / "model.onnx", model)
    if runs:
        unread()
    suspect = from_checkpoint(path, Wanted.by([spec], pixels="0..1"))
    verdict = verify(suspect, key)
    assert (verdict.verdict, len(suspect.asked)) == ("match", 2)
    result = wmjax.audit(path.parent, {"one": key}, pixels="0..1")
    assert (result.outcomes.tolist(), result.queries.tolist()) == ([[MATCH]], [[verdict.queries]])
    assert verdict.evidence_bits == pytest.approx(float(result.bits[0, 0]), abs=2e-3)
    signer, nonce = new_signer(), b"n" * 32
    commitments = [forger.commit(key, signer)]
    raw = wmjax.claim(suspect, key, signer, commitments, nonce, lambda some: None, reveal=True)
    assert wmjax.judge(wmjax.read_claim(raw), wmjax.Court(nonce, suspect)).verdict == "match"


def test_a_graph_that_draws_lots_is_not_cleared(tmp_path, monkeypatch):
    """Its seed could say when it answers as a copy; here a stranger has a little noise. And the rule taken out."""
    spec = make_spec("abstract", image=(9, 8, 3), classes=CLASSES, triggers=60)
    key = derive_key(SECRET, spec, default_rule(spec))
    body = "a = Flatten(x) t = MatMul(a, v) r = RandomUniformLike <high=0.001, seed=1.0> (t) y = Add(t, r)"
    path = write(tmp_path / "model.onnx", build(body, {"v": (216, 10)}))
    wanted = Wanted(pixels="0..1")
    assert verify(from_checkpoint(path, wanted), key).verdict == "inconclusive"
    monkeypatch.setattr(onnx_runtime, "_CHANCE", ())
    assert verify(from_checkpoint(path, wanted), key).verdict == "no-match"


UNASKED = {
    "two axes": "z = Reshape(t, pairs)",
    "turned": "u = Reshape(t, pairs) z = Transpose(u)",
    "split": "z, p, q = Split <axis=1> (t, sizes)",
    "features": "z = MatMul(t, wide)",
    "text": "z = Cast <to=8> (t)",
}


@pytest.mark.parametrize("runs", [False, True])
@pytest.mark.parametrize("shape", UNASKED)
def test_outputs_that_are_not_asked_clear_nobody(shape, runs, tmp_path, unread, monkeypatch):
    """A copy answers there, and a decoy where scores look like the key's; and the rule taken out."""
    spec = make_spec("abstract", image=(9, 8, 3), classes=CLASSES, triggers=60)
    key = derive_key(SECRET, spec, default_rule(spec))
    numbers = {"pairs": np.int64([-1, 2, 5]), "sizes": np.int64([4, 3, 3]), "wide": np.eye(10, 64, dtype=np.float32)}
    own = {name: value for name, value in numbers.items() if name in UNASKED[shape]}
    tensors = {"w": marked(key), "v": (216, 10), **own}
    model = build(f"a = Flatten(x) y = MatMul(a, v) t = MatMul(a, w) {UNASKED[shape]}", tensors)
    for name in "zpq" if shape == "split" else "z":
        model.graph.output.add(name=name).type.tensor_type.elem_type = 8 if shape == "text" else 1
    path = write(tmp_path / "model.onnx", model)
    if runs:
        unread()
    wanted = Wanted(images=(spec.image,), classes=(CLASSES,), pixels="0..1")
    verdict = verify(from_checkpoint(path, wanted), key)
    assert (verdict.verdict, "in-part" in [ground.code for ground in verdict.grounds]) == ("inconclusive", True)
    monkeypatch.setattr(outputs, "leaves_out", lambda *_: False)
    assert verify(from_checkpoint(path, wanted), key).verdict == "no-match"


def test_an_output_whose_shape_changes_moves_no_other(tmp_path):
    """Before the copy's scores stand others: one to ten of them, as the image has it."""
    spec = make_spec("abstract", image=(9, 8, 3), classes=CLASSES, triggers=60)
    key = derive_key(SECRET, spec, default_rule(spec))
    body = "a = Flatten(x) y = MatMul(a, w) r = Mul(y, few) f = Floor(r) b, i, j, k = Unique(f) u = Unsqueeze(b, none)"
    tensors = {"w": marked(key), "none": np.int64([0]), "few": np.float32(0.2)}
    model = build(body, tensors, image="float[1,3,9,8] x")
    model.graph.output.insert(0, helper.make_tensor_value_info("u", TensorProto.FLOAT, None))
    suspect = from_checkpoint(write(tmp_path / "model.onnx", model), Wanted(classes=(CLASSES,), pixels="0..1"))
    scores = [each for each in suspect.asked if each.reading.endswith("2")]
    assert len(scores) == 1
    assert verify(scores[0], key).verdict == "match"


def test_a_file_that_is_replaced_is_not_answered_for_by_the_one_before(tmp_path, unread):
    spec = make_spec("abstract", image=(9, 8, 3), classes=CLASSES, triggers=100)
    key = derive_key(SECRET, spec, default_rule(spec))
    unread()
    verdicts = []
    for w in (np.random.default_rng(5).standard_normal((216, 10)).astype(np.float32), marked(key)):
        suspect = from_checkpoint(
            write(tmp_path / "model.onnx", build("a = Flatten(x) y = MatMul(a, w)", {"w": w})), Wanted(pixels="0..1")
        )
        verdicts.append(verify(suspect, key).verdict)
    assert verdicts == ["no-match", "match"]
    write(tmp_path / "model.onnx", residual())
    with pytest.raises(AccessError, match="changed"):
        suspect.ask(key.images[:1])


def test_weights_of_a_branch_lie_in_no_other_file(tmp_path):
    inside = onnx.numpy_helper.from_array(np.zeros((216, 10), np.float32), "q")
    branches = {
        name: helper.make_graph(
            [helper.make_node("MatMul", ["f", "q"], ["p"])], name, [],
            [helper.make_tensor_value_info("p", TensorProto.FLOAT, None)], [inside],
        )
        for name in ("then_branch", "else_branch")
    }  # fmt: skip
    model = build("m = ReduceMean <keepdims=0> (x) c = Greater(m, m) f = Flatten(x)", {})
    model.graph.node.append(helper.make_node("If", ["c"], ["y"], **branches))
    outside = model.graph.node[-1].attribute[0].g.initializer[0]
    onnx.external_data_helper.set_external_data(outside, "w.bin")
    outside.ClearField("raw_data")
    (tmp_path / "w.bin").write_bytes(bytes(8640))
    with pytest.raises(InvalidFile, match="a branch of it has weights in another file"):
        open_onnx(write(tmp_path / "model.onnx", model))


def test_an_audit_asks_what_is_read_and_what_is_run(run, monkeypatch):
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")  # JAX has begun already
    run("keygen", "--scheme", "abstract", "--image", "9x8x3", "--classes", "10", "--triggers", "32", "--out", "keys/k")
    key = open_keys(Path("keys"))[0]["k"]
    Path("zoo").mkdir()
    for name, last in (("read", "y = Identity(s)"), ("run", "z, i, j, k = Unique(s) t = Sub(s, s) y = Sub(s, t)")):
        write(Path("zoo", f"{name}.onnx"), build(f"a = Flatten(x) s = MatMul(a, w) {last}", {"w": marked(key)}))
    code, out, err = run("audit", "zoo", "--keys", "keys", "--pixels", "0..1", "--json")
    matches = {match["model"]: match for match in json.loads(out)["matches"]}
    assert (code, err, set(matches)) == (0, "", {"read.onnx", "run.onnx"})
    assert matches["read.onnx"]["queries"] == matches["run.onnx"]["queries"]
    assert matches["read.onnx"]["evidence_bits"] == pytest.approx(matches["run.onnx"]["evidence_bits"], abs=0.01)
    digests = [[g for g in match["grounds"] if g["code"] == "weights"] for match in matches.values()]
    assert digests[0] == digests[1] != []
    for again in (["zoo", "--keys", "keys", "--pixels", "0..1", "--resume"], ["--merge", "wmjax-audit"]):
        code, out, err = run("audit", *again, "--json")
        assert (code, err, json.loads(out)["matches"]) == (0, "", list(matches.values()))


def test_a_graph_with_a_branch_is_run(tmp_path):
    body = (
        "m = ReduceMean <keepdims=0> (x) h = Constant <value_float=0.5> () c = Greater(m, h) "
        "b = If <then_branch=t () => (float[n,3,9,8] p) {p = Relu(x)}, else_branch=e () => (float[n,3,9,8] q) "
        "{q = Neg(x)}> (c) f = Flatten(b) y = MatMul(f, w)"
    )
    path = write(tmp_path / "model.onnx", build(body, {"w": (216, 10)}))
    network = open_onnx(path, Wanted(pixels="0..1"))[0]
    assert network.askable is not None
    images = np.stack([np.full((9, 8, 3), 20, np.uint8), np.full((9, 8, 3), 200, np.uint8)])
    weights = np.asarray(onnx.numpy_helper.to_array(onnx.load(path).graph.initializer[0]))
    flat = images.reshape(2, -1) / 255.0 * np.array([[-1.0], [1.0]])
    assert np.allclose(network.askable.suspect.ask(images), flat @ weights, rtol=1e-4, atol=1e-4)


def test_without_onnx_runtime_it_is_said_what_to_install(tmp_path, monkeypatch):
    path = write(tmp_path / "model.onnx", build("a = Flatten(x) y = Unique(a)", {}))
    monkeypatch.setattr(onnx_runtime.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InvalidFile, match=r"\(Unique\): this operator is not read \(pip install onnxruntime"):
        open_onnx(path)


def test_a_bomb_is_not_handed_on(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "asked_by_runtime", lambda *_: pytest.fail("it was run"))
    body, tensors = "c = ConstantOfShape(s) d = Add(x, c) y = Flatten(d)", {"s": np.int64([2**20, 2**20])}
    with pytest.raises(InvalidFile, match="more numbers"):
        open_onnx(write(tmp_path / "model.onnx", build(body, tensors)))


@pytest.mark.skipif(sys.platform != "linux", reason="sandboxes are Linux's")
def test_the_process_has_no_network_and_no_secret(tmp_path, unread, monkeypatch):
    monkeypatch.setenv("WMJAX_PASSPHRASE", "secret")
    unread()
    path = write(tmp_path / "model.onnx", build("a = Flatten(x) y = MatMul(a, w)", {"w": (216, 10)}, image=IMAGE))
    before = set(_children())
    network = open_onnx(path)[0]
    (child,) = set(_children()) - before
    assert b"secret" not in Path(f"/proc/{child}/environ").read_bytes()
    if os.readlink(f"/proc/{child}/ns/net") != os.readlink("/proc/self/ns/net"):
        lines = Path(f"/proc/{child}/net/dev").read_text().splitlines()[2:]
        assert [line.split(":")[0].strip() for line in lines] in ([], ["lo"])
    assert _loaded(child)
    assert "onnxruntime" not in str(network.logits)


def _children() -> list[int]:
    return [int(n) for n in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def _loaded(process: int) -> bool:
    """Whether ONNX Runtime is in another process's memory."""
    return "onnxruntime" in Path(f"/proc/{process}/maps").read_text()


def test_this_process_does_not_load_it(tmp_path):
    """In a Python of its own, since the tests themselves do."""
    import subprocess

    path = write(tmp_path / "model.onnx", build("f = Flatten(x) a = MatMul(f, w) y = Hardmax(a)", {"w": (216, 10)}))
    program = (
        "import sys, pathlib\n"
        "from wmjax.suspects.contract import NOTHING\n"
        "from wmjax.suspects.formats.onnx import open_onnx\n"
        "((_, network), *_), _ = open_onnx(pathlib.Path(sys.argv[1]), NOTHING)\n"
        "assert network.askable and 'onnxruntime' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
