"""The audit's page, as a file, without a script, and as Chromium draws it; the audit's table for the terminal."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import HOSTILE, Page
from PIL import Image

from wmjax.errors import AccessError
from wmjax.grounds import Ground
from wmjax.keys import Commitment, Input, Spec
from wmjax.keys.specify import default_rule
from wmjax.report.audit import audit_table, write_audit_report
from wmjax.zoo.grounds import Basis
from wmjax.zoo.records import Unreadable
from wmjax.zoo.result import AuditResult
from wmjax.zoo.scope import Asked

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


RESIZED = Ground("adapted", {"from": "1x1x1", "to": "8x8x1"})
WORDS = "weights with sha256 <b>key</b>"
GROUND = Ground("weights", {"sha256": "<b>key</b>"})


def asked(name: str, number: int = 0) -> Asked:
    """A key of that name."""
    spec = Spec("abstract", Input("image", (8, 8, 1)), 10, 100, "random")
    return Asked(name, Commitment(spec, default_rule(spec), f"{number:064x}", "2026-01-01T00:00:00+00:00"))


def audit(models: int, keys: int, /, **changes: Any) -> AuditResult:
    """An audit in which nothing was found; `changes` replace attributes of it."""
    values: dict[str, Any] = {
        "models": [f"zoo/model-{i}" for i in range(models)],
        "families": ["cnn 8x8x1" if i % 2 else "vgg 8x8x1" for i in range(models)],
        "keys": [asked(f"key-{k}.age", k) for k in range(keys)],
        "outcomes": np.ones((models, keys), np.int8),
        "bits": np.full((models, keys), -9.0),
        "queries": np.full((models, keys), 31, np.int32),
        "matches": np.full((models, keys), 3, np.int32),
        "curves": {},
        "grounds": {},
        "remarks": {},
        "unreadable": [],
        "others": {},
        "match_bits": 20.0,
        "alpha": 1e-6,
        "procedure": "e-bh",
        "basis": Basis.ASKED,
        "seconds": 2.0,
    }
    return AuditResult(**(values | changes))


def found(result: AuditResult, row: int, column: int, bits: float, outcome: int = 3) -> None:
    """Makes a pair a match (or another outcome) with a curve and a note."""
    result.outcomes[row, column], result.bits[row, column], result.matches[row, column] = outcome, bits, 30
    result.curves[row, column] = np.linspace(bits / 31, bits, 31).tolist()
    result.grounds[row, column] = (GROUND,)


def data(page: Page) -> dict[str, Any]:
    """What the script of an audit's page draws."""
    return json.loads(next(text for tag, text in page.texts if tag == "script" and text.startswith("{")))


def page(path: Path, result: AuditResult) -> Page:
    write_audit_report(path / "report.html", result)
    return Page((path / "report.html").read_text("utf-8"))


def array(packed: dict[str, str], shape: tuple[int, ...]) -> np.ndarray:
    """The script's `unpack`, by NumPy."""
    return np.frombuffer(base64.b64decode(packed["base64"]), np.dtype(packed["type"]).newbyteorder("<")).reshape(shape)


def test_pairs_come_strongest_first_and_ties_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """As sorted one by one, which took 8 s for 640,000 pairs."""
    rng, calls, convert = np.random.default_rng(0), [], np.nan_to_num
    bits = rng.choice([np.nan, -np.inf, np.inf, 0.0, *rng.normal(size=20)], (40, 9))
    result = audit(40, 9, bits=bits, outcomes=rng.integers(4, size=(40, 9)).astype(np.int8))
    monkeypatch.setattr(np, "nan_to_num", lambda *given, **more: calls.append(given) or convert(*given, **more))
    pairs = result.pairs("no-match")
    assert len(calls) == 1
    places = [(i, k) for i in range(40) for k in range(9) if result.outcomes[i, k] == 1]
    places.sort(key=lambda at: -convert(bits[at], nan=-np.inf))
    assert [(one["model"], one["key"]) for one in pairs] == [(result.models[i], result.keys[k].id) for i, k in places]


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    result = audit(6, 2, models=HOSTILE, families=HOSTILE[::-1], unreadable=[Unreadable(n, n) for n in HOSTILE])
    result.keys[0] = asked(HOSTILE[0])
    for row in range(6):
        found(result, row, 0, 40.0 + row)
        result.grounds[row, 0] = (Ground("weights", {"sha256": HOSTILE[row]}),)
    shown = page(tmp_path, result)
    names = [tag for tag, _ in shown.tags]
    assert names.count("script") == 2
    assert "img" not in names
    assert not [a for _, attributes in shown.tags for a in attributes if a.startswith("on") or a in ("src", "style")]
    text = (tmp_path / "report.html").read_text("utf-8")
    assert not [
        c for c in text if unicodedata.category(c) in ("Cf", "Cs") or (unicodedata.category(c) == "Cc" and c != "\n")
    ]
    cells = [cell for row in shown.rows for cell in row]
    assert HOSTILE[1] in cells  # the unreadable file's name, whole and as it is
    assert "safe\\u202egnp.exe" in cells
    assert data(shown)["models"][:2] == HOSTILE[:2]


