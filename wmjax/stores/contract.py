"""What wmjax asks of an object store: a listing, ranges of one version of an object, and whole objects written."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Protocol

from wmjax.errors import AccessError

ATTEMPTS = 4  # of one request; a client's own default may go on for a quarter of an hour
CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
ALL_SECONDS = 30.0  # that attempts may be begun in
CONNECTIONS = 16  # that files are fetched by, and as many more for parts of large ones
MOST_CONNECTIONS = 64  # kept open, with those of threads that read for themselves: a client tells of each it drops


class Unreachable(AccessError):
    """A store cannot be reached, or does not accept the credentials: it would be the same for any other object."""


class Meanwhile(AccessError):
    """An object is not the version that it was to be, or already exists; perhaps by a write whose answer was lost."""


class Object(NamedTuple):
    """An object as a listing tells of it.

    Attributes:
      name: its whole name in the bucket.
      size: bytes.
      version: changes whenever its bytes do: S3's ETag, Google's generation, the Hub's digest.
    """

    name: str
    size: int
    version: str


class Store(Protocol):
    """A bucket. Threads may call it at once.

    What goes wrong is an `AccessError` whose text is a reason without the object's name, `Unreachable` where it says
    nothing about this object.
    """

    def list(self, before: str, *, deep: bool) -> Iterable[Object]:
        """The objects whose names begin with `before`; unless `deep`, those with no slash behind it."""

    def read(self, found: Object, begin: int, end: int) -> bytes:
        """Its bytes from `begin` to `end`, of the version that was found and no other."""

    def write(self, name: str, path: Path, over: str | None) -> Object:
        """Puts a file as a whole object, over this version; None: only where no object has the name.

        Clients ask again where an answer is lost, so `Meanwhile` may be about what they have written themselves.
        """

    def remove(self, name: str) -> None:
        """Removes an object."""


MISSING = "it is not there any more"
CHANGED = "it was changed meanwhile: start again"
EXISTS = "somebody else has just written it"
DENIED = "no permission"
ANONYMOUS = "no permission; no credentials were found, so it was asked for as by anybody"
LATE = "the clock of this machine is wrong"
