"""Zoos, keys, runs and documents in object stores: as from a folder, or one line that says why not."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import marked
import numpy as np
import onnx
import pytest
from buckets import Bucket, bucket, forgotten, fresh, scheme
from doorman import Doorman, doorman
from flax import serialization
from jax import export
from refusals import one_line
from safetensors.numpy import save_file

import wmjax
from wmjax import ocdbt, orbax, stores
from wmjax.checkpoint import held
from wmjax.keys import Key, Unlock, write_key
from wmjax.keys.vault import new_identity
from wmjax.suspects import Wanted
from wmjax.suspects.network import from_config
from wmjax.zoo import audit as room
from wmjax.zoo import route

__all__ = ["bucket", "doorman", "fresh", "scheme"]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _one_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")  # JAX has begun already
    monkeypatch.setattr(route, "_COMPILING", 0.0)  # or a clock decides who answers, which findings tell


def _exported(path: Path, variables: Any) -> None:
    pixels = jax.ShapeDtypeStruct((1, *marked.IMAGE), np.uint8)
    weights, network = marked.by_name(variables), from_config(marked.CONFIG)
    program = jax.jit(lambda images: network.logits(weights, images))
    path.write_bytes(export.export(program, platforms=("cpu",))(pixels).serialize())


def _two_files(path: Path, variables: Any) -> None:
    onnx.save(onnx.load(marked._onnx(path, variables)), path, save_as_external_data=True, location="numbers.bin")


def _shards(folder: Path, variables: Any) -> None:
    folder.mkdir()
    weights, parts = marked.by_name(variables), {}
    for number, name in enumerate(weights):
        parts[name] = f"model-{number % 2 + 1:05}-of-00002.safetensors"
    for part in set(parts.values()):
        save_file({name: weights[name] for name in weights if parts[name] == part}, folder / part)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A marked network in every format, the key, sealed to an identity that lies elsewhere, and what is no model."""
    folder = tmp_path_factory.mktemp("home")
    key = marked.make_key()
    text, recipient = new_identity()
    (folder / "my.identity").write_text(text)
    (folder / "keys").mkdir()
    write_key(key, folder / "keys" / "my", recipients=[recipient])
    shutil.move(folder / "keys" / "my.signer.pem", folder / "my.signer.pem")
    zoo, variables = folder / "zoo", marked.marked(key)
    for name, (write, _) in marked.FORMATS.items():
        (zoo / name).mkdir(parents=True)
        write(zoo / name / "model", variables)
    shutil.rmtree(zoo / "pack" / "loose")
    np.savez(zoo / "arrays.npz", **marked.by_name(variables))
    (zoo / "flax.msgpack").write_bytes(serialization.to_bytes(variables._asdict()))
    _exported(zoo / "program.jaxexport", variables)
    (zoo / "apart").mkdir()
    _two_files(zoo / "apart" / "model.onnx", variables)
    _shards(zoo / "shards", variables)
    (zoo / "readme.txt").write_text("no model")
    (zoo / "broken.safetensors").write_bytes(b"\x08" + bytes(100))
    return folder


def _key(home: Path) -> dict[str, Key]:
    return {"my": wmjax.open_key(home / "keys" / "my.age", Unlock(identity=(home / "my.identity").read_text()))}


def _told(result: Any) -> tuple[Any, ...]:
    document = result.to_json()
    return {name: value for name, value in document.items() if name != "seconds"}, result.models


def test_an_audit_of_a_bucket_is_that_of_the_folder(home: Path, bucket: Bucket) -> None:
    keys, options = _key(home), {"models": ("cnn",), "pixels": "0..255"}
    local = _told(wmjax.audit(home / "zoo", keys, **options))
    url = bucket.put_folder(home / "zoo", "team/zoo")
    assert _told(wmjax.audit(url, keys, **options)) == local
    assert {finding["model"] for finding in local[0]["matches"]} >= {"arrays.npz", "flax.msgpack", "checkpoint/model"}
    assert len(local[0]["matches"]) == 12, [one["model"] for one in local[0]["matches"]] + local[0]["unreadable"]
    held = stores._process.mirror
    assert held
    with forgotten():  # with room for next to nothing
        stores.place(url)
        assert stores._process.mirror
        stores._process.mirror.contents._here.most = stores._process.mirror.contents._heads.most = 1
        assert _told(wmjax.audit(url, keys, **options)) == local


