"""Keys and networks that an experiment keeps in a folder, so that a killed run goes on."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from wmjax import checkpoint
from wmjax.keys import Key, open_key, write_key
from wmjax.keys.files import read_identity
from wmjax.models import Config, Variables
from wmjax.suspects.stored import load_variables


@dataclasses.dataclass(frozen=True)
class Kept:
    """A folder of keys, NAME.age, and of networks, NAME."""

    folder: Path

    def network(self, name: str, config: Config, make: Callable[[], Variables]) -> Variables:
        """A network's NumPy arrays; made where it is not kept."""
        if not (self.folder / name).exists():
            checkpoint.save(self.folder / name, make()._asdict(), checkpoint.Metadata(config))
        return load_variables(str(self.folder / name))[1]

    def key(self, name: str, make: Callable[[], Key]) -> Key:
        """A key; made where it is not kept."""
        path = self.folder / f"{name}.age"
        if not path.exists():
            write_key(make(), path, recipients=[], passphrase=None)
        return open_key(path, read_identity(path.with_suffix(".identity")))