def test_policy_allows_the_page_s_own_script_and_style_only(tmp_path: Path) -> None:
    shown = page(tmp_path, audit(3, 2))
    policy = next(a["content"] for _, a in shown.tags if a.get("http-equiv") == "Content-Security-Policy") or ""
    inline = {tag: text for tag, text in shown.texts if tag in ("script", "style") and text[0] not in "{\n"}
    for tag, text in inline.items():
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(
        r"""(href|src)=["'](?!#)|url\(|@import|https?://(?!www\.w3\.org/2000/svg)""", str(shown.texts + shown.tags)
    )


def test_data_are_the_result(tmp_path: Path) -> None:
    result = audit(5, 3)
    result.outcomes[0, 0], result.bits[0, 0], result.queries[4, 2] = 0, np.nan, 70_000
    found(result, 2, 1, 33.25)
    result.curves[2, 1][0] = float("-inf")
    drawn = data(page(tmp_path, result))
    for name in ("outcomes", "bits", "queries", "matches"):
        np.testing.assert_array_equal(array(drawn[name], (5, 3)), getattr(result, name))
    assert [drawn["families"][f] for f in array(drawn["family"], (5,))] == result.families
    assert drawn["curves"][0][:2] == [2, 1]
    assert drawn["curves"][0][2][0] is None
    assert drawn["notes"] == [[2, 1, [WORDS]]]


def test_tables_need_no_script(tmp_path: Path) -> None:
    result = audit(300, 1, unreadable=[Unreadable("zoo/bad.onnx", "zoo/bad.onnx is cut short")])
    for row in range(300):
        found(result, row, 0, row / 20, outcome=2)
    found(result, 7, 0, 44.0)
    found(result, 9, 0, 55.0)
    shown = page(tmp_path, result)
    assert sum(row[0] == "zoo/model-9note 1" for row in shown.rows if row) == 1
    assert sum(row[0] == "zoo/model-299notes 1, 2" for row in shown.rows if row) == 1  # why, and what it rests on
    assert [text for text in shown.by["notes"] if WORDS in text] != []
    models = [row[0].partition("note")[0] for row in shown.rows if len(row) == 6 and row[0].startswith("zoo")]
    assert models[:4] == ["zoo/model-9", "zoo/model-7", "zoo/model-299", "zoo/model-298"]
    assert len(models) == 2 + 200
    assert any("and 98 more" in text for _, text in shown.texts)
    assert ["zoo/bad.onnx", "zoo/bad.onnx is cut short"] in shown.rows
    assert ["cnn 8x8x1", "150", "2"] in shown.rows


@pytest.mark.parametrize(
    ("procedure", "words"),
    [
        ("e-bh", "share expected to be false is at most 1 in 1,000,000"),
        ("bonferroni", "even one false match is at most 1 in 1,000,000"),
    ],
)
def test_threshold_and_guarantee(tmp_path: Path, procedure: str, words: str) -> None:
    result = audit(5, 3, procedure=procedure, match_bits=23.5, remarks={"cnn 8x8x1": (("k", RESIZED),)})
    found(result, 3, 1, 50.0)
    shown = page(tmp_path, result)
    assert data(shown)["match_bits"] == 23.5
    assert any(words in text for _, text in shown.texts)
    assert any("k: triggers of 1x1x1 were asked as" in text for _, text in shown.texts)


@pytest.mark.parametrize(("models", "keys"), [(0, 0), (1, 0), (1, 1), (4, 2)])
def test_nothing_found_or_applicable(tmp_path: Path, models: int, keys: int) -> None:
    result = audit(models, keys, seconds=0.0)
    result.outcomes[:], result.bits[:] = 0, np.nan
    shown = page(tmp_path, result)
    assert any("no match" in text for _, text in shown.texts)
    assert audit_table(result)[0].startswith(f"{models} model{'s' * (models != 1)}, {keys} key{'s' * (keys != 1)}, ")


def test_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AccessError, match=r"cannot write .*report\.html"):
        write_audit_report(tmp_path / "file" / "report.html", audit(1, 1))