def test_weights_that_are_not_fetched_would_be_zeros(
    home: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the test before this one guards against: a reader that opens a file without having it fetched."""
    url = bucket.put_folder(home / "zoo" / "checkpoint", "zoo")
    monkeypatch.setattr(stores.contents.Contents, "_fill", lambda *_: None)
    with pytest.raises(wmjax.WmjaxError):
        wmjax.from_checkpoint(f"{url}/model")


def test_a_checkpoint_is_the_same_while_its_files_are_fetched(
    home: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread fetches a file or makes room: its stamp would change, were it not that of the versions."""
    item = stores.place(bucket.put_folder(home / "zoo" / "checkpoint" / "model" / "state", "state"))
    before = orbax.stamp(item)
    file = next(path for path in item.rglob("*") if path.is_file())
    os.truncate(file, 0)  # before it has its size and its time again
    assert orbax.stamp(item) == before
    monkeypatch.setattr(stores, "stamp", lambda path, status: (status.st_size, status.st_mtime_ns))
    assert orbax.stamp(item) != before


@pytest.fixture
def asked(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The name and the number of bytes of whatever is asked for of the bucket."""
    stores.place(bucket.url)
    asked = list[tuple[str, int]]()
    store = type(stores._process.buckets[bucket.scheme, bucket.name])
    plain = store.read

    def read(self: Any, found: stores.contract.Object, begin: int, end: int) -> bytes:
        asked.append((found.name, end - begin))
        return plain(self, found, begin, end)

    monkeypatch.setattr(store, "read", read)
    return asked


def test_of_a_checkpoint_no_more_is_asked_for_than_is_read(
    home: Path, bucket: Bucket, asked: list[tuple[str, int]]
) -> None:
    for name in ("a", "b"):
        bucket.put_folder(home / "zoo" / "checkpoint" / "model", f"zoo/{name}")
    stores.place(f"{bucket.url}/zoo")
    assert wmjax.from_checkpoint(f"{bucket.url}/zoo/a").classes == 10
    names = [name for name, _ in asked]
    assert not [name for name in names if name.endswith(("state/_METADATA", "commit_success.txt"))]
    large = {name for name, size in asked if size >= stores.contents.HEAD}
    assert len(names) <= len(set(names)) + len(large)


def test_pieces_that_no_tensor_can_have_are_not_fetched(
    home: Path, bucket: Bucket, asked: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tree that names one large file for every tensor; without the bound all of them would be in memory."""
    folder = home / "zoo" / "checkpoint" / "model" / "state"
    large = max((folder / "ocdbt.process_0" / "d").iterdir(), key=lambda path: path.stat().st_size)
    url = bucket.put_folder(folder.parent, "zoo")
    bucket.put(f"zoo/state/ocdbt.process_0/d/{large.name}", bytes(1 << 20))
    plain = ocdbt._places

    def hostile(path: Path) -> dict[bytes, Any]:
        place = f"value:ocdbt.process_0/:d/{large.name}:0:{1 << 20}"
        return {key: value if key.endswith(b"json") else place for key, value in plain(path).items()}

    monkeypatch.setattr(ocdbt, "_places", hostile)
    with pytest.raises(wmjax.WmjaxError, match="larger than it can be"):
        wmjax.from_checkpoint(url)
    assert max(size for _, size in asked) < 1 << 18
    monkeypatch.setattr(orbax, "LARGEST_DOCUMENT", 1 << 20)
    with forgotten(), pytest.raises(wmjax.WmjaxError, match="damaged"):
        wmjax.from_checkpoint(url)
    assert max(size for _, size in asked) >= 1 << 20


def test_a_model_that_changes_meanwhile_is_listed_and_judged_by_nobody(
    home: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = (home / "zoo" / "safetensors" / "model.safetensors").read_bytes()
    for name in ("changed", "gone", "same"):
        bucket.put(f"zoo/{name}.safetensors", own)
    plain = room.make_plan

    def meanwhile(*arguments: Any, **options: Any) -> Any:
        bucket.put("zoo/changed.safetensors", own[:-4] + bytes(4))
        bucket.remove("zoo/gone.safetensors")
        return plain(*arguments, **options)

    monkeypatch.setattr(room, "make_plan", meanwhile)
    result = wmjax.audit(f"{bucket.url}/zoo", _key(home))
    told = {item.path: item.why for item in result.unreadable}
    assert "changed meanwhile" in told["changed.safetensors"]
    assert "not there any more" in told["gone.safetensors"]
    assert [finding.model for finding in result if finding.verdict == "match"] == ["same.safetensors"]
    assert {finding.model for finding in result} == {"same.safetensors"}

    def vanishes(*arguments: Any, **options: Any) -> Any:
        bucket.drop()
        return plain(*arguments, **options)

    monkeypatch.setattr(room, "make_plan", vanishes)
    with forgotten(), pytest.raises(wmjax.WmjaxError, match=r"^a store cannot be reached: .*no such bucket.*$"):
        wmjax.audit(f"{bucket.url}/zoo", _key(home))


def test_a_token_that_expires_ends_an_audit_which_another_one_resumes(
    home: Path, bucket: Bucket, doorman: Doorman, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = home / "zoo" / "safetensors" / "model.safetensors"
    for name in ("a", "b"):
        bucket.put(f"zoo/{name}.safetensors", own.read_bytes())
    told = ["audit", f"{bucket.url}/zoo", "--keys", home / "keys", "--identity", home / "my.identity"]
    told += ["--out", f"{bucket.url}/audit"]
    plain = room.make_plan

    def expires(*arguments: Any, **options: Any) -> Any:
        doorman.refusal, doorman.only = "expired", "safetensors"
        return plain(*arguments, **options)

    with monkeypatch.context() as patch, forgotten():
        patch.setattr(room, "make_plan", expires)
        code, _, error = run(*told)
    assert code == 5
    assert "a store cannot be reached" in one_line(error)
    assert "the credentials are not accepted" in error
    doorman.refusal = ""
    assert bucket.get("audit/journal-1-of-1.jsonl").count(b"\n") == 1  # no model was judged
    with forgotten():
        code, _, error = run(*told)
    assert (code, "use --resume" in one_line(error)) == (2, True)
    with forgotten():
        code, out, error = run(*told, "--resume", "--json")
    assert (code, error) == (0, "")
    assert len(json.loads(out)["matches"]) == 2
    names = ["audit/audit.json", "audit/journal-1-of-1.jsonl", "audit/report.html"]
    assert [name for name in bucket.names() if name.startswith("audit/")] == names
    with forgotten():
        code, out, _ = run("audit", "--merge", f"{bucket.url}/audit", "--json")
    assert (code, len(json.loads(out)["matches"])) == (0, 2)


def test_keys_and_documents(home: Path, bucket: Bucket, run: Run) -> None:
    bucket.put_folder(home / "keys", "keys")
    bucket.put_folder(home / "zoo" / "run", "runs")
    key = f"{bucket.url}/keys/my.age"
    opened = ["--key", key, "--identity", home / "my.identity"]
    code, out, error = run("verify", *opened, f"{bucket.url}/runs/model", "--json")
    assert (code, error) == (0, "")
    assert json.loads(out)["suspect"] == f"{bucket.url}/runs/model"
    code, out, _ = run("export", f"{bucket.url}/runs/model", f"{bucket.url}/release")
    assert (code, out) == (0, f"{bucket.url}/release: network and weights, no key\n")
    assert "release/_CHECKPOINT_METADATA" in bucket.names()
    code, out, error = run(
        *("claim", *opened, f"{bucket.url}/release", "--nonce-from", "00ff" * 8, "--reveal"),
        *("--signer", home / "my.signer.pem", "--out", f"{bucket.url}/claims/one.json"),
    )
    assert (code, f"{bucket.url}/claims/one.json holds the key's secret" in one_line(error)) == (0, True)
    with forgotten():
        told = ["judge", f"{bucket.url}/claims/one.json", "--nonce-from", "00ff" * 8, "--out", f"{bucket.url}/verdict"]
        code, out, error = run(*told, "--suspect", f"{bucket.url}/release")
    assert error == ""
    assert {"claims/one.html", "claims/one.json", "verdict.html", "verdict.json"} <= set(bucket.names())
    assert bucket.get("keys/my.age") != (home / "keys" / "my.age").read_bytes()  # what was asked is spent there
    code, out, _ = run("pack", f"{bucket.url}/runs", f"{bucket.url}/packs")
    assert code == 0
    assert [name for name in bucket.names() if name.startswith("packs/")] != []


def test_what_opens_and_signs_stays_here(home: Path, bucket: Bucket, run: Run) -> None:
    bucket.put_folder(home / "keys", "keys")
    for name in ("my.identity", "my.signer.pem"):
        bucket.put(f"keys/{name}", (home / name).read_bytes())
    key = f"{bucket.url}/keys/my.age"
    for option, name in (("--identity", "my.identity"), ("--passphrase-file", "my.identity")):
        code, _, error = run("verify", "--key", key, option, f"{bucket.url}/keys/{name}", "suspect")
        assert (code, "stay on this machine" in one_line(error)) == (2, True)
    code, _, error = run("verify", "--key", key, "suspect")  # not by what lies beside it either
    assert (code, "nothing at hand opens it" in one_line(error)) == (2, True)
    made = ["keygen", "--image", "8x8x1", "--classes", "10", "--triggers", "20", "--out", f"{bucket.url}/new"]
    code, _, error = run(*made)
    assert (code, "stays here" in one_line(error)) == (2, True)
    assert not any(name.startswith("new") for name in bucket.names())
    recipient = new_identity()[1]
    code, _, error = run(*made, "--recipient", recipient, "--signer", home / "my.signer.pem")
    assert (code, error) == (0, "")
    assert {"new.age", "new.commitment.json"} <= set(bucket.names())


def test_a_run_goes_to_a_bucket_and_on_from_it(bucket: Bucket, run: Run) -> None:
    told = ["embed", "--data", "digits", "--model", "cnn", "--out", f"{bucket.url}/run", "--batch", "256", "--json"]
    code, _, error = run(*told, "--epochs", "1")
    assert (code, error) == (0, "")
    assert "run/run.json" in bucket.names()
    bucket.put("run/step-99999999/state/_METADATA", b"{}")  # what a kill left of a checkpoint that was being put
    with forgotten():
        code, _, error = run(*told, "--epochs", "1")
    assert (code, "is not empty: use --resume" in one_line(error)) == (2, True)
    with forgotten():
        with held(stores.place(f"{bucket.url}/run")):
            code, _, error = run(*told, "--epochs", "1", "--resume")
        assert (code, f"{bucket.url}/run is being written by another process" in one_line(error)) == (2, True)
        code, out, error = run(*told, "--epochs", "1", "--resume")
    assert (code, error) == (0, "")
    assert json.loads(out)["out"] == f"{bucket.url}/run"
    assert not [name for name in bucket.names() if "step-99999999" in name]


@pytest.mark.parametrize("name", ["", "/nothing", "-not-there/zoo"])
def test_what_is_not_there(home: Path, bucket: Bucket, run: Run, name: str) -> None:
    keys = ["--keys", home / "keys", "--identity", home / "my.identity", "--out", "out"]
    code, _, error = run("audit", f"{bucket.url}{name}", *keys)
    if name:
        assert code == 5
        assert f"{bucket.url}{name}" in one_line(error)
    else:
        assert code == 3  # an empty bucket has no model to ask
    code, _, error = run("verify", "--key", f"{bucket.url}{name}/my.age", "--identity", home / "my.identity", "x")
    assert (code, bucket.url in one_line(error)) == (5, True)


def test_a_run_begins_and_a_list_is_read_where_they_are(home: Path, bucket: Bucket) -> None:
    bucket.put_folder(home / "zoo" / "bare safetensors", "zoo")
    bucket.put("zoo/suspects.toml", b'[[suspect]]\nname = "theirs"\npath = "model.safetensors"\nmodel = "cnn"\n')
    result = wmjax.audit(f"{bucket.url}/zoo", _key(home))
    assert [finding.model for finding in result] == ["suspects.toml:theirs"]
    wanted = Wanted(("cnn",), (marked.IMAGE,))
    assert wmjax.from_checkpoint(f"{bucket.url}/zoo/model.safetensors", wanted).classes == 10
