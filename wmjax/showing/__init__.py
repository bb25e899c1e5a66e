"""What a file is: any that wmjax writes, any that it reads, told without a secret.

Only forms and headers are read; nothing that a file holds or names is built, imported or run, and no JAX is needed.
Every sentence and name in a file is a stranger's: whoever shows it spells out what cannot be seen.
"""

from pathlib import Path

from wmjax.errors import AccessError, InvalidFile
from wmjax.showing import dispute, keys, models, work
from wmjax.showing.contract import DAMAGE, Glimpse, Kind, Shown, glimpse

KINDS: tuple[Kind, ...] = (*keys.KINDS, *dispute.KINDS, *work.KINDS, *models.KINDS)  # the first that fits is meant

__all__ = ["KINDS", "Glimpse", "Kind", "Shown", "show"]


def show(path: Path) -> Shown:
    """Says what lies at a path; checks of it what can be checked without a secret.

    >>> show(Path(__file__)).kind
    'other'

    Args:
      path: of a file or a folder.

    Raises:
      AccessError: it is not there, or cannot be read.
      InvalidFile: it is damaged or forged: it begins as such a file does, and is not one.
    """
    if not path.exists():
        raise AccessError(f"{path} does not exist")
    seen = glimpse(path)
    kind = next(kind for kind in KINDS if kind.fits(seen))
    try:
        return Shown(str(path), kind.name, kind.words, kind.facts(seen))
    except OSError as error:
        raise AccessError(f"{path}: cannot be read: {error.strerror or type(error).__name__}") from error
    except DAMAGE as error:
        raise InvalidFile(f"{path} is damaged: it begins as {kind.words} does, and cannot be read") from error
