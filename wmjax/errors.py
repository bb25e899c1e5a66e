"""What can go wrong, as one line each; the command line turns a class into its exit code."""


class WmjaxError(Exception):
    """Base of every error that wmjax raises on purpose; its text is one line that says what to do."""

    exit_code = 2


class UsageError(WmjaxError):
    """An argument, option or combination of them is wrong."""


class InvalidFile(WmjaxError):
    """A key, commitment, checkpoint or answer is corrupt, forged, or not what it says."""

    exit_code = 4


class AccessError(WmjaxError):
    """Reading, writing or the network failed."""

    exit_code = 5


class AnswerError(AccessError):
    """A suspect's answer has not the form of a label or of scores.

    Attributes:
      came: what came in its place: type, shape and the beginning of it, at most 200 characters that can be printed.
    """

    def __init__(self, message: str, came: str):
        super().__init__(message)
        self.came = came
