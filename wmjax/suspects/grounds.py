"""What must be said of how a suspect was asked, as codes with values."""

from enum import StrEnum


class AskedGround(StrEnum):
    """How a suspect was asked, where not with the key's own triggers as wmjax's own networks are.

    ADAPTED (`from`, `to`: shapes of triggers and of what was asked); OTHER_CLASSES (`theirs`, `ours`: how many it tells
    apart, and the key); OTHER_NAMES (`names`: how many it used that are no class of the key's); ASKED: through a
    function, not its weights; of pixels PIXELS_UNIT: scaled to [0, 1], PIXELS_OWN: by the module's own function,
    PIXELS_STATED: as its files say, PIXELS_GUESSED.
    """

    ADAPTED = "adapted"
    OTHER_CLASSES = "other-classes"
    OTHER_NAMES = "other-names"
    ASKED = "asked"
    PIXELS_UNIT = "pixels-unit"
    PIXELS_OWN = "pixels-own"
    PIXELS_STATED = "pixels-stated"
    PIXELS_GUESSED = "pixels-guessed"
