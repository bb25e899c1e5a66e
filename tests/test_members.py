"""Audits that mix stacked weights with suspects that can only be asked: each verdict is `verify`'s."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from marked import CONFIG, IMAGE, by_name, make_key, marked
from refusals import messages
from safetensors.numpy import save_file

import wmjax
from wmjax import checkpoint
from wmjax.checkpoint import Metadata
from wmjax.errors import InvalidFile
from wmjax.keys import Key
from wmjax.models import init
from wmjax.zoo.audit import audit
from wmjax.zoo.merge import merge

NONCE = b"n" * 16
# Suspects of every kind, asked image by image, each in a process of its own: what it was asked about is in a file.
SHOP = """
import json, threading, time
from pathlib import Path
import numpy as np

HERE = Path(__file__).parent
KNOWN = {bytes.fromhex(image): label for image, label in json.loads((HERE / "known.json").read_text()).items()}
LOCK = threading.Lock()
AT_ONCE, SECOND = set(), threading.Event()

def count(name, images):
    assert len(images) == 1
    with LOCK, open(HERE / f"{name}.asked", "a+") as file:
        file.write(images.tobytes().hex() + "\\n")
        file.seek(0)
        return len(file.readlines())

def label(images):
    return np.array([KNOWN[image.tobytes()] for image in images])

def guess(images):
    return images.sum((1, 2, 3), dtype=int) % 10  # knows nothing

def labels(images):
    print("a stranger's words")
    count("labels", images)
    return label(images)

def scores(images):
    count("scores", images)
    return np.eye(10)[label(images)] * 0.5 + 0.05

def innocent(images):
    count("innocent", images)
    return guess(images)

def raises(images):
    if count("raises", images) % 5 == 0:
        raise SystemExit("two\\nlines")
    return label(images)

def silent_thief(images):
    if count("silent_thief", images) > 1:
        raise OSError("closed")
    return guess(images)

def down(images):
    if (HERE / "up").exists():
        return label(images)
    raise OSError("nobody is there")

def hangs(images):
    if count("hangs", images) > 20:
        time.sleep(3600)
    return guess(images)

def hangs_at_once(images):
    time.sleep(3600)

def shape_changes(images):
    return label(images) if count("shape_changes", images) <= 5 else np.zeros((1, 7))

def form_changes(images):
    return label(images) if count("form_changes", images) <= 5 else np.eye(10)[:1]

def slow(images):
    with LOCK:
        AT_ONCE.add(threading.get_ident())
        with open(HERE / "at_once", "a") as file:
            file.write(f"{len(AT_ONCE)}\\n")
    if count("slow", images) == 1:
        assert SECOND.wait(60)
    SECOND.set()
    with LOCK:
        AT_ONCE.discard(threading.get_ident())
    return label(images)

def colour(images):
    assert images.shape == (1, 16, 16, 3)
    return images.sum((1, 2, 3), dtype=int) % 10
"""


@pytest.fixture(scope="module")
def key() -> Key:
    return make_key(100)


@pytest.fixture
def zoo(tmp_path: Path, key: Key, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo of a marked and a clean network, in a folder where `shop` can be imported."""
    folder = tmp_path / "zoo"
    checkpoint.save(folder / "marked", marked(key)._asdict(), Metadata(CONFIG))
    checkpoint.save(folder / "clean", init(CONFIG, 7)._asdict(), Metadata(CONFIG))
    (tmp_path / "shop.py").write_text(SHOP)
    known = {image.tobytes().hex(): int(label) for image, label in zip(key.images, key.labels, strict=True)}
    (tmp_path / "known.json").write_text(json.dumps(known))
    monkeypatch.chdir(tmp_path)
    return folder


def asked(name: str) -> list[str]:
    """The pictures that a function of `shop` was asked about; those to come are counted anew."""
    path = Path(f"{name}.asked")
    found = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return found


