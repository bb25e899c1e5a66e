"""One door: whatever format a model lies in, every verb takes it, and all give the verdict that `verify` gives."""

import dataclasses
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from marked import CONFIG, FORMATS, IMAGE, by_name, make_key, marked
from PIL import Image
from refusals import messages

from wmjax import checkpoint
from wmjax.checkpoint import Metadata
from wmjax.digest import digest
from wmjax.errors import UsageError
from wmjax.grounds import Ground
from wmjax.keys import Key, write_key
from wmjax.models import Config, Variables, init, predict
from wmjax.suspects import Suspect, from_callable, from_checkpoint, open_suspect
from wmjax.suspects.contract import Wanted
from wmjax.suspects.stored import load_variables
from wmjax.suspects.wording import WORDS
from wmjax.verification import verify

NONCE = "ab" * 16
UNLOCK = ["--key", "my.age", "--identity", "my.identity"]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def key() -> Key:
    return make_key()


@pytest.fixture(scope="module")
def network(key: Key) -> Variables:
    return marked(key)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, key: Key, network: Variables) -> Path:
    """The marked network in every format, each in a folder of its own, and the key."""
    folder = tmp_path_factory.mktemp("formats")
    write_key(key, folder / "my", recipients=[], passphrase=None)
    for name, (write, _) in FORMATS.items():
        place = folder / name
        place.mkdir()
        (place / "typed").write_text(write(place / "model", network))
    return folder


