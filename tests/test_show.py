"""`wmjax show` says what any file is: true of whole ones, one line for damaged ones, no secret, and nothing runs."""

import base64
import datetime
import hashlib
import json
import os
import pickle
import ssl
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flax.serialization
import numpy as np
import onnx
import pytest
import safetensors.numpy
from attacked import found as attacked
from attacked import stolen
from forger import abstract_key, answers_of, dated, knowing, order, transcript, write
from refusals import assert_one_line, changed, one_line
from test_audit_report import audit, found
from tsa import LocalTsa

from wmjax import checkpoint
from wmjax.chain import chained
from wmjax.cli import main
from wmjax.errors import InvalidFile, WmjaxError
from wmjax.evidence.release import sign_release
from wmjax.keys import Model, new_signer, sign_commitment, write_key
from wmjax.keys.memory import remember
from wmjax.models import default_config
from wmjax.showing import KINDS, show
from wmjax.suspects.kinds import WHY, Format

NONCE = b"n" * 32
PASSPHRASE = "correct horse battery staple"
KEY = abstract_key(b"\x01" * 32)


def _dispute(folder: Path) -> Iterator[tuple[str, str]]:
    signer = new_signer()
    tsa = LocalTsa(folder / "tsa")
    yield "authority", "tsa/authority.pem"
    write_key(KEY, folder / "my", signer=signer)
    write_key(KEY, folder / "closed", passphrase=PASSPHRASE)
    yield from (("key", "my.age"), ("identity", "my.identity"), ("commitment", "my.commitment.json"))
    yield "key", "closed.age"
    yield "signer", "closed.signer.pem"
    stamp = dated(tsa, datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC))
    (folder / "my.commitment.1.tsr").write_bytes(stamp((folder / "my.commitment.json").read_bytes()))
    yield "time-stamp", "my.commitment.1.tsr"
    remember(folder / "my.age", "a service", [1, 2, 5])
    yield "asked", "my.asked.jsonl"
    rows = transcript(KEY, order(KEY, NONCE, 30), answers_of(KEY, knowing(KEY)))
    (folder / "claim.json").write_bytes(write(KEY, rows, NONCE, stamp=stamp, secret=KEY.secret))
    (folder / "notice.json").write_bytes(write(KEY, rows, NONCE))
    yield from (("claim", "claim.json"), ("claim", "notice.json"))
    assert main(["judge", str(folder / "claim.json"), "--out", str(folder / "verdict"), "--quiet"]) == 3
    yield "verdict", "verdict.json"
    release = folder / "release"
    release.mkdir()
    (release / "weights.bin").write_bytes(bytes(64))
    statement = sign_commitment(KEY.commitment, signer, Model("m", "0" * 64, "1" * 64))
    sign_release(release, statement, signer)
    yield from (("release", "release"), ("release", "release/model.sig"))
    yield from (("public-key", "release/watermark.pub.pem"), ("commitment", "release/watermark.commitment.json"))


def _work(folder: Path) -> Iterator[tuple[str, str]]:
    config = default_config("cnn", (8, 8, 1), 10)
    checkpoint.save_step(folder / "run", {"params": {"w": np.zeros(3)}}, checkpoint.Metadata(config, 7))
    checkpoint.write_settings(folder / "run", {"data": "digits 123", "seed": 0})
    yield from (("run", "run"), ("checkpoint", "run/step-00000007"))
    first, link = chained({"format": "wmjax-audit/1", "models": ["a", "b"]}, "", b"secret")
    (folder / "journal-1-of-1.jsonl").write_bytes(first + chained({"n": 1}, link, b"secret")[0] + b'{"cut')
    yield "journal", "journal-1-of-1.jsonl"
    result = audit(3, 2)
    found(result, 1, 1, 60.0)
    (folder / "audit.json").write_text(json.dumps(result.to_json()))
    (folder / "attack.json").write_text(json.dumps(attacked(stolen()).to_json()))
    yield from (("audit", "audit.json"), ("attack", "attack.json"))