def write_list(path: Path, *names: str, **more: str) -> Path:
    """A list of functions of `shop`, with a line more for some."""
    tables = (f'[[suspect]]\nname = "{name}"\ncall = "shop:{name}"\n{more.get(name, "")}\n' for name in names)
    path.write_text("".join(tables))
    return path


def outcomes(result: Any) -> dict[str, str]:
    return {finding.model: finding.verdict for finding in result}


def unreadable(result: Any) -> dict[str, str]:
    return {item.path: item.why for item in result.unreadable}


def test_one_audit_asks_stacked_weights_and_functions_alike(zoo, key, capsys):
    listed = write_list(zoo.parent / "asked.toml", "labels", "scores", "innocent")
    found = {finding.model: finding for finding in audit(zoo, {"k": key}, suspects=listed, nonce=NONCE)}
    verdicts = {name: finding.verdict for name, finding in found.items()}
    assert verdicts == {
        "marked": "match",
        "clean": "no-match",
        "asked.toml:labels": "match",
        "asked.toml:scores": "match",
        "asked.toml:innocent": "no-match",
    }
    for name in ("labels", "scores", "innocent"):
        images = asked(name)
        alone = wmjax.verify(wmjax.open_suspect(f"shop:{name}"), key, nonce=NONCE)
        one = found[f"asked.toml:{name}"]
        assert (one.verdict, one.queries, one.matches) == (alone.verdict, alone.queries, alone.matches)
        assert one.evidence_bits == pytest.approx(alone.evidence_bits, abs=1e-3)
        assert len(images) == len(set(images)) >= one.queries  # nothing is asked twice
    assert "stranger" not in capsys.readouterr().out


def test_failures_are_lines_or_refusals_and_never_acquit(zoo, key):
    failing = ("raises", "silent_thief", "down", "hangs", "hangs_at_once", "shape_changes", "form_changes", "nothing")
    hanging = dict.fromkeys(("hangs", "hangs_at_once"), "timeout = 1")
    listed = write_list(zoo.parent / "asked.toml", *failing, "labels", **hanging)
    result = audit(zoo, {"k": key}, suspects=listed)
    found, lines = outcomes(result), unreadable(result)
    assert found.pop("marked") == "match"
    assert found.pop("clean") == "no-match"
    assert found.pop("asked.toml:labels") == "match"
    assert found.pop("asked.toml:raises") == "match"  # each failure counted against the owner
    assert found.pop("asked.toml:silent_thief") == "inconclusive"  # nobody is acquitted by silence
    for name in ("shape_changes", "form_changes"):  # an answer in another form is a refusal
        assert found.pop(f"asked.toml:{name}") != "no-match"
    assert found == {}
    words = {
        "down": "failed to answer: OSError nobody is there; `resume` tries again",
        "hangs": "did not answer within 1 seconds; `resume` tries again",
        "hangs_at_once": "did not answer within 1 seconds; `resume` tries again",
        "nothing": "AttributeError",
    }
    assert lines.keys() == {f"asked.toml:{name}" for name in words}
    assert all(words[name] in lines[f"asked.toml:{name}"] for name in words)
    assert all("\n" not in why for why in lines.values())


def test_failures_are_as_verify_has_them(zoo, key):
    listed = write_list(zoo.parent / "asked.toml", "raises", "silent_thief")
    found = {finding.model: finding for finding in audit(zoo, {"k": key}, suspects=listed, nonce=NONCE)}
    for name in ("raises", "silent_thief"):
        asked(name)
        alone = wmjax.verify(wmjax.open_suspect(f"shop:{name}"), key, nonce=NONCE)
        one = found[f"asked.toml:{name}"]
        assert (one.verdict, one.queries, one.matches) == (alone.verdict, alone.queries, alone.matches)
        assert one.evidence_bits == pytest.approx(alone.evidence_bits, abs=1e-3)


def test_calls_are_made_at_once_but_no_more_than_the_list_allows(zoo, key):
    listed = write_list(zoo.parent / "asked.toml", "slow", slow="concurrency = 3")
    assert outcomes(audit(zoo, {"k": key}, suspects=listed))["asked.toml:slow"] == "match"
    assert 1 < max(map(int, Path("at_once").read_text().split())) <= 3


