"""`wmjax audit` and `wmjax pack` as a user meets them: a zoo with one marked model, and all that can be wrong."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import journals
import numpy as np
import pytest
import safetensors.numpy
from refusals import one_line

import wmjax
from wmjax.errors import UsageError
from wmjax.keys import Key, derive_key, make_spec, write_key
from wmjax.keys.specify import default_rule
from wmjax.models import Config, Variables, init, predict
from wmjax.suspects import Suspect
from wmjax.suspects.contract import Weights
from wmjax.suspects.formats.safetensors import read_header
from wmjax.suspects.network import from_config
from wmjax.zoo.records import Unreadable
from wmjax.zoo.result import AuditResult

SMALL = Config("cnn", (8, 8, 1), 10, (4,), (64,))
MODELS = ("clean/a", "clean/b", "clean/c", "marked")
Run = Callable[..., tuple[int, str, str]]


def key(name: int, triggers: int) -> Key:
    spec = make_spec("abstract", image=(8, 8, 1), classes=10, triggers=triggers)
    return derive_key(bytes([name]) * 32, spec, default_rule(spec), created="2026-01-01T00:00:00+00:00")


KEYS = {"other": (1, 32), "own": (2, 40)}


def weights(config: Config, seed: int) -> Weights:
    leaves = jax.tree_util.tree_leaves_with_path(init(config, seed)._asdict())
    return {"/".join(str(part.key) for part in path): leaf for path, leaf in leaves}


def mark(model: Weights, own: Key) -> None:
    """Gives a model the head that answers a key's labels best, by least squares on what its last layer sees."""
    dense = model["params/head/kernel"].shape[0]
    seen = model | {
        "params/head/kernel": np.eye(dense, dtype=np.float32),
        "params/head/bias": np.zeros(dense, np.float32),
    }
    features = np.asarray(from_config(Config("cnn", SMALL.image, dense, (4,), (dense,))).logits(seen, own.images))
    head, *_ = np.linalg.lstsq(features.astype(np.float64), 8 * np.eye(10)[own.labels], rcond=None)
    model["params/head/kernel"] = head.astype(np.float32)


def write_model(path: Path, model: Weights, config: Config = SMALL) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors.numpy.save_file(model, path, {"config": json.dumps(config.to_json())})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zoo of four models, one of them marked, and two keys with their identities."""
    folder = tmp_path_factory.mktemp("home")
    for i, name in enumerate(MODELS):
        model = weights(SMALL, i)
        if name == "marked":
            mark(model, key(*KEYS["own"]))
        write_model(folder / "zoo" / f"{name}.safetensors", model)
    (folder / "keys").mkdir()
    for name, drawn in KEYS.items():
        write_key(key(*drawn), folder / "keys" / name, recipients=[], passphrase=None)
    return folder


@pytest.fixture
def audit(home: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`wmjax audit ZOO --keys KEYS ...` with the zoo and keys of `home` where no others are given."""
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")  # JAX has begun already

    def call(*options: object, zoo: Path | str = home / "zoo", keys: Path | str = home / "keys") -> Any:
        return run("audit", zoo, "--keys", keys, *options)

    return call


def test_the_document(home: Path, audit: Run) -> None:
    code, out, err = audit("--json", "--fwer", "0.001")
    document = json.loads(out)
    assert code == 0
    assert err == ""
    own = key(*KEYS["own"])
    with_zoo = Suspect(
        "marked", lambda images: predict(SMALL, Variables(*tree(home / "zoo" / "marked.safetensors")), images)
    )
    alone = wmjax.verify(with_zoo, own)
    seconds = document.pop("seconds")
    bits = document["matches"][0].pop("evidence_bits")
    grounds = document["matches"][0].pop("grounds")
    codes = ["self-derived", "committed", "not-searched", "exact-labels", "bonferroni", "weights"]
    assert [ground["code"] for ground in grounds] == codes
    assert grounds[-2] == {"code": "bonferroni", "level": 0.001, "tests": 8}
    assert 0 < seconds < 600
    assert bits == pytest.approx(alone.evidence_bits, abs=2e-3)
    match = {"model": "marked.safetensors", "key": own.commitment.id, "queries": alone.queries, "verdict": "match"}
    inconclusive = document.pop("inconclusive")
    assert document == {
        "version": 1,
        "models": 4,
        "keys": 2,
        "matches": [match],
        "not_applicable": [],
        "unreadable": [],
        "others": {},
        "alpha": 0.001,
        "procedure": "Bonferroni (family-wise error rate)",
        "procedure_code": "bonferroni",
        "basis": "asked-now",
    }
    for pair in inconclusive:
        assert (set(pair), pair["verdict"]) == ({"evidence_bits", "why", *match}, "inconclusive")
        assert pair["why"] == [{"code": "undecided", "asked": pair["queries"]}]
    assert inconclusive
    assert json.loads(Path("wmjax-audit/audit.json").read_text()) == json.loads(out)