def _models(folder: Path) -> Iterator[tuple[str, str]]:
    tensors = {"head/kernel": np.zeros((6, 4), np.float32), "head/bias": np.zeros(4, np.float32)}
    safetensors.numpy.save_file(tensors, folder / "bare.safetensors")
    low = {"base_model.model.q.lora_A.weight": np.zeros((2, 2), np.float32)}
    safetensors.numpy.save_file(low, folder / "adapter_model.safetensors")
    network = {"config": default_config("cnn", (8, 8, 1), 10).to_json()}
    packed = {"format": "wmjax-pack/1", "network": json.dumps(network), "models": json.dumps(["a", None, "b"])}
    safetensors.numpy.save_file({name: np.stack([t] * 3) for name, t in tensors.items()}, folder / "p.st", packed)
    index = {"weight_map": dict.fromkeys(tensors, "bare.safetensors")}
    (folder / "m.safetensors.index.json").write_text(json.dumps(index))
    np.savez(folder / "m.npz", **tensors)
    (folder / "m.msgpack").write_bytes(flax.serialization.msgpack_serialize({"params": tensors}))
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    ends = [onnx.helper.make_tensor_value_info(name, 1, [1, 10]) for name in "xy"]
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g", ends[:1], ends[1:])), folder / "m.onnx")
    (folder / "m.pkl").write_bytes(pickle.dumps(Runs()))
    with zipfile.ZipFile(folder / "m.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", "")
    (folder / "m.tflite").write_bytes(b"\0\0\0\0TFL3")
    (folder / "m.ort").write_bytes(b"\0\0\0\0ORTM")
    (folder / "m.xml").write_text('<?xml version="1.0"?>\n<net name="m" version="11">')
    (folder / "saved_model.pb").write_bytes(b"\x08\x01\x12\x00")
    (folder / "frozen.pb").write_bytes(b"\nG\n\x05input\x12\x0bPlaceholder")
    (folder / "empty.pt").touch()
    (folder / "notes.md").write_text("# notes\n")
    (folder / "few").mkdir()
    yield "safetensors", "adapter_model.safetensors"
    yield from (("safetensors", "bare.safetensors"), ("pack", "p.st"), ("index", "m.safetensors.index.json"))
    yield from (("arrays", "m.npz"), ("msgpack", "m.msgpack"), ("onnx", "m.onnx"), ("keras", "m.keras"))
    yield from (("tflite", "m.tflite"), ("ort", "m.ort"), ("openvino", "m.xml"))
    yield from (("saved-model", "saved_model.pb"), ("frozen-graph", "frozen.pb"))
    yield from (("pickle", "m.pkl"), ("empty", "empty.pt"), ("other", "notes.md"), ("folder", "few"))


