"""Files of `jax.export`: asked in a process of their own, in all readings; programs that do more are refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from marked import make_key

import wmjax
from wmjax.errors import InvalidFile, UsageError
from wmjax.suspects import outputs, stored
from wmjax.suspects.contract import Wanted
from wmjax.suspects.formats import export_child
from wmjax.suspects.recognise import recognise
from wmjax.zoo.audit import audit

KEY = make_key()
WANTED = Wanted.by([KEY.spec])


def write(path: Path, function: Callable[..., Any], shape: str, dtype: Any, **options: Any) -> Path:
    taken = jax.ShapeDtypeStruct(export.symbolic_shape(shape), dtype)
    path.write_bytes(export.export(jax.jit(function), **options)(taken).serialize())
    return path


def linear(shift: float = 0.0) -> Callable[[Any], Any]:
    """A map that answers the key's triggers with their labels, of pixels in 0..255 less a shift."""
    pixels = KEY.images.reshape(len(KEY.images), -1) / 255
    kernel, *_ = np.linalg.lstsq(pixels, 8 * np.eye(10)[KEY.labels], rcond=None)
    return lambda x: (x.astype(jnp.float32).reshape(x.shape[0], -1) + shift) @ (kernel.astype(np.float32) / 255)


def test_exported_programs_are_asked(tmp_path):
    """Uint8 with any number of images; and float32 with channels first, four at once, and features beside scores.

    Who takes four at once alone is not cleared: answers may follow from the other three.
    """
    whole, centred = linear(), linear(127.5)
    write(tmp_path / "any", whole, "n, 8, 8, 1", jnp.uint8)
    write(
        tmp_path / "four.jaxexport",
        lambda x: {"features": x.mean((1, 2)), "logits": centred(x * 127.5)[:, None, None], "aux": -whole(x)},
        "4, 1, 8, 8",
        jnp.float32,
    )
    result = audit(tmp_path, {"k": KEY})
    assert result.unreadable == []
    verdicts = {"any": "match", "four.jaxexport:10-classes": "match", "four.jaxexport:8-classes": "inconclusive"}
    assert {found.model: found.verdict for found in result} == verdicts
    with pytest.raises(UsageError, match=r"name one, as four\.jaxexport:10-classes"):
        wmjax.open_suspect(tmp_path / "four.jaxexport", WANTED)
    for name in ("any", "any:10-classes"):  # as an audit by keys of several classes would call it
        assert wmjax.open_suspect(tmp_path / name, WANTED).classes == 10
    with pytest.raises(UsageError, match="without a name: leave out '8-classes'"):
        wmjax.open_suspect(tmp_path / "any:8-classes", WANTED)
    (tmp_path / "any:10-classes").write_bytes((tmp_path / "four.jaxexport").read_bytes())  # to be asked in its place
    with pytest.raises(UsageError, match="a model in any is called so too"):
        wmjax.open_suspect(tmp_path / "any:10-classes", WANTED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored, "_called", lambda one: [one.name])
        with pytest.raises(UsageError, match="holds 2 models"):  # of the file, which would be asked
            wmjax.open_suspect(tmp_path / "any:10-classes", WANTED)
    suspect = wmjax.open_suspect(f"{tmp_path / 'four.jaxexport'}:10-classes", WANTED)
    assert len(suspect.readings) == 20
    verdict = wmjax.verify(suspect, KEY)
    assert verdict.verdict == "match"
    assert any(str(ground.values.get("reading")).endswith("output 3") for ground in verdict.grounds)


def test_classes_that_a_program_tells_beside_scores_of_a_decoy_are_asked_too(tmp_path):
    whole = linear()
    path = write(
        tmp_path / "both", lambda x: {"a": whole(x[:, ::-1]), "b": whole(x).argmax(-1)}, "n, 8, 8, 1", jnp.uint8
    )
    suspect = wmjax.open_suspect(path, WANTED)
    decoy = [wmjax.verify(suspect.read(f"{way}, output 1"), KEY).verdict for way in ("0..255", "inverted-0..255")]
    assert decoy == ["no-match", "no-match"]
    assert wmjax.verify(suspect, KEY).verdict == "match"


def test_the_best_classes_by_their_numbers_are_asked(tmp_path):
    """The five best with their scores, as services have them: what is largest among either tells no class."""
    scores = linear()
    path = write(tmp_path / "five", lambda x: jax.lax.top_k(scores(x), 5), "n, 8, 8, 1", jnp.uint8)
    verdicts = {found.model: found.verdict for found in audit(tmp_path, {"k": KEY})}
    assert verdicts["five:10-classes"] == "match"
    assert verdicts["five:5-classes"] != "match"  # all that was asked before
    assert export_child.program(str(path))(np.empty(0, np.uint8)).tolist()[6:] == [5, 5, 1]


def test_an_output_that_is_not_asked_clears_nobody(tmp_path, monkeypatch):
    """A copy's scores in two rows beside a decoy; and the rule taken out."""
    whole = linear()
    function = lambda x: {"a": whole(x[:, ::-1]), "b": whole(x).reshape(-1, 2, 5)}  # noqa: E731
    path = write(tmp_path / "both", function, "n, 8, 8, 1", jnp.uint8)
    assert wmjax.verify(wmjax.open_suspect(path, WANTED), KEY).verdict == "inconclusive"
    result = audit(tmp_path, {"k": KEY})
    assert [found.verdict for found in result] == ["inconclusive"]
    assert "run-in-part" in [ground.code for _, ground in next(iter(result.remarks.values()))]
    monkeypatch.setattr(outputs, "leaves_out", lambda *_: False)
    assert wmjax.verify(wmjax.open_suspect(path, WANTED), KEY).verdict == "no-match"


def test_programs_that_do_more_than_compute_are_refused(tmp_path, monkeypatch):
    def calls_out(x: Any) -> Any:
        return jax.ffi.ffi_call("whatever", jax.ShapeDtypeStruct((x.shape[0], 10), jnp.float32))(x)

    checks = [export.DisabledSafetyCheck.custom_call("whatever")]
    path = write(tmp_path / "evil", calls_out, "4, 8, 8, 1", jnp.uint8, disabled_checks=checks)
    with pytest.raises(InvalidFile, match="calls out of its program, by custom_call"):
        recognise(path, WANTED)
    monkeypatch.setattr(export_child, "check_within", lambda program: None)
    assert export_child.program(str(path))(np.empty(0, np.uint8)).tolist() == [1, 4, 1, 8, 8, 1, 10]


@pytest.mark.parametrize(
    ("shape", "dtype", "reason"),
    [
        ("4, 8, 8, 5", jnp.uint8, "neither 1 nor 3"),
        ("4, h, 8, 1", jnp.uint8, "of a size that is said"),
        ("4, 2, 4, 8, 1", jnp.uint8, "one batch of images"),
        ("4, 8, 8, 1", jnp.bfloat16, "images of bfloat16"),
        ("2, 8, 8, 1", jnp.float32, r"none of its outputs is \[n, classes\]"),
    ],
)
def test_programs_that_are_no_classifiers_of_images(shape, dtype, reason, tmp_path):
    function = (lambda x: x) if dtype == jnp.float32 else lambda x: x.reshape(x.shape[0], -1)[:, :2]
    path = write(tmp_path / "other", function, shape, dtype)
    with pytest.raises(ValueError, match=reason):
        export_child.program(str(path))


def test_damaged_files_are_one_line(tmp_path):
    path = write(tmp_path / "cut", linear(), "n, 8, 8, 1", jnp.uint8)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InvalidFile) as caught:
        recognise(path, WANTED)
    assert str(caught.value).isprintable()
