"""What can go wrong, as one line each; the command line turns a class into its exit code and its code."""

import copy
from typing import Self


class WmjaxError(Exception):
    """Base of every error that wmjax raises on purpose; its text is one line that says what to do.

    Attributes:
      exit_code: of a command that ends with it.
      code: what documents call it.
      hint: the next step, where whoever raised it knows one; the command line shows it in a line of its own.
    """

    exit_code = 2
    code = "usage"
    hint = ""

    def saying(self, text: str) -> Self:
        """This error with another text: its class, its hint and whatever else it knows stay.

        >>> AnswerError("no numbers", "a word").saying("model.onnx: no numbers").came
        'a word'
        """
        told = copy.copy(self)
        told.args = (text,)
        return told


class UsageError(WmjaxError):
    """An argument, option or combination of them is wrong."""


class MisfitError(UsageError):
    """A suspect takes other images than a key has."""

    code = "misfit"


class InvalidFile(WmjaxError):
    """A key, commitment, checkpoint, journal or answer is corrupt, forged, or not what it says."""

    exit_code = 4
    code = "invalid"


class AccessError(WmjaxError):
    """Reading, writing or the network failed."""

    exit_code = 5
    code = "access"


class NoAnswerError(AccessError):
    """A suspect failed to answer, or gave nothing that can be used."""

    code = "no-answer"


class GoneError(NoAnswerError):
    """A suspect is not there any more: its process ended, it took too long, or nobody takes its calls."""

    code = "gone"


class AnswerError(AccessError):
    """A suspect's answer has not the form of a label or of scores.

    Attributes:
      came: what came in its place: type, shape and the beginning of it, at most 200 characters that can be printed.
    """

    exit_code = 2
    code = "answer-form"

    def __init__(self, message: str, came: str = ""):
        super().__init__(message)
        self.came = came