class Runs:
    """Pickled, it would make a file when it is opened."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch ran",)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[str, str]]]:
    """A folder with files of every kind, and of which kind each is."""
    folder = tmp_path_factory.mktemp("files")
    return folder, [pair for make in (_dispute, _work, _models) for pair in make(folder)]


def test_each_file_is_called_what_it_is(files: Any) -> None:
    folder, kinds = files
    assert {name: show(folder / name).kind for _, name in kinds} == {name: kind for kind, name in kinds}
    told = {kind for kind, _ in kinds}
    assert {kind.name for kind in KINDS} - told <= {*WHY, "report", "jax-export", "hdf5"}  # those are tried elsewhere


def test_every_format_of_a_model_has_a_kind() -> None:
    assert {kind.value for kind in Format} <= {kind.name for kind in KINDS}
    assert len({kind.name for kind in KINDS}) == len(KINDS)


FACTS = [
    ("my.age", {"opened_by": "an identity", "recipients": 1, "key_id": KEY.commitment.id}),
    ("closed.age", {"opened_by": "a passphrase"}),
    ("my.commitment.json", {"signature": "holds", "triggers": KEY.spec.triggers, "time_stamps_beside": 1}),
    ("my.commitment.1.tsr", {"time": "2024-01-01T00:00:00+00:00", "of": "my.commitment.json, as it is now"}),
    ("my.asked.jsonl", {"suspects": 1, "triggers_shown": 3}),
    ("claim.json", {"triggers_asked": 30, "time_stamps": 1, "holds_the_secret": "yes: hand it to the judge alone"}),
    ("notice.json", {"holds_the_secret": "no: a notice, which proves nothing"}),
    ("verdict.json", {"judgements": 1, "signature": "none: judge again rather than believe it"}),
    ("tsa/authority.pem", {"usable_as_tsa": "yes", "roots": 1}),
    ("release", {"folder": "every file is as it was signed, and none was added", "signed_files": 3}),
    ("run", {"network": "cnn", "image": "8x8x1", "checkpoints": ["step-00000007"], "sealed_keys": []}),
    ("journal-1-of-1.jsonl", {"chain": "holds", "records": 1, "models": 2}),
    ("audit.json", {"models": 3, "matches": 1}),
    ("bare.safetensors", {"tensors": 2, "weights": 28, "network": "not said: whoever asks it names it (`--model`)"}),
    ("adapter_model.safetensors", {"network": "none: an adapter, which changes another model's weights"}),
    ("m.npz", {"tensors": 2, "weights": 28}),
    ("m.msgpack", {"tensors": 2, "weights": 28}),
    ("p.st", {"models": 2, "first_models": ["a", "b"], "network": "cnn"}),
    ("m.onnx", {"inputs": ["x [1, 10]"], "outputs": ["y [1, 10]"], "operators": 1, "weights": 0}),
    ("m.pkl", {"why": WHY[Format.PICKLE]}),
]


@pytest.mark.parametrize(("name", "facts"), FACTS, ids=[name for name, _ in FACTS])
def test_what_is_said_is_true(files: Any, name: str, facts: dict[str, Any]) -> None:
    assert facts.items() <= show(files[0] / name).facts.items()


def test_who_stamped_is_told_by_a_certificate_that_can_be_compared(files: Any, run: Callable[..., Any]) -> None:
    """A name is its holder's own choice."""
    authority = files[0] / "tsa" / "authority.pem"
    first = "".join(authority.read_text().partition("-----END CERTIFICATE-----")[:2])
    signs = hashlib.sha256(ssl.PEM_cert_to_DER_cert(first))
    proofs = json.loads(run("judge", files[0] / "claim.json", "--tsa", authority, "--json")[1])["judgements"][0][
        "proofs"
    ]
    assert [one["certificate"] for one in proofs if one["code"] == "committed-by"] == [signs.hexdigest()]
    assert show(authority).facts["certificates"][0].endswith(f"sha256 {signs.hexdigest()}")


@pytest.mark.parametrize(
    ("settlement", "told"),
    [
        (None, None),
        ({"headline": "Claim 2 came first."}, "Claim 2 came first."),
        ({"headline": ["a", "list"]}, 2),
        ({}, None),
    ],
)
def test_a_verdict_on_several_claims_says_who_was_first(files: Any, tmp_path: Path, settlement: Any, told: Any) -> None:
    verdict = json.loads((files[0] / "verdict.json").read_text())
    assert verdict["settlement"] is None
    (tmp_path / "v.json").write_text(json.dumps(verdict | {"settlement": settlement}))
    assert show(tmp_path / "v.json").facts["settlement"] == told


def test_no_secret_is_shown_and_nothing_runs(files: Any, run: Callable[..., Any]) -> None:
    folder, kinds = files
    identity = (folder / "my.identity").read_text().split()[-1]
    pem = "".join((folder / "closed.signer.pem").read_text().splitlines()[1:-1])
    secrets = [KEY.secret.hex(), base64.b64encode(KEY.secret).decode(), identity, pem, PASSPHRASE]
    for _, name in kinds:
        for more in ((), ("--json",)):
            code, out, err = run("show", folder / name, *more)
            assert (code, err) == (0, "")
            assert not [secret for secret in secrets if secret in out], name
            assert not more or json.loads(out)["path"] == str(folder / name)
    assert not Path("ran").exists()
    pickle.loads((folder / "m.pkl").read_bytes())
    assert Path("ran").exists()  # it would have


