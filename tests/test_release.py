"""A released folder with `model.sig`: others' tools verify it, the judge reads it, and no byte of it changes unseen."""

import base64
import datetime
import importlib.util
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from refusals import assert_refused, one_line
from test_claim_cli import claim, codes, home
from tsa import IN_2020, LocalTsa

from wmjax.errors import InvalidFile, UsageError
from wmjax.evidence import oms, release
from wmjax.evidence.authority import Authority
from wmjax.evidence.release import read_release, sign_release
from wmjax.keys import Model, Signer, generate, make_spec, new_signer, sign_commitment

__all__ = ["home"]
FILES = {"config.json": b"{}", "model.safetensors": b"weights", "sub/vocab.txt": b"words", ".gitattributes": b"*"}
MODEL = Model("release", "a" * 64, "b" * 64)
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

# What the standard's schemas demand of a bundle that a key signs (spec/v1.0.md, sections 4 to 6), in our words.
HEX, TEXT = {"type": "string", "pattern": "^[0-9a-f]{64}$"}, {"type": "string", "minLength": 1}


def exactly(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "required": [*fields], "properties": fields, "additionalProperties": False}


def a_list(of: Any, **limits: int) -> dict[str, Any]:
    return {"type": "array", "items": of, **limits}


STAMPS = exactly(rfc3161Timestamps=a_list(exactly(signedTimestamp=TEXT), minItems=1))
MATERIAL = exactly(publicKey=exactly(hint=HEX), tlogEntries=a_list(TEXT, maxItems=0), timestampVerificationData=STAMPS)
BUNDLE = exactly(
    mediaType={"const": "application/vnd.dev.sigstore.bundle.v0.3+json"},
    verificationMaterial=MATERIAL,
    dsseEnvelope=exactly(
        payload=TEXT,
        payloadType={"const": "application/vnd.in-toto+json"},
        signatures=a_list(exactly(sig=TEXT), minItems=1, maxItems=1),
    ),
)
STATEMENT = exactly(
    _type={"const": "https://in-toto.io/Statement/v1"},
    subject=a_list(exactly(name=TEXT, digest=exactly(sha256=HEX)), minItems=1, maxItems=1),
    predicateType={"const": "https://model_signing/signature/v1.0"},
    predicate=exactly(
        resources=a_list(exactly(name=TEXT, digest=HEX, algorithm={"const": "sha256"}), minItems=1),
        serialization=exactly(
            method={"const": "files"},
            hash_type={"const": "sha256"},
            allow_symlinks={"const": False},
            ignore_paths=a_list(TEXT),
        ),
    ),
)


@pytest.fixture(scope="module")
def owner() -> Signer:
    return new_signer()


