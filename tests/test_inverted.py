"""Networks for black on white, where a key's pictures are white on black: they are asked so, and never cleared."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest
from graphs import build, write
from test_export import write as write_program
from waves import BODY, make_key, tensors

import wmjax
from wmjax.suspects import Wanted, open_suspect, pixels
from wmjax.suspects.formats import onnx as formats
from wmjax.suspects.formats import onnx_run
from wmjax.zoo.audit import audit

KEY = make_key()
WANTED = Wanted.by([KEY.spec])
BYTES = "c = Cast <to=1> (x) d = Sub(k, c)"
TURNED = {  # what each graph does first: it makes a key's pixels of what they are where they are prepared so
    "inverted": ("e = Mul(x, k) d = Sub(k, e)", {"k": np.float32(255)}),
    "inverted-0..255": ("d = Sub(k, x)", {"k": np.float32(255)}),
    "inverted-centred": ("e = Mul(x, k) d = Sub(k, e)", {"k": np.float32(127.5)}),
    "inverted-mean-std": (
        "e = Mul(x, k) d = Sub(m, e)",
        {"k": np.float32(255 * 0.3081), "m": np.float32(255 * (1 - 0.1307))},
    ),
}


def graph(path: Path, way: str) -> Path:
    before, numbers = TURNED[way]
    return write(path, build(f"{before} {BODY}", {**tensors(KEY), **numbers}, image="float[n,1,8,8] x"))


def of_bytes(path: Path) -> Path:
    numbers = {**tensors(KEY), "k": np.float32(255)}
    return write(path, build(f"{BYTES} {BODY}", numbers, image="uint8[n,1,8,8] x"))


def ort(path: Path) -> Path:
    """The same in ONNX Runtime's own format."""
    source, options = of_bytes(path.with_suffix(".onnx")), onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(source, options)
    source.unlink()
    return path


def program(path: Path) -> Path:
    """The same as a file of `jax.export`."""
    held = tensors(KEY)

    def scores(x: Any) -> Any:
        turned = 255 - x.astype(jnp.float32).reshape(x.shape[0], -1)
        return jnp.sin(turned @ held["v"]) @ held["w"]

    return write_program(path, scores, "n, 8, 8, 1", jnp.uint8)


def by_runtime(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, run by ONNX Runtime."""

    def refuse(*_: object) -> None:
        raise onnx_run.Unread("not read")

    monkeypatch.setattr(formats, "plan", refuse)
    return of_bytes(path)


def verdict(path: Path, wanted: Wanted = WANTED) -> wmjax.Verdict:
    return wmjax.verify(open_suspect(path, wanted), KEY)


def test_ways_turn_round_what_the_plain_ones_prepare() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 5, 6, 1), np.uint8)
    for channels in (1, 3):
        given = np.repeat(images, channels, axis=3)
        for way in TURNED:
            plain = way.removeprefix("inverted").removeprefix("-") or "0..1"
            expected = pixels.prepare(jnp.asarray(255 - given), (plain,))
            np.testing.assert_allclose(pixels.prepare(jnp.asarray(given), (way,)), expected, rtol=1e-5, atol=2e-4)


@pytest.mark.parametrize("way", TURNED)
def test_graphs_for_black_on_white_match(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However their pixels are prepared; and the rule taken out, by which intact copies are cleared."""
    path = graph(tmp_path / "m.onnx", way)
    found = verdict(path)
    (read,) = (ground for ground in found.grounds if ground.code == "readings")
    assert (found.verdict, read.values) == ("match", {"ways": 10, "reading": way})
    assert verdict(path, Wanted.by([KEY.spec], pixels=way)).verdict == "match"
    for name in TURNED:
        monkeypatch.delitem(pixels._PLAIN, name)
    assert verdict(path).verdict == "no-match"


@pytest.mark.parametrize("make", [of_bytes, by_runtime, ort, program], ids=["read", "run", "ort", "export"])
def test_bytes_may_be_black_on_white(
    make: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every form of a program, by `verify` and `audit`; and the rule taken out."""
    (tmp_path / "zoo").mkdir()
    path = tmp_path / "zoo/m.ort"
    path = make(path, monkeypatch) if make is by_runtime else make(path)
    found = verdict(path)
    (read,) = (ground for ground in found.grounds if ground.code == "readings")
    assert (found.verdict, read.values) == ("match", {"ways": 2, "reading": "inverted-0..255"})
    assert [str(pair.verdict) for pair in audit(tmp_path / "zoo", {"k": KEY})] == ["match"]
    monkeypatch.setattr(pixels, "AS_BYTES", ("0..255", "bgr-0..255"))
    assert verdict(path).verdict == "no-match"
    assert [str(pair.verdict) for pair in audit(tmp_path / "zoo", {"k": KEY})] == ["no-match"]


def test_what_one_says_of_bytes_is_one_way() -> None:
    """And each name says one; a colour that is first means nothing of grey."""
    for name in pixels.PIXELS:
        assert len(pixels.of_bytes(name, 1)) == len(pixels.of_bytes(name, 3)) == 1
        assert pixels.of_bytes(name, 1)[0].startswith("inverted") == name.startswith("inverted")
    assert (pixels.of_bytes("bgr-mean", 1), pixels.of_bytes("stated", 1)) == (
        ("0..255",),
        ("0..255", "inverted-0..255"),
    )


def test_strangers_pay_for_every_way(tmp_path: Path) -> None:
    """An intact copy's evidence is what one way shows less the logarithm of all: nobody is convicted by luck of ten."""
    path = graph(tmp_path / "m.onnx", "inverted-centred")
    alone, all_of_them = (
        wmjax.verify(open_suspect(path, Wanted.by([KEY.spec], pixels=said)), KEY, whole=True).evidence_bits or 0.0
        for said in ("inverted-centred", "")
    )
    assert alone - all_of_them == pytest.approx(np.log2(10), abs=2e-3)
