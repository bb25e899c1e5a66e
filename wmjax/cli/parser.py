"""How a command line is read: what is wrong with it is one line with a hint."""

import argparse
import difflib
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile
from typing import Any, NoReturn

import wmjax
from wmjax.cli.terminal import print_error
from wmjax.errors import UsageError

_Verbs = argparse._SubParsersAction


class Parser(argparse.ArgumentParser):
    """A parser, one of a verb too.

    Attributes:
      more: adds its options when the verb is met, where making them takes long imports.
    """

    more: Callable[[argparse.ArgumentParser], None] | None = None
    _words: Sequence[str] = ()

    def __init__(self, **given: Any):
        super().__init__(**given, allow_abbrev=False)  # a beginning may be another option's tomorrow

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self.more:
            more, self.more = self.more, None
            more(self)
        self._words = sys.argv[1:] if args is None else args
        self._check_names(self._words)
        return super().parse_known_args(args, namespace)

    def _check_names(self, words: Sequence[str]) -> None:
        """Tells a verb or an option that there is not before what is missing: it may be that one, misspelt."""
        verb = next((word for word in words if not word.startswith("-")), "")
        verbs = next((action.choices for action in self._actions if isinstance(action, _Verbs)), None)
        if verb and verbs and verb not in verbs:
            self.error(f"there is no verb {verb}" + _meant(verb, verbs))
        own = takewhile(lambda word: word != "--" and (self._is_verb or word.startswith("-")), words)
        for name in (word.partition("=")[0] for word in own if word.startswith("--")):
            if name not in self._option_string_actions:
                self.error(f"there is no option {name}" + _meant(name, self._option_string_actions))

    @property
    def _is_verb(self) -> bool:
        return " " in self.prog

    def error(self, message: str) -> NoReturn:
        next_step = f"`{self.prog} --help` {'shows examples' if self._is_verb else 'lists the verbs'}"
        if "--json" in self._words:
            print_error(UsageError.code, UsageError.exit_code, message, next_step)
        self.exit(UsageError.exit_code, f"{self.prog}: {message}\nhint: {next_step}\n")


def _meant(name: str, names: Iterable[str]) -> str:
    """The name that may be meant by one that there is not."""
    close = difflib.get_close_matches(name, names, 1)
    return f": do you mean {close[0]}?" if close else ""


class Version(argparse.Action):
    """Tells the version; it is read from the installation only when somebody asks."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        print(f"wmjax {wmjax.__version__}")
        parser.exit()