def test_a_stranger_s_words_steer_no_terminal(run: Callable[..., Any], tmp_path: Path) -> None:
    safetensors.numpy.save_file({"a\x1b[2J\u202eb\nc": np.zeros(1)}, "m.safetensors")
    Path("verdict.json").write_text(json.dumps({"judgements": [{"verdict": "match\x1b[2J", "headline": "x" * 5000}]}))
    for name in ("m.safetensors", "verdict.json"):
        code, out, err = run("show", name)
        assert code in (0, 4)
        assert not {"\x1b", "\u202e"} & set(out + err)
        assert max(map(len, (out + err).splitlines())) < 500


@pytest.mark.parametrize("name", ["my.commitment.json", "claim.json", "release/model.sig", "journal-1-of-1.jsonl"])
def test_what_was_changed_is_told(files: Any, name: str, tmp_path: Path) -> None:
    raw = (files[0] / name).read_bytes()
    path = tmp_path / Path(name).name
    path.write_bytes(raw.replace(b'"models":["a"', b'"models":["x"') if name.endswith("l") else _forged(raw))
    with pytest.raises(InvalidFile) as caught:
        show(path)
    assert_one_line(caught.value)


def _forged(raw: bytes) -> bytes:
    """A signed file with another signature."""
    start = raw.rindex(b'"sig":"') + 7
    return raw[:start] + (b"B" if raw[start : start + 1] == b"A" else b"A") + raw[start + 1 :]


def test_a_file_that_was_added_to_a_release_is_told(files: Any, run: Callable[..., Any]) -> None:
    (extra := files[0] / "release" / "extra").touch()
    code, _, err = run("show", files[0] / "release")
    extra.unlink()
    assert (code, "was added" in one_line(err)) == (4, True)


def test_damage_anywhere_is_one_line_or_another_kind(files: Any, tmp_path: Path) -> None:
    """Cut short, or with bits turned over: whatever is made of it, nothing else is raised."""
    rng, path = np.random.default_rng(0), tmp_path / "it"
    for _, name in files[1]:
        if (files[0] / name).is_dir():
            continue
        raw = (files[0] / name).read_bytes()
        places = rng.integers(0, max(1, len(raw)), 12)
        parts = [raw[:at] for at in places] + [changed(raw, int(at), 1 << int(at) % 8) for at in places if raw]
        for part in parts:
            path.write_bytes(part)
            try:
                assert show(path).kind
            except WmjaxError as error:
                assert_one_line(error)


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"format":' + b"9" * 5000 + b"}",
        b"\x80\x04" + b"." * 9,
        b"{}",
        b"\xff" * 50,
    ],
)
def test_hostile_bytes(raw: bytes, tmp_path: Path) -> None:
    (path := tmp_path / "it.json").write_bytes(raw)
    assert show(path).kind


def test_what_is_no_file(run: Callable[..., Any]) -> None:
    os.mkfifo("pipe")
    assert (run("show", "pipe")[0], run("show", "nowhere")[0]) == (4, 5)


def test_doctor_never_fails(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = run("doctor", "--json", "--data-dir", "nowhere")
    found = json.loads(out)
    assert (code, err, found["version"]) == (0, "", 1)
    assert "cpu" in found["jax"]["devices"]
    assert "wmjax prepare" in found["data"]["nowhere"]
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("wmjax.cli.doctor._version", lambda package: None)
    code, out, err = run("doctor")
    assert (code, err) == (0, "")
    assert "pip install 'wmjax[jax]'" in out
    assert "age: missing" in out
    monkeypatch.setattr("wmjax.cli.doctor._version", lambda package: "1")
    monkeypatch.setattr("wmjax.cli.doctor._DEVICES", "import os; os.abort()")
    code, out, _ = run("doctor")
    assert (code, "devices: none: " in out) == (0, True)