def test_table_for_the_terminal() -> None:
    result = audit(900, 1, unreadable=[Unreadable(HOSTILE[i % 6], "bad\nfile") for i in range(25)])
    for row in range(835):
        found(result, row, 0, row / 50, outcome=2)
    found(result, 5, 0, 41.26)
    found(result, 3, 0, 77.0)
    result.bits[3, 0] = np.nan  # fixed labels: a match without bits comes last
    lines = audit_table(result)
    assert "2 match, 833 inconclusive, 65 no-match, 0 not-applicable, 25 unreadable" in lines[0]
    at = [i for i, line in enumerate(lines) if line.startswith("match  ")]
    assert [lines[i].split() for i in at[1:]] == [
        ["match", "41.3", "31", "key-0.age,", "zoo/model-5"],
        ["match", "-", "31", "key-0.age,", "zoo/model-3"],
    ]
    assert "... and 813 more: see the report" in lines
    assert "[1] 833 pairs: 31 triggers were asked, all there are or may be" in "\n".join(lines)
    assert "... and 5 more: see the report" in lines
    assert all(line.isprintable() and len(line) < 300 for line in lines)


def test_why_pairs_are_inconclusive_is_said_once_for_all_of_them(tmp_path: Path) -> None:
    result = audit(100, 2, remarks={"cnn 8x8x1": (("key-0.age", RESIZED), ("", Ground("pixels-own")))})
    for row in range(100):
        found(result, row, 0, 4.0, outcome=2)  # half of them of the family whose triggers were resized
    found(result, 3, 1, 21.0, outcome=2)  # a match by its key alone, which takes 19.9 bits
    found(result, 6, 1, 2.0, outcome=2)
    result.grounds[6, 1] = (*result.grounds[6, 1], Ground("forgetful", FORGETS))
    reasons = result.reasons
    assert [[ground.code for ground in reasons[at]] for at in ((0, 0), (1, 0), (3, 1), (6, 1))] == [
        ["undecided"],
        ["adapted"],
        ["short"],
        ["forgetful"],
    ]
    lines = audit_table(result)
    assert [line.partition(":")[0] for line in lines if line.startswith("[")] == [
        "[1] 50 pairs",
        "[2] 50 pairs",
        "[3] 1 pair",
        "[4] 1 pair",
    ]
    assert next(line for line in lines if "zoo/model-3 " in line).endswith("key-1.age, zoo/model-3 [3]")
    assert next(pair for pair in result.pairs("inconclusive") if pair["queries"])["why"][0]["code"] == "short"
    assert not any("why" in pair for pair in result.pairs("match"))


FORGETS = {"fresh_matches": 9, "fresh": 10, "shown_matches": 1, "shown": 10, "p": 1e-3}


def draw(path: Path, address: str) -> tuple[Image.Image, str, str]:
    """Screenshot, document after the script ran, and console output."""
    options = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    options += "--disable-component-update --disable-sync --enable-logging=stderr --hide-scrollbars --dump-dom"
    done = subprocess.run(
        [
            str(CHROMIUM),
            *options.split(),
            f"--user-data-dir={path / 'profile'}",
            "--window-size=1200,1000",
            "--virtual-time-budget=2000",
            f"--screenshot={path / 'page.png'}",
            f"{(path / 'report.html').as_uri()}#{address}",
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    with Image.open(path / "page.png") as picture:
        return picture.convert("RGB"), done.stdout, done.stderr


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_heat_map_in_chromium(tmp_path: Path) -> None:
    result = audit(6, 3, models=["m10", "m9", *(f"z{i}" for i in range(4))])
    found(result, 4, 1, 60.0)
    found(result, 1, 1, 12.0, outcome=2)
    found(result, 0, 2, 90.0)
    write_audit_report(tmp_path / "report.html", result)
    orders = {"sort=model": [1, 0, 2, 3, 4, 5], "sort=key:1&show=all": [4, 1, 0, 2, 3, 5]}
    for address, order in orders.items():
        picture, document, console = draw(tmp_path, address)
        assert "CONSOLE" not in console
        labels = document[document.index('id="labels"') : document.index('id="cells"')]
        assert [int(row) for row in re.findall(r'data-model="(\d+)"', labels)] == order
        canvas = re.search(r'<canvas id="cells"[^>]*>', document)
        assert canvas
        at = {name: float(value) for name, value in re.findall(r'data-(\w+)="([\d.]+)"', canvas[0])}
        for place, row in enumerate(order):
            for column in range(3):
                x, y = at["left"] + column * at["cell"] + 5, at["top"] + (place + 0.5) * at["row"]
                red = picture.getpixel((int(x), int(y))) == (0xB3, 0x26, 0x1E)
                assert red == (result.outcomes[row, column] == 3), (address, row, column)