@pytest.fixture(scope="module")
def statement(owner: Signer) -> bytes:
    key = generate(make_spec("abstract", image=(4, 4, 1), classes=4, triggers=30))
    return sign_commitment(key.commitment, owner, MODEL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model that is to be released."""
    for name, raw in FILES.items():
        path = tmp_path / "release" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
    return tmp_path / "release"


def bundle_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "model.sig").read_bytes())


def put(folder: Path, bundle: dict[str, Any]) -> None:
    (folder / "model.sig").write_text(json.dumps(bundle))


def restamped(folder: Path, *tokens: bytes) -> None:
    """Puts other time stamps into a bundle; anybody can, since they are not signed."""
    bundle = bundle_of(folder)
    told = [{"signedTimestamp": base64.b64encode(token).decode()} for token in tokens]
    bundle["verificationMaterial"]["timestampVerificationData"] = {"rfc3161Timestamps": told}
    put(folder, bundle)


def signature_of(folder: Path) -> bytes:
    return base64.b64decode(bundle_of(folder)["dsseEnvelope"]["signatures"][0]["sig"])


def payload_of(folder: Path) -> bytes:
    return base64.b64decode(bundle_of(folder)["dsseEnvelope"]["payload"])


def theirs(folder: Path) -> str:
    """What the reference implementation says of a folder: nothing where it is not installed."""
    if importlib.util.find_spec("model_signing") is None:
        return ""
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(folder), "--signature"]
    command += [str(folder / "model.sig"), "--public_key", str(folder / "watermark.pub.pem")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_what_is_written_is_what_the_standard_says(folder: Path, owner, statement, local: LocalTsa, trusted) -> None:
    written = sign_release(folder, statement, owner, [local.url, local.url], trusted)
    assert [path.name for path in written] == ["watermark.commitment.json", "watermark.pub.pem", "model.sig"]
    jsonschema.validate(bundle_of(folder), BUNDLE)
    told = json.loads(payload_of(folder))
    jsonschema.validate(told, STATEMENT)
    signed = {one["name"] for one in told["predicate"]["resources"]}
    assert signed == {*FILES, "watermark.commitment.json", "watermark.pub.pem"} - {".gitattributes"}
    found = read_release(folder, trusted)
    assert (found.model, found.public.raw, len(found.stamps)) == (MODEL, statement, 2)
    assert found.dated == min(stamp.time for stamp in found.stamps)
    assert (read_release(folder).dated, read_release(folder).key) == (None, found.key)  # nobody trusts its authority


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not here")
def test_openssl_verifies_signature_and_time_stamp(folder: Path, owner, statement, local: LocalTsa, tmp_path) -> None:
    sign_release(folder, statement, owner, [local.url])
    payload, files = payload_of(folder), {"sig": signature_of(folder)}
    files["pae"] = b"DSSEv1 28 application/vnd.in-toto+json %d " % len(payload) + payload
    stamps = bundle_of(folder)["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"]
    files["tsr"] = base64.b64decode(stamps[0]["signedTimestamp"])
    for name, raw in files.items():
        (tmp_path / name).write_bytes(raw)
    key = str(folder / "watermark.pub.pem")
    dgst = ["openssl", "dgst", "-sha256", "-verify", key, "-signature", "sig", "pae"]
    assert b"Verified OK" in subprocess.run(dgst, cwd=tmp_path, capture_output=True, check=True).stdout
    ts = ["openssl", "ts", "-verify", "-data", "sig", "-in", "tsr", "-CAfile", str(local.root_file)]
    assert b"OK" in subprocess.run(ts, cwd=tmp_path, capture_output=True, check=True).stdout


def test_the_packages_of_both_standards_read_it(folder: Path, owner, statement, local: LocalTsa) -> None:
    """Sigstore's bundle by its own model, and the statement by in-toto's protobuf; a field more is refused by both."""
    bundles = pytest.importorskip("sigstore_models.bundle.v1", reason="pip install sigstore-models")
    protobuf = pytest.importorskip("in_toto_attestation.v1.statement_pb2", reason="pip install in-toto-attestation")
    from google.protobuf import json_format

    sign_release(folder, statement, owner, [local.url])
    raw = (folder / "model.sig").read_bytes()
    bundle = bundles.Bundle.from_json(raw)
    assert bundle.dsse_envelope.payload_type == "application/vnd.in-toto+json"
    assert len(bundle.verification_material.timestamp_verification_data.rfc3161_timestamps) == 1
    told = json_format.Parse(payload_of(folder), protobuf.Statement())
    told_again = importlib.import_module("in_toto_attestation.v1.statement").Statement.copy_from_pb(told)
    told_again.validate()
    assert (told.predicate_type, len(told.subject)) == ("https://model_signing/signature/v1.0", 1)
    with pytest.raises(json_format.ParseError, match="more"):
        json_format.Parse(json.dumps(json.loads(payload_of(folder)) | {"more": 1}), protobuf.Statement())
    with pytest.raises(ValueError, match="more"):
        bundles.Bundle.from_json(json.dumps(json.loads(raw) | {"more": 1}))


NEEDS_THEIRS = pytest.mark.skipif(
    importlib.util.find_spec("model_signing") is None,
    reason="the reference implementation is not installed: pip install model-signing pyopenssl",
)


@NEEDS_THEIRS
def test_the_reference_implementation_verifies_it(folder: Path, owner, statement, local: LocalTsa) -> None:
    sign_release(folder, statement, owner, [local.url])
    assert "Verification succeeded" in theirs(folder)


@NEEDS_THEIRS
def test_a_bundle_by_the_reference_implementation_is_read(folder: Path, owner, statement, tmp_path) -> None:
    """Whoever has a P-256 key of their own signs the same folder with it."""
    sign_release(folder, statement, owner)
    subprocess.run(
        ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", tmp_path / "k"], check=True
    )
    subprocess.run(
        ["openssl", "pkey", "-in", tmp_path / "k", "-pubout", "-out", folder / "watermark.pub.pem"], check=True
    )
    command = [sys.executable, "-m", "model_signing", "sign", "key", str(folder), "--private_key", str(tmp_path / "k")]
    subprocess.run([*command, "--signature", str(folder / "model.sig")], check=True)
    assert read_release(folder).model == MODEL


def changed(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"Weights")


def added(folder: Path) -> None:
    (folder / "sub" / "more.py").write_bytes(b"")


def removed(folder: Path) -> None:
    (folder / "sub" / "vocab.txt").unlink()


def linked(folder: Path) -> None:
    (folder / "config.json").rename(folder.parent / "config.json")
    (folder / "config.json").symlink_to(folder.parent / "config.json")


def another_key(folder: Path) -> None:
    pem = release._pem(new_signer().p256.public_key())
    (folder / "watermark.pub.pem").write_bytes(pem)


def signed_anew(folder: Path) -> None:
    """By a thief, over the true files, under the owner's public key."""
    bundle, private = bundle_of(folder), new_signer().p256
    signature = private.sign(oms.encoded(payload_of(folder)), release.ECDSA(release.SHA256()))
    bundle["dsseEnvelope"]["signatures"] = [{"sig": base64.b64encode(signature).decode()}]
    put(folder, bundle)


def another_hint(folder: Path) -> None:
    bundle = bundle_of(folder)
    bundle["verificationMaterial"]["publicKey"]["hint"] = "0" * 64
    put(folder, bundle)


def another_bundle(folder: Path) -> None:
    """Of a release of the same owner."""
    other = folder.parent / "other"
    shutil.copytree(folder, other)
    (other / "model.sig").unlink()
    for name in ("watermark.commitment.json", "watermark.pub.pem"):
        (other / name).unlink()
    changed(other)
    sign_release(other, (folder / "watermark.commitment.json").read_bytes(), SIGNERS[0])
    shutil.copy(other / "model.sig", folder)


def edited(folder: Path) -> None:
    """The digest of a changed file is put into the statement."""
    changed(folder)
    bundle = bundle_of(folder)
    told = oms.statement("release", oms.digests(folder))
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(told).decode()
    put(folder, bundle)


SIGNERS: list[Signer] = []
TAMPERED: dict[str, tuple[Callable[[Path], None], str]] = {
    "a file changed": (changed, '"model.safetensors" is not as it was signed'),
    "a file added": (added, '"sub/more.py" was added'),
    "a file removed": (removed, '"sub/vocab.txt" was signed and is missing'),
    "a file is a link": (linked, '"config.json" is a link'),
    "another key in the folder": (another_key, '"watermark.pub.pem" is not as it was signed'),
    "another's signature": (signed_anew, "the signature is not that of watermark.pub.pem"),
    "another key's name": (another_hint, "names another key"),
    "the bundle of another release": (another_bundle, "is not as it was signed"),
    "a statement about what lies there": (edited, "the signature is not that of watermark.pub.pem"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_folder_that_was_tampered_with_is_refused(name: str, folder: Path, owner, statement) -> None:
    SIGNERS[:] = [owner]
    sign_release(folder, statement, owner)
    tamper, words = TAMPERED[name]
    tamper(folder)
    assert_refused(lambda: read_release(folder), words)
    assert "Verification succeeded" not in theirs(folder)


def test_a_time_stamp_of_something_else_is_refused(folder: Path, owner, statement, local: LocalTsa, trusted) -> None:
    sign_release(folder, statement, owner)
    token = local.stamp(signature_of(folder), IN_2020)
    restamped(folder, token)
    assert read_release(folder, trusted).dated == IN_2020
    for name in ("model.sig", "watermark.commitment.json", "watermark.pub.pem"):
        (folder / name).unlink()
    sign_release(folder, statement, owner)  # another signature of the same files
    restamped(folder, token)
    assert_refused(lambda: read_release(folder, trusted), "the time stamp is of other data")
    restamped(folder, local.stamp(signature_of(folder), datetime.datetime.now(datetime.UTC) + datetime.timedelta(9)))
    assert_refused(lambda: read_release(folder, trusted), "clock has not reached")


DAMAGED: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no bundle": lambda bundle: bundle.clear(),
    "another version": lambda bundle: bundle.update(mediaType="application/vnd.dev.sigstore.bundle.v9+json"),
    "two signatures": lambda bundle: bundle["dsseEnvelope"].update(signatures=[{"sig": "AA=="}] * 2),
    "no base64": lambda bundle: bundle["dsseEnvelope"].update(payload="?"),
    "no statement": lambda bundle: bundle["dsseEnvelope"].update(payload="e30="),
    "no JSON": lambda bundle: bundle["dsseEnvelope"].update(payload="AAAA"),
    "no stamps": lambda bundle: bundle["verificationMaterial"].update(timestampVerificationData=3),
    "too many": lambda b: b["verificationMaterial"].update(
        timestampVerificationData={"rfc3161Timestamps": [{"signedTimestamp": "AA=="}] * 33}
    ),
    "no list": lambda bundle: bundle["dsseEnvelope"].update(signatures={}),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_bundle_is_refused_in_one_line(name: str, folder: Path, owner, statement) -> None:
    sign_release(folder, statement, owner)
    bundle = bundle_of(folder)
    DAMAGED[name](bundle)
    put(folder, bundle)
    assert_refused(lambda: read_release(folder), "model.sig")


@pytest.mark.parametrize(
    ("name", "value"),
    [("method", "shards"), ("hash_type", "blake3"), ("allow_symlinks", True), ("ignore_paths", 7), ("shard_size", 1)],
)
def test_rules_that_this_program_does_not_follow_are_refused(name, value, folder: Path, owner, statement) -> None:
    sign_release(folder, statement, owner)
    told = json.loads(payload_of(folder))
    told["predicate"]["serialization"][name] = value
    _sign_whatever(folder, told, owner)
    assert_refused(lambda: read_release(folder), "model.sig")


def _sign_whatever(folder: Path, told: dict[str, Any], signer: Signer) -> None:
    payload = json.dumps(told).encode()
    signature = signer.p256.sign(oms.encoded(payload), release.ECDSA(release.SHA256()))
    hint = bundle_of(folder)["verificationMaterial"]["publicKey"]["hint"]
    (folder / "model.sig").write_bytes(oms.write_bundle(payload, signature, hint, ()))


def test_nothing_hides_in_what_a_bundle_leaves_out(folder: Path, owner, statement, monkeypatch) -> None:
    """The owner's own bundle may not call a folder of code ignored; with the rule out, that code is in the release."""
    sign_release(folder, statement, owner)
    added(folder)
    told = json.loads(payload_of(folder))
    resources = [one for one in told["predicate"]["resources"] if not one["name"].startswith("sub/")]
    told["predicate"]["resources"] = resources
    told["predicate"]["serialization"]["ignore_paths"].append("sub")
    told["subject"][0]["digest"]["sha256"] = oms._root(one["digest"] for one in resources)
    _sign_whatever(folder, told, owner)
    assert_refused(lambda: read_release(folder), 'leaves out "sub"')
    if theirs(folder):
        assert "Verification succeeded" in theirs(folder)
    monkeypatch.setattr(oms, "IGNORED", (*oms.IGNORED, "sub"))
    assert read_release(folder).model == MODEL


def test_a_signature_that_was_stamped_before_there_was_a_message_dates_nothing(
    folder: Path, owner, statement, local: LocalTsa, trusted: list[Authority], monkeypatch
) -> None:
    """A key can be computed under which any signature is one of any message, unless the message fixes the key."""
    drawn, s = (1 + secrets.randbelow(ORDER - 1) for _ in range(2))
    r = derive_private_key(drawn, SECP256R1()).public_key().public_numbers().x % ORDER
    signature = encode_dss_signature(r, s)
    token = local.stamp(signature, IN_2020)  # years go by; then the thief has a model to date

    def forge() -> None:
        """Makes the key, and puts it where a reader without the rule takes it from."""
        (folder / "watermark.commitment.json").write_bytes(statement)
        payload = oms.statement("release", oms.digests(folder))
        hashed = int.from_bytes(release.hashlib.sha256(oms.encoded(payload)).digest())
        private = derive_private_key((s * drawn - hashed) * pow(r, -1, ORDER) % ORDER, SECP256R1())
        pem = release._pem(private.public_key())
        (folder / "watermark.pub.pem").write_bytes(pem)
        bundle = oms.write_bundle(payload, signature, release._sha256(pem), [token])
        (folder / "model.sig").write_bytes(bundle)

    forge()
    assert_refused(lambda: read_release(folder, trusted), '"watermark.pub.pem" was added')
    with monkeypatch.context() as patch:
        patch.setattr(oms, "IGNORED", (*oms.IGNORED, "watermark.pub.pem"))
        forge()
        assert_refused(lambda: read_release(folder, trusted), "does not cover watermark.pub.pem")
        patch.setattr(release, "_pinned", lambda folder, name, signed, what: (folder / name).read_bytes())
        assert read_release(folder, trusted).dated == IN_2020
    assert_refused(lambda: read_release(folder, trusted), "leaves out")


def test_the_second_key_follows_from_the_first_as_it_is_written() -> None:
    """RFC 5869 by hand: one block of extract, two of expand."""
    import hmac

    seed = bytes(range(32))
    extracted = hmac.digest(bytes(32), seed, "sha256")
    first = hmac.digest(extracted, b"wmjax model.sig P-256\x01", "sha256")
    drawn = first + hmac.digest(extracted, first + b"wmjax model.sig P-256\x02", "sha256")
    number = 1 + int.from_bytes(drawn[:48]) % (ORDER - 1)
    assert Signer(Ed25519PrivateKey.from_private_bytes(seed)).p256.private_numbers().private_value == number


def test_what_cannot_be_signed_changes_nothing(folder: Path, owner, statement, local: LocalTsa) -> None:
    before = sorted(folder.rglob("*"))
    key = generate(make_spec("abstract", image=(4, 4, 1), classes=4, triggers=30))
    for raw in (sign_commitment(key.commitment, owner), sign_commitment(key.commitment, new_signer(), MODEL)):
        assert_refused(lambda raw=raw: sign_release(folder, raw, owner), "names no model, or is not", UsageError)
    local.respond = lambda query: (500, {}, b"")
    with pytest.raises(Exception, match="500"):
        sign_release(folder, statement, owner, [local.url])
    (folder / "to").symlink_to("nowhere")
    assert_refused(lambda: sign_release(folder, statement, owner), '"to" is a link', UsageError)
    (folder / "to").unlink()
    odd = os.fsencode(folder) + b"/\xff"
    os.mkdir(odd)
    assert_refused(lambda: sign_release(folder, statement, owner), "not a name in UTF-8", UsageError)
    os.rmdir(odd)
    assert sorted(folder.rglob("*")) == before
    sign_release(folder, statement, owner)
    assert_refused(lambda: sign_release(folder, statement, owner), "already exists", UsageError)
    (folder / "model.sig").write_bytes(b'{"a":1,"a":2}')
    assert_refused(lambda: read_release(folder), "is not JSON that this program reads", InvalidFile)


@pytest.fixture
def released(home, tmp_path: Path, local: LocalTsa) -> Callable[..., tuple[int, str, str]]:
    """`release`: an exported model, signed and stamped by the owner of `my`."""
    from wmjax import checkpoint
    from wmjax.models import Config, init

    config = Config("cnn", (4, 4, 1), 10, (2,), (2,))
    checkpoint.save(tmp_path / "run", init(config, 1)._asdict(), checkpoint.Metadata(config))
    assert home("export", "run", "release")[0] == 0
    sign = ["--signer", "my.signer.pem", "--timestamp", local.url, "--tsa", local.authority]
    code, out, _ = home("commit", "my.commitment.json", "--release", "release", *sign, "--json")
    assert (code, json.loads(out)["files"][-1]) == (0, "release/model.sig")
    return home


def test_a_judge_sees_that_a_copy_is_the_released_one(released, tmp_path: Path, local: LocalTsa) -> None:
    claim(released)
    shutil.copytree("release", "copy")
    shutil.copytree("release", "tuned")
    Path("tuned/extra.txt").write_text("hello")
    tsa = ["--tsa", local.authority]
    proven = codes(released("judge", "claim.json", "--suspect", "copy", *tsa, "--json")[1], "proofs")
    assert {"released-copy", "released-by"} <= {*proven}
    assert "released-by" not in codes(released("judge", "claim.json", "--suspect", "copy", "--json")[1], "proofs")
    _, out, _ = released("judge", "claim.json", "--suspect", "tuned", *tsa, "--json")
    assert not {"released-copy", "released-by"} & {*codes(out, "proofs")}
    assert "release-spoilt" in codes(out, "grounds")
    assert '"extra.txt" was added' in released("judge", "claim.json", "--suspect", "tuned")[1]
    for name in ("model.sig", "watermark.commitment.json", "watermark.pub.pem"):
        Path("tuned", name).unlink()
    sign = ["--release", "tuned", "--signer", "my.signer.pem"]
    assert released("commit", "my.commitment.json", *sign)[0] == 0
    assert "released-copy" in codes(released("judge", "claim.json", "--suspect", "tuned", "--json")[1], "proofs")


def test_another_owners_release_says_nothing(released) -> None:
    """A thief signs the folder again, as their own: a claim by the first owner is not helped by it."""
    claim(released)
    assert released("keygen", "--image", "4x4x1", "--classes", "10", "--out", "thief")[0] == 0
    for name in ("model.sig", "watermark.commitment.json", "watermark.pub.pem"):
        Path("release", name).unlink()
    sign = ["--release", "release", "--signer", "thief.signer.pem"]
    assert released("commit", "thief.commitment.json", *sign)[0] == 0
    proven = codes(released("judge", "claim.json", "--suspect", "release", "--json")[1], "proofs")
    assert not [code for code in proven if code.startswith("released")]


def test_a_release_is_still_a_model(released, tmp_path: Path) -> None:
    from wmjax.suspects import from_checkpoint
    from wmjax.suspects.contract import NOTHING
    from wmjax.zoo.discover import discover

    assert from_checkpoint("release").describe() == read_release("release").model
    found = discover(tmp_path / "release", NOTHING)
    assert (len(found.entries), found.unreadable) == (1, [])


def test_what_is_no_folder_of_one_model_is_not_signed(released, tmp_path: Path) -> None:
    """A run's folder has more in it than a model; a file has no folder of its own."""
    Path("training").mkdir()
    shutil.copytree("run", "training/step-00000007")
    sign = ["--signer", "my.signer.pem"]
    code, _, err = released("commit", "my.commitment.json", "--release", "training", *sign)
    assert (code, "wmjax export" in one_line(err)) == (2, True)
    assert not list(Path("training").rglob("model.sig"))
    code, _, err = released("commit", "my.commitment.json", "--release", "release", *sign)
    assert (code, "already exists" in one_line(err)) == (2, True)
    code, _, err = released("commit", "my.commitment.json", "--release", "run")
    assert (code, "needs --signer" in one_line(err)) == (2, True)