def tree(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The nested variables of a file's model."""
    parts: dict[str, Any] = {"params": {}, "stats": {}}
    for name, leaf in safetensors.numpy.load_file(path).items():
        node, (*folders, last) = parts, name.split("/")
        for folder in folders:
            node = node.setdefault(int(folder) if folder.isdigit() else folder, {})
        node[last] = leaf
    return parts["params"], parts["stats"]


def test_no_secret_is_told(home: Path, audit: Run) -> None:
    told = "".join(out + err for _, out, err in (audit("--json"), audit("--resume"), audit()))
    told += "".join(path.read_text() for path in Path("wmjax-audit").iterdir())
    assert {path.name for path in Path("wmjax-audit").iterdir()} == {
        "report.html",
        "audit.json",
        "journal-1-of-1.jsonl",
    }
    for name, drawn in KEYS.items():
        identity = (home / "keys" / f"{name}.identity").read_text().splitlines()[-1]
        assert key(*drawn).commitment.id in told
        assert identity.startswith("AGE-SECRET-KEY-")
        for secret in (identity, "AGE-SECRET", key(*drawn).secret.hex(), repr(key(*drawn).secret)):
            assert secret not in told


def test_exit_codes(home: Path, audit: Run, tmp_path: Path) -> None:
    code, out, err = audit()
    assert (code, err) == (0, "")
    assert "marked.safetensors" in out
    assert "report: wmjax-audit/report.html" in out
    assert audit("--out", "1", zoo=home / "zoo" / "clean" / "b.safetensors")[0] == 1
    write_key(key(3, 7), tmp_path / "few" / "seven", recipients=[], passphrase=None)  # too few to decide anything
    assert audit("--out", "3", keys=tmp_path / "few")[0] == 3


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--fdr", "2"], 2, "--fdr 2.0: must be between 0 and 1"),
        (["--fwer", "nan"], 2, "--fwer nan: must be"),
        (["--fdr", "0.1", "--fwer", "0.1"], 2, "choose one bound"),
        (["--shard", "3/2"], 2, "--shard 3/2"),
        (["--shard", "x"], 2, "'x' is not I/N"),
        (["--parts", "7"], 2, "--parts goes with --ray"),
        (["--parts", "0"], 2, "--parts goes with --ray"),
        (["--each", "CPU=3"], 2, "--each goes with --ray"),
        (["--parts", "0", "--ray", "local"], 2, "--parts 0: must be at least 1"),
        (["--parts", "-1", "--ray", "local"], 2, "--parts -1: must be at least 1"),
        (["--memory", "4"], 2, "'4' is not a size"),
        (["--model", "nonsense"], 2, "--model nonsense"),
        (["--identity", "none"], 5, "cannot read none"),
        (["--null", "nowhere"], 5, "nowhere does not exist"),
        (["--out", "/dev/null/x"], 5, "cannot write /dev/null/x"),
    ],
)
def test_wrong_options(audit: Run, options: list[str], code: int, words: str) -> None:
    got, out, err = audit(*options)
    assert (got, out) == (code, "")
    assert words in err
    assert code == 2 or one_line(err)