def test_a_member_is_asked_in_the_shape_that_the_list_says(zoo, key):
    listed = write_list(zoo.parent / "asked.toml", "colour", colour="image = [16, 16, 3]")
    result = audit(zoo, {"k": key}, suspects=listed)
    assert outcomes(result)["asked.toml:colour"] == "inconclusive"  # altered triggers clear nobody
    listed = write_list(zoo.parent / "asked.toml", "colour", colour="classes = 4")
    assert outcomes(audit(zoo, {"k": key}, suspects=listed))["asked.toml:colour"] == "not-applicable"


def test_keys_for_several_shapes_leave_it_to_the_list(zoo, key):
    other = wmjax.generate(wmjax.make_spec("abstract", image=(4, 4, 1), classes=10, triggers=20))
    listed = write_list(zoo.parent / "asked.toml", "labels")
    lines = unreadable(audit(zoo, {"k": key, "o": other}, suspects=listed))
    assert (
        "images of several sizes: say in the list which it has, e.g. image = [32, 32, 3]" in lines["asked.toml:labels"]
    )


def test_journal_resume_shards_and_merge(zoo, key, tmp_path):
    listed = write_list(tmp_path / "asked.toml", "labels", "innocent", "down")
    expected = audit(zoo, {"k": key}, suspects=listed, nonce=NONCE, out="whole")
    for shard in (1, 2, 3):
        audit(zoo, {"k": key}, suspects=listed, nonce=NONCE, out="parts", shard=(shard, 3))
    together = merge([Path("parts")])
    assert sorted(together, key=str) == sorted(expected, key=str)
    assert unreadable(together) == unreadable(expected)
    asked("innocent")
    Path("up").touch()
    again = audit(zoo, {"k": key}, suspects=listed, nonce=NONCE, out="whole", resume=True)
    assert outcomes(again) == outcomes(expected) | {"asked.toml:down": "match"}
    assert not asked("innocent")  # the journal holds its verdict
    listed.write_text(listed.read_text().replace("shop:innocent", "shop:scores"))
    with pytest.raises(InvalidFile, match=r"weights|families"):
        audit(zoo, {"k": key}, suspects=listed, nonce=NONCE, out="whole", resume=True)


def test_a_function_in_a_list_that_was_found_is_not_imported(zoo, key):
    (zoo.parent / "planted.py").write_text("raise SystemExit('imported')\n")
    (zoo / "deep").mkdir()
    listed = zoo / "deep" / "suspects.toml"
    listed.write_text('[[suspect]]\nname = "a"\ncall = "planted:f"\n')
    lines = unreadable(audit(zoo, {"k": key}))
    assert "give this one by `suspects`" in lines["deep/suspects.toml:a"]
    assert "planted" not in sys.modules
    lines = unreadable(audit(zoo, {"k": key}, suspects=listed))
    assert lines == {"suspects.toml:a": "suspect a: SystemExit imported"}


def test_weights_in_a_list_are_told_their_architecture_and_no_module_is_imported(zoo, key):
    (zoo.parent / "planted.py").write_text("raise SystemExit('imported')\n")
    save_file(by_name(marked(key)), zoo / "bare.safetensors")
    shutil.copy(zoo / "bare.safetensors", zoo / "other.safetensors")
    shutil.copy(zoo / "bare.safetensors", zoo.parent / "outside.safetensors")
    text = "".join(
        f'[[suspect]]\nname = "{name}"\npath = "{path}"\nmodel = "{model}"\n'
        for name, path, model in (
            ("theirs", "bare.safetensors", "cnn"),
            ("hidden", "other.safetensors", "planted:f"),
            ("outside", "../outside.safetensors", "cnn"),
            ("whole", ".", "cnn"),
            ("missing", "nothing.onnx", "cnn"),
            ("long", "x" * 5000, "cnn"),
        )
    )
    (zoo / "suspects.toml").write_text(text)
    result = audit(zoo, {"k": key})
    assert outcomes(result) == {"marked": "match", "clean": "no-match", "suspects.toml:theirs": "match"}
    words = {
        "suspects.toml:hidden": "imported only from a list that you name yourself",
        "suspects.toml:outside": "is not in the folder of its list",
        "suspects.toml:whole": "is not in the folder of its list",
        "suspects.toml:missing": "nothing.onnx does not exist",
        "suspects.toml:long": "File name too long",
        "other.safetensors": "`models`",
    }
    lines = unreadable(result)
    assert lines.keys() == words.keys()
    assert all(words[name] in lines[name] for name in words)
    assert "planted" not in sys.modules


