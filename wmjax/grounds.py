"""What a verdict rests on, as codes with values: programs decide by them, `wording` modules say them to people."""

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Ground:
    """One thing that a verdict rests on, or lacks.

    >>> Ground("refused", {"refused": 2, "asked": 20}).to_json()
    {'code': 'refused', 'refused': 2, 'asked': 20}

    Attributes:
      code: stable name; documents and journals hold it, and programs may compare it.
      values: JSON values by name, none of them called `code`.
    """

    code: str
    values: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The ground as JSON values."""
        return {"code": str(self.code), **self.values}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Ground":
        """Reads `to_json` back."""
        return cls(values["code"], {name: value for name, value in values.items() if name != "code"})

    def told(self, words: Mapping[str, str]) -> str:
        """The ground in a wing's words: a template by code, in the form that `str.format` takes.

        >>> Ground("refused", {"refused": 2, "asked": 20}).told({"refused": "{refused} of {asked} were unusable"})
        '2 of 20 were unusable'
        """
        return words[self.code].format(**self.values)