def test_nothing_to_ask(home: Path, audit: Run, run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for zoo, keys, code, words in (
        (tmp_path / "none", home / "keys", 5, "none does not exist"),
        (home / "zoo", tmp_path / "none", 5, "cannot read"),
        (home / "zoo", tmp_path / "empty", 2, "no key can be opened"),
    ):
        got, out, err = audit(zoo=zoo, keys=keys)
        assert (got, out) == (code, "")
        assert words in one_line(err)
    for arguments in ([home / "zoo"], ["--keys", home / "keys"], []):
        got, _, err = run("audit", *arguments)
        assert got == 2
        assert one_line(err) == "wmjax: audit needs ZOO, a folder of models, and --keys, a folder of key files\n"


@pytest.mark.parametrize("how", [[], ["--json"], ["--out", "there"], ["--shard", "1/1", "--null", "nulls"]])
def test_a_zoo_in_which_nothing_can_be_asked(home: Path, audit: Run, run: Run, tmp_path: Path, how: list[str]) -> None:
    """All reasons, a report and a document; nothing was shown of anybody, so it is inconclusive."""
    zoo = tmp_path / "zoo"
    write_model(zoo / "large.safetensors", weights(SMALL, 0))
    (zoo / "a.onnx").write_bytes(b"\xff no graph")
    (zoo / "b.pt").write_bytes(b"\x80\x04")
    shutil.copytree(home / "zoo" / "clean", "nulls")
    code, out, err = audit(*how, "--memory", "0GB", zoo=zoo)
    folder = Path("there" if "--out" in how else "wmjax-audit")
    document = json.loads((folder / "audit.json").read_text())
    assert (code, err, document["models"], document["matches"]) == (3, "", 0, [])
    listed = {item["path"] for item in document["unreadable"]}
    assert {"a.onnx", "b.pt", "large.safetensors"} <= listed
    page = (folder / "report.html").read_text()
    assert all(name in page and name in out for name in listed)
    assert "No model could be asked" in page
    assert json.loads(out) == document if "--json" in how else "no model could be asked" in out
    code, out, _ = run("audit", "--merge", folder, "--json")
    assert (code, json.loads(out)["unreadable"]) == (3, document["unreadable"])
    (tmp_path / "empty").mkdir()
    assert audit("--out", "empty-audit", zoo=tmp_path / "empty")[0] == 3


def test_models_that_no_key_is_for_are_named_with_the_reason(home: Path, audit: Run, tmp_path: Path) -> None:
    zoo = tmp_path / "zoo"
    for name, config in {
        "many": Config("cnn", (8, 8, 1), 1001, (4,), (8,)),
        "wide": Config("cnn", (8, 8, 4), 10, (4,), (8,)),
    }.items():
        write_model(zoo / f"{name}.safetensors", weights(config, 0), config)
    code, out, _ = audit(zoo=zoo)
    assert code == 3
    asked = Config("cnn", (8, 8, 1), 10, (4,), (8,))
    write_model(tmp_path / "mixed" / "one.safetensors", weights(asked, 11), asked)
    assert audit("--out", "one", zoo=tmp_path / "mixed")[0] == 1
    shutil.copy(zoo / "many.safetensors", tmp_path / "mixed")  # nothing was asked of it: it is not cleared either
    assert audit("--out", "two", zoo=tmp_path / "mixed")[0] == 3
    ids = [key(*KEYS[name]).commitment.id for name in sorted(KEYS)]
    why = {
        "many": {"code": "other-task", "theirs": 1001, "ours": 10},
        "wide": {"code": "no-picture", "from": "8x8x1", "to": "8x8x4"},
    }
    document = json.loads(Path("wmjax-audit/audit.json").read_text())
    told = {item["models"][0]: item for item in document["not_applicable"]}
    assert told == {
        f"{name}.safetensors": {"models": [f"{name}.safetensors"], "keys": ids, "why": why[name]} for name in why
    }
    lines = (
        "many.safetensors: other, own: not asked: it tells 1001 classes apart, the key 10",
        "wide.safetensors: other, own: not asked: triggers of 8x8x1 cannot be made images of 8x8x4",
    )
    assert all(f"  {line}\n" in out for line in lines)
    page = Path("wmjax-audit/report.html").read_text()
    assert all(line.split(": ", 2)[2] in page for line in lines)


def test_what_is_no_model_is_counted_and_may_change_meanwhile(home: Path, audit: Run, run: Run, tmp_path: Path) -> None:
    zoo = Path(shutil.copytree(home / "zoo", tmp_path / "zoo"))
    (zoo / "README.md").write_text("# models")
    (zoo / "clean" / "a.json").write_text("{}")  # would describe the model beside it
    _, out, _ = audit(zoo=zoo)
    assert out.splitlines()[-2] == "passed over: 1 .md"
    (zoo / "notes.txt").write_text("meanwhile")
    for again in (audit("--resume", "--json", zoo=zoo), run("audit", "--merge", "wmjax-audit", "--json")):
        assert (again[0], json.loads(again[1])["others"]) == (0, {".md": 1})
    assert "Passed over: 1 .md." in Path("wmjax-audit/report.html").read_text()


def test_sealed_keys(home: Path, audit: Run, tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    for name in KEYS:
        (folder / f"{name}.age").write_bytes((home / "keys" / f"{name}.age").read_bytes())
    got, _, err = audit(keys=folder)
    assert got == 2
    assert "no key can be opened" in one_line(err)
    (folder / "junk.age").write_bytes(b"no age file")
    got, out, err = audit("--json", "--identity", home / "keys" / "own.identity", keys=folder)
    document = json.loads(out)
    assert (got, err, document["keys"], len(document["matches"])) == (0, "", 1, 1)
    told = {item["path"]: item["why"] for item in document["unreadable"]}
    assert set(told) == {str(folder / "other.age"), str(folder / "junk.age")}
    assert "cannot open the key" in told[str(folder / "other.age")]
    assert "not a key file" in told[str(folder / "junk.age")]
    (folder / "own.identity").write_bytes((home / "keys" / "own.identity").read_bytes())
    _, out, _ = audit("--json", "--out", "beside", keys=folder)
    told = {item["path"]: item["why"] for item in json.loads(out)["unreadable"]}
    assert "nothing at hand opens it" in told[str(folder / "other.age")]
    result = wmjax.audit(home / "zoo", folder, closed=[Unreadable("lost.age", "on the other machine")])
    assert set(told) | {"lost.age"} == {each.path for each in result.unreadable}


def test_hostile_models_are_listed(home: Path, audit: Run, tmp_path: Path) -> None:
    zoo = tmp_path / "zoo"
    marked = safetensors.numpy.load_file(home / "zoo" / "marked.safetensors")
    write_model(zoo / "marked.safetensors", marked)
    write_model(zoo / "nan.safetensors", {name: leaf * np.float32(np.nan) for name, leaf in marked.items()})
    large = Config("cnn", (8, 8, 1), 10, (4,), (1024,))
    write_model(zoo / "large.safetensors", weights(large, 0), large)
    huge = Config("resnet18", (1 << 20, 1 << 20, 3), 10, (4, 4))
    write_model(zoo / "huge.safetensors", weights(huge, 0), huge)
    (zoo / "model.pt").write_bytes(b"\x80\x04")
    (zoo / "cut.safetensors").write_bytes((home / "zoo" / "marked.safetensors").read_bytes()[:-1])
    got, out, err = audit("--json", "--memory", "1MB", zoo=zoo)
    document = json.loads(out)
    assert (got, err) == (0, "")
    assert [match["model"] for match in document["matches"]] == ["marked.safetensors"]
    told = {item["path"]: item["why"] for item in document["unreadable"]}
    words = {
        "nan.safetensors": "its weights hold NaN",
        "large.safetensors": "`memory` allows 0",
        "huge.safetensors": "triggers as images of 1048576x1048576x3, and what is computed of them, need",
        "model.pt": "pickle",
        "cut.safetensors": "cut short",
    }
    assert told.keys() == words.keys()
    assert all(words[name] in told[name] for name in words)


def test_packs(home: Path, audit: Run, run: Run) -> None:
    """A packed zoo gives what the loose one gives; one that was altered afterwards is listed, not matched."""
    code, out, err = run("pack", home / "zoo", "packs", "--json")
    document = json.loads(out)
    assert (code, err, document["models"], document["skipped"]) == (0, "", 4, [])
    loose, packed = (
        json.loads(audit("--json", "--out", zoo.name, zoo=zoo)[1]) for zoo in (home / "zoo", Path("packs"))
    )
    pack = Path(document["files"][0])
    for name in ("matches", "inconclusive"):
        assert [{**pair, "model": f"{pack.name}:{pair['model']}"} for pair in loose[name]] == packed[name]
    header, stored = read_header(pack), safetensors.numpy.load_file(pack)
    stored["params/head/bias"][:, 0] += 1e-3
    safetensors.numpy.save_file(stored, pack, header.metadata)
    code, out, _ = audit("--json", "--out", "altered", zoo=Path("packs"))
    altered = json.loads(out)
    assert code != 0
    assert altered["matches"] == []
    assert altered["models"] == 3
    assert altered["unreadable"] == [
        {
            "path": f"{pack.name}:marked.safetensors",
            "why": "its weights are not those that were packed: their digests differ",
        }
    ]


def test_shards_by_command(home: Path, audit: Run, run: Run) -> None:
    names = ("matches", "inconclusive", "models", "unreadable")
    whole = json.loads(audit("--json")[1])
    for i in (1, 2):
        code, out, err = audit("--out", "parts", "--shard", f"{i}/2", "--memory", "500KB")
        assert (code, err) == (0, "")
        assert out.startswith(f"shard {i}/2 is done")
    assert not (home / "parts" / "report.html").exists()
    code, out, err = run("audit", "--merge", "parts", "--out", "together", "--json")
    assert (code, err) == (0, "")
    assert {name: json.loads(out)[name] for name in names} == {name: whole[name] for name in names}
    for arguments, words in (
        (["nowhere"], "nowhere holds no journal"),
        (["parts", "--null", home / "zoo"], "--merge goes without --null"),
        (["parts", "--shard", "1/2"], "--merge goes without --shard"),
        (["parts", "--resume"], "--merge goes without --resume: the journals say what was asked"),
        (["parts", "--keep-answers"], "--merge goes without --keep-answers"),
        (["parts", "--keys", home / "zoo"], "--keys: other, which the audit asked about, is not among them"),
    ):
        code, _, err = run("audit", "--merge", *arguments)
        assert code == 2
        assert words in one_line(err)


def test_edited_figures_by_command(home: Path, audit: Run, run: Run) -> None:
    """Where answers are kept, the keys tell; without them the document says that it took the journal's word."""
    whole = json.loads(audit("--json", "--keep-answers", "--out", "kept")[1])
    for arguments, basis in (([], "as-written"), (["--keys", home / "keys"], "replayed")):
        code, out, err = run("audit", "--merge", "kept", "--out", "merged", "--json", *arguments)
        assert (code, err) == (0, "")
        document = json.loads(out)
        assert document["basis"] == basis
        assert document["matches"] == whole["matches"]
    path = Path("kept/journal-1-of-1.jsonl")
    lines = journals.values_of(path)
    record = next(line for line in lines[1:] if 1 in line["outcomes"][0])
    record["matches"][0][record["outcomes"][0].index(1)] = 0
    journals.write_chained(path, lines)
    assert run("audit", "--merge", "kept", "--out", "merged")[0] == 0
    code, out, err = run("audit", "--merge", "kept", "--out", "merged", "--keys", home / "keys")
    assert (code, out) == (4, "")
    assert "was changed by somebody who did not hold the keys" in one_line(err)
    assert audit("--resume", "--keep-answers", "--out", "kept")[0] == 4
    path.write_bytes(path.read_bytes().replace(b'"matches"', b'"Matches"', 1))
    code, _, err = run("audit", "--merge", "kept", "--out", "merged")
    assert code == 4
    assert "journal-1-of-1.jsonl is damaged" in one_line(err)


def test_a_zoo_called_merge(home: Path, audit: Run) -> None:
    shutil.copytree(home / "zoo" / "clean", "merge")
    _, out, _ = audit("--json", zoo="merge")
    assert json.loads(out)["models"] == 3


def test_other_words_change_no_exit_code_and_no_document(home: Path, audit: Run, run: Run, nonsense: Any) -> None:
    """A resumption after a release that says everything otherwise; the journal is complete."""
    found = {}
    for out, zoo in (("match", home / "zoo"), ("none", home / "zoo" / "clean" / "b.safetensors")):
        code, text, _ = audit("--json", "--out", out, zoo=zoo)
        found[out] = code, json.loads(text)
    nonsense()
    for out, zoo in (("match", home / "zoo"), ("none", home / "zoo" / "clean" / "b.safetensors")):
        for arguments in (["--resume", "--json"], ["--resume"]):
            code, text, err = audit(*arguments, "--out", out, zoo=zoo)
            assert (code, err) == (found[out][0], "")
            if "--json" in arguments:
                document = json.loads(text)
                assert document.pop("procedure") != found[out][1].pop("procedure")
                assert (document.pop("basis"), found[out][1].pop("basis", "asked-now")) == ("with-keys", "asked-now")
                assert document == found[out][1]
    assert [code for code, _ in found.values()] == [0, 1]


def test_from_python(home: Path) -> None:
    zoo, keys = home / "zoo", home / "keys"
    verdicts = list(wmjax.audit(zoo, keys))
    assert [(v.model, v.key, v.verdict) for v in verdicts[:1]] == [("marked.safetensors", "own", "match")]
    assert len(verdicts) == 8
    opened, closed = wmjax.open_keys(keys)
    assert (list(opened), closed) == (["other", "own"], {})
    assert list(wmjax.audit(str(zoo), opened)) == verdicts
    assert isinstance(wmjax.audit(zoo, {"mine": opened["own"]}), AuditResult)
    with pytest.raises(UsageError, match="no key can be opened"):
        wmjax.audit(zoo, {})
    assert not os.path.lexists("wmjax-audit")