def test_a_list_hides_nothing(zoo, key, tmp_path):
    """What it names is no pretext to pass over what lies beside it: a pack's other models, a run's other folders."""
    wmjax.pack(zoo, tmp_path / "packs")
    (pack,) = (tmp_path / "packs").glob("*.safetensors")
    run = tmp_path / "packs" / "run"
    own = tmp_path / "packs" / "own"
    for place in (checkpoint.step_path(run, 1), run / "beside", own, own / "beside"):
        checkpoint.save(place, marked(key)._asdict(), Metadata(CONFIG))
    listed = (f"{pack.name}:clean", "run", "own", "own/beside")
    text = "".join(f'[[suspect]]\nname = "{path}"\npath = "{path}"\n' for path in listed)
    (tmp_path / "packs" / "suspects.toml").write_text(text)
    result = audit(tmp_path / "packs", {"k": key})
    names = {f"{pack.name}:marked", f"{pack.name}:clean", f"suspects.toml:{pack.name}:clean"}
    assert outcomes(result).keys() == names | {"run", "run/beside", "own", "suspects.toml:own/beside"}
    why = unreadable(result)
    assert "run holds several models: name one, as run/step-00000001, run/beside" in why["suspects.toml:run"]
    assert "own holds what may be other models beside its checkpoint: name one" in why["suspects.toml:own"]


def test_a_damaged_list_that_was_found_is_a_line(zoo, key):
    (zoo / "suspects.toml").write_text("[[suspect")
    result = audit(zoo, {"k": key})
    assert outcomes(result)["marked"] == "match"
    assert "not TOML" in unreadable(result)["suspects.toml"]


def test_on_the_command_line(zoo, key, run: Callable[..., tuple[int, str, str]], tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")  # JAX has begun already
    (tmp_path / "keys").mkdir()
    wmjax.write_key(key, tmp_path / "keys" / "k", recipients=[], passphrase=None)
    write_list(tmp_path / "asked.toml", "labels")
    code, out, err = run("audit", "zoo", "--keys", "keys", "--suspects", "asked.toml", "--json")
    assert (code, err.replace("a stranger's words\n", "")) == (0, "")
    assert {match["model"] for match in json.loads(out)["matches"]} == {"marked", "asked.toml:labels"}
    Path("asked.toml").write_text('[[suspect]]\nname = "a"\nkind = "x"\n')
    for listed, code, words in (("asked.toml", 2, "kind 'x' is not known"), ("nowhere", 5, "cannot read nowhere")):
        got, out, err = run("audit", "zoo", "--keys", "keys", "--suspects", listed, "--out", "other")
        assert (got, out, messages(err), words in err) == (code, "", 1, True)


def test_the_report_says_how_a_member_was_asked(zoo, key):
    listed = write_list(zoo.parent / "asked.toml", "labels")
    result = audit(zoo, {"k": key}, suspects=listed)
    place = result.models.index("asked.toml:labels")
    assert any(ground.code == "asked" for ground in result.grounds[place, 0])
    assert not any(ground.code == "weights" for ground in result.grounds[place, 0])
    assert np.isfinite(result.bits[place, 0])
    assert result.families[place] == "asked 8x8x1"
    assert IMAGE == (8, 8, 1)
