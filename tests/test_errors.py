"""Errors with another text, and on their way from another process."""

import pickle
import re
from pathlib import Path

import pytest

import wmjax
from wmjax.errors import AnswerError, WmjaxError
from wmjax.stores.contract import Meanwhile, Unreachable
from wmjax.suspects.guarded import one_line
from wmjax.suspects.services.wire import Declined


def below(kind: type[WmjaxError]) -> set[type[WmjaxError]]:
    return {kind}.union(*map(below, kind.__subclasses__()))


KINDS = sorted(below(WmjaxError), key=lambda kind: kind.__name__)
assert {AnswerError, Declined, Meanwhile, Unreachable} < set(KINDS)


def knowing(kind: type[WmjaxError]) -> WmjaxError:
    """An error of this kind that knows more than its text."""
    error = kind("no numbers", "a word") if issubclass(kind, AnswerError) else kind("no numbers")
    error.hint = "ask again"
    return error


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_with_another_text_knows_what_it_knew(kind: type[WmjaxError]) -> None:
    error = knowing(kind)
    for other in (error.saying("model.onnx: no numbers"), pickle.loads(pickle.dumps(error))):
        assert type(other) is kind
        assert vars(other) == vars(error)
    assert str(error.saying("model.onnx: no numbers")) == "model.onnx: no numbers"
    assert (str(error), str(pickle.loads(pickle.dumps(error)))) == ("no numbers", "no numbers")


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_a_file_makes_its_reader_raise_names_it_and_is_of_its_kind(kind: type[WmjaxError]) -> None:
    with pytest.raises(kind, match=r"^a\.onnx: no numbers$") as caught, one_line(Path("a.onnx")):
        raise knowing(kind)
    assert (type(caught.value), caught.value.hint) == (kind, "ask again")


def test_no_error_is_made_anew_by_its_class() -> None:
    """One that takes more than a text could not be; hints would be lost."""
    for path in Path(wmjax.__file__).parent.rglob("*.py"):
        assert not re.search(r"raise type\(", path.read_text()), path