@pytest.fixture
def work(home: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line in a folder with a fresh copy of the key."""
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")  # JAX has begun already
    for file in home.glob("my.*"):
        shutil.copy(file, tmp_path)
    return run


def typed(home: Path, name: str) -> tuple[str, list[str]]:
    return (home / name / "typed").read_text(), FORMATS[name][1]


def wanted(options: list[str]) -> Wanted:
    """What the command line makes of options."""
    said = dict(zip(options[::2], options[1::2], strict=True))
    return Wanted((said["--model"],) if "--model" in said else (), (IMAGE,), pixels=said.get("--pixels", ""))


@pytest.fixture(scope="module")
def expected(key: Key, network: Variables) -> Any:
    """The verdict on the network itself."""
    verdict = verify(Suspect("it", lambda images: predict(CONFIG, network, images), IMAGE, 10), key)
    assert verdict.verdict == "match"
    return verdict


@pytest.mark.parametrize("name", FORMATS)
def test_verify_and_audit_give_the_same_verdict_on_every_format(home, work, expected, name):
    path, options = typed(home, name)
    code, out, err = work("verify", *UNLOCK, path, *options, "--json")
    verdict = json.loads(out)
    assert (code, err, verdict["verdict"], verdict["queries"]) == (0, "", "match", expected.queries)
    assert verdict["evidence_bits"] == pytest.approx(expected.evidence_bits, abs=0.01)
    zoo = path.partition(":")[0]
    (Path("keys")).mkdir()
    for file in home.glob("my.*"):
        shutil.copy(file, "keys")
    code, out, err = work("audit", zoo, "--keys", "keys", *options, "--json")
    (match,) = json.loads(out)["matches"]
    assert (code, err, match["queries"]) == (0, "", expected.queries)
    assert match["evidence_bits"] == pytest.approx(expected.evidence_bits, abs=0.01)


@pytest.mark.parametrize("name", FORMATS)
def test_claims_are_made_and_judged_on_every_format(home, work, name):
    path, options = typed(home, name)
    code, out, _ = work(
        "claim", *UNLOCK, path, *options, "--nonce-from", NONCE, "--reveal", "--out", "c.json", "--json"
    )
    stated = json.loads(out)
    assert (code, stated["verdict"], stated["matches"]) == (0, "match", stated["queries"])
    code, out, err = work("judge", "c.json", "--nonce-from", NONCE, "--suspect", path, *options, "--json")
    (judgement,) = json.loads(out)["judgements"]
    assert (code, err, judgement["verdict"], judgement["missing"]) == (0, "", "match", [])
    assert judgement["evidence_bits"] == pytest.approx(stated["evidence_bits"], abs=0.01)
    codes = {ground["code"] for ground in judgement["grounds"]}
    assert ("read-as" in codes) == (name == "ONNX")  # its first operators say it


def test_digests_of_weights_are_the_same_in_every_format_of_ours(home, network):
    weights = digest(by_name(network))
    for name in FORMATS:
        path, options = typed(home, name)
        model = open_suspect(path, wanted(options)).describe()
        assert (model.tensors == weights) == (name != "ONNX")  # whose tensors have names of their own
        assert len(model.files) == 64
        assert model.name in {"model", "step-00000002", "model.safetensors", "model.onnx"} or ":model" in model.name


def test_the_digest_of_a_file_is_what_sha256sum_says(home):
    path, _ = typed(home, "safetensors")
    told = subprocess.run(["sha256sum", "model.safetensors"], cwd=Path(path).parent, capture_output=True, check=True)
    assert open_suspect(path).describe().files == hashlib.sha256(told.stdout).hexdigest()


def test_a_release_may_lie_in_any_format(home, work):
    path, _ = typed(home, "safetensors")
    code, out, _ = work(
        "commit", "my.commitment.json", "--release", path, "--signer", "my.signer.pem", "--out", "r.json"
    )
    assert (code, "r.json" in out) == (0, True)
    assert "model.safetensors" in Path("r.json").read_text() or Path("r.json").stat().st_size > 500


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "ONNX"])
def test_what_trains_takes_every_format_of_its_own_networks(home, network, name):
    path, options = typed(home, name)
    config, variables = load_variables(path, wanted(options))
    assert config == CONFIG
    assert by_name(variables).keys() == by_name(network).keys()
    assert all(np.array_equal(leaf, by_name(network)[name]) for name, leaf in by_name(variables).items())


def test_export_publishes_every_format_as_a_checkpoint_without_a_key(home, work, network):
    path, options = typed(home, "bare safetensors")
    code, _, err = work("export", path, "public", *options, "--image", "8x8x1")
    assert (code, err) == (0, "")
    assert checkpoint.read_metadata(Path("public")) == Metadata(CONFIG)
    assert open_suspect("public").describe().tensors == digest(by_name(network))
    path, _ = typed(home, "ONNX")
    code, _, err = work("export", path, "other")
    assert (code, "of wmjax can be trained" in err, Path("other").exists()) == (2, True, False)


def test_embed_begins_with_a_file_and_its_run_resumes(home, work):
    """A teacher in one format and first weights in another; `--model` is the network that is trained."""
    first, taught = typed(home, "bare safetensors")[0], typed(home, "foreign Orbax")[0]
    train = ["embed", "--data", "digits", "--epochs", "1", "--batch", "256", "--learning-rate", "1e-6"]
    train += ["--from", first, "--teacher", taught]
    code, _, err = work(*train, "--out", "r")
    assert code == 0, err
    settings = json.loads(Path("r/run.json").read_text())
    assert (settings["from"], settings["teacher"]) == (first, taught)
    assert work(*train, "--out", "r", "--resume")[0] == 0


def test_what_trains_refuses_others_in_one_line(home, work):
    path, _ = typed(home, "ONNX")
    for arguments in (
        ["attack", path, *UNLOCK, "--out", "out"],
        ["embed", "--data", "digits", "--from", path, "--out", "out"],
        ["embed", "--data", "digits", "--teacher", path, "--out", "out"],
    ):
        code, _, err = work(*arguments)
        assert (code, messages(err)) == (2, 1)
        assert "of wmjax can be trained" in err


def test_a_pack_of_several_is_asked_for_a_name(home):
    path, _ = typed(home, "pack")
    pack, _, _ = path.partition(":")
    for name, words in {
        pack: "holds 2 models: name one",
        f"{pack}:nobody": "holds no model 'nobody': name one",
    }.items():
        with pytest.raises(UsageError, match=words) as caught:
            open_suspect(name)
        assert f"{Path(pack).name}:innocent" in str(caught.value)
    with pytest.raises(UsageError, match="holds one model, without a name"):
        open_suspect(f"{typed(home, 'safetensors')[0]}:model")


def test_a_packed_model_that_was_altered_is_refused(home, work):
    path, _ = typed(home, "pack")
    pack, _, member = path.partition(":")
    raw = bytearray(Path(pack).read_bytes())
    raw[-4:] = b"\x00\x00\x80\x3f"
    Path("altered.safetensors").write_bytes(raw)
    code, _, err = work("verify", *UNLOCK, f"altered.safetensors:{member}")
    code_of_other = work("verify", *UNLOCK, "altered.safetensors:innocent")[0]
    assert sorted([code, code_of_other])[-1] == 4  # one of the two holds the file's last number
    assert code == 0 or "digests differ" in err


def test_bare_weights_are_asked_what_they_are(home, work):
    path, _ = typed(home, "bare safetensors")
    for options, words in (
        ([], "name it with --model"),
        (["--model", "vgg"], "it is not vgg"),
        (["--model", "x"], "x:"),
    ):
        code, _, err = work("verify", *UNLOCK, path, *options)
        assert (code in (2, 4), messages(err), words in err) == (True, 1, True), err


# Images of another shape ---------------------------------------------------------------------------------------------


def larger(key: Key) -> np.ndarray:
    """The key's triggers as 16x16 colour pictures, made as the docstring of `adapt` says."""
    pictures = [Image.fromarray(image[..., 0]).convert("RGB").resize((16, 16), 2) for image in key.images]
    return np.stack([np.asarray(picture) for picture in pictures])


def test_triggers_are_adapted_to_a_suspect_and_the_verdict_says_so(key):
    known = {image.tobytes(): int(label) for image, label in zip(larger(key), key.labels, strict=True)}
    asked = from_callable(lambda images: np.array([known.get(image.tobytes(), -1) for image in images]))
    suspect = dataclasses.replace(asked, image=(16, 16, 3))
    verdict = verify(suspect, key, whole=True)
    assert (verdict.verdict, verdict.matches) == ("match", 60)
    (ground,) = suspect.grounds(IMAGE)
    assert ground.to_json() == {"code": "adapted", "from": "8x8x1", "to": "16x16x3"}
    assert ground in verdict.grounds
    assert ground.told(WORDS) in verdict.to_json()["assumptions"]
    assert suspect.grounds((16, 16, 3)) == ()


@pytest.mark.parametrize("shape", [(4, 4, 1), (16, 16, 1), (8, 8, 3)])
def test_altered_triggers_clear_nobody_and_without_that_rule_a_copy_would_be_cleared(shape, key, monkeypatch):
    """A copy whose labels the way to another size destroyed; grey in three channels loses nothing."""
    suspect = Suspect("copy", lambda images: images.sum((1, 2, 3), dtype=int) % 10, shape)
    cleared = verify(suspect, key).verdict
    assert cleared == ("no-match" if shape[2] == 3 else "inconclusive")
    monkeypatch.setattr("wmjax.verification.grounds.clears", lambda code: True)
    assert verify(suspect, key).verdict == "no-match"


def test_a_network_of_another_image_gives_in_verify_what_it_gives_in_an_audit(work, key, tmp_path, monkeypatch):
    config = Config("cnn", (12, 12, 3), 10, (4,), (8,))
    checkpoint.save(tmp_path / "other", init(config, 0)._asdict(), Metadata(config))
    (tmp_path / "keys").mkdir()
    for file in tmp_path.glob("my.*"):
        shutil.copy(file, "keys")
    verdict = json.loads(work("verify", *UNLOCK, "other", "--json")[1])
    assert any("asked as images of 12x12x3" in line for line in verdict["assumptions"])
    code, _, err = work("audit", "other", "--keys", "keys", "--out", "out", "--json")
    assert (code, err) == (3, "")
    from wmjax.zoo.audit import audit
    from wmjax.zoo.merge import merge

    (finding,) = merge("out", "keys")
    assert (finding.verdict, finding.queries) == (verdict["verdict"], verdict["queries"])
    assert finding.verdict == "inconclusive"  # altered triggers clear nobody
    assert finding.evidence_bits == pytest.approx(verdict["evidence_bits"], abs=0.01)
    monkeypatch.setattr("wmjax.zoo.scope.clears", lambda code: True)
    (finding,) = audit(tmp_path / "other", tmp_path / "keys")
    assert finding.verdict == "no-match"


def test_large_images_are_made_a_few_at_a_time(key, monkeypatch):
    from wmjax.suspects import query

    monkeypatch.setattr(query, "_LARGEST_IMAGE", 16 * 16 * 3 * 7)
    known = {image.tobytes(): int(label) for image, label in zip(larger(key), key.labels, strict=True)}
    sizes = []

    def ask(images: np.ndarray) -> np.ndarray:
        sizes.append(len(images))
        return np.array([known[image.tobytes()] for image in images])

    verdict = verify(Suspect("it", ask, image=(16, 16, 3), remembers=False), key, whole=True)
    assert (verdict.matches, max(sizes), sum(sizes)) == (60, 7, 60)
    with pytest.raises(UsageError, match="has images"):
        verify(Suspect("it", ask, image=(1 << 20, 1 << 20, 3)), key)


def test_other_classes_are_told_and_who_has_few_or_many_of_them_is_not_soon_cleared(tmp_path):
    key = make_key(90)
    for classes, cleared in ((7, True), (4, False), (11, True), (13, False)):
        config = Config("cnn", IMAGE, classes, (4,), (8,))
        checkpoint.save(tmp_path / f"{classes}", init(config, 0)._asdict(), Metadata(config))
        verdict = verify(from_checkpoint(tmp_path / f"{classes}"), key)
        code = "more-classes" if classes > 11 else "other-classes"
        assert Ground(code, {"theirs": classes, "ours": 10}) in verdict.grounds
        assert verdict.verdict == ("no-match" if cleared else "inconclusive")
