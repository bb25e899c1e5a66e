"""What an audit's verdicts rest on besides the key itself, as codes with values."""

from enum import StrEnum


class Basis(StrEnum):
    """What an audit's figures rest on as a whole.

    ASKED: on asking alone. Some come from a journal: REPLAYED: that was written with the keys, and they follow from the
    answers that it keeps; WITH_KEYS: that was written with the keys; AS_WRITTEN: whoever wrote it, no keys were given.
    """

    ASKED = "asked-now"
    REPLAYED = "replayed"
    WITH_KEYS = "with-keys"
    AS_WRITTEN = "as-written"


class Unasked(StrEnum):
    """Why a family was not asked about a key.

    Of classes OTHER_TASK (`theirs`, `ours`); of images NO_PICTURE (`from`, `to`), or OTHER_SIZE (`from`, `to`): its
    weights are asked about that key at the key's own size.
    """

    OTHER_TASK = "other-task"
    NO_PICTURE = "no-picture"
    OTHER_SIZE = "other-size"


class AuditGround(StrEnum):
    """Codes of an audit's own; those of keys are `VerdictGround`, those of asking `AskedGround`.

    The procedure that keeps the bound: E_BH or BONFERRONI (`level`, `tests`). Of keys without exact evidence: RANKED
    (`matches`, `queries`, `p`, `nulls`, `alpha`, `needed`, `suffice`) or NO_NULLS. WEIGHTS (`sha256`): what was asked.
    Its file was run in place of a compiled program. RUNTIME: compiling was estimated to take longer; GIVEN_UP: it was
    tried and took too long.
    Why a pair is inconclusive that might have been either: UNDECIDED (`asked`), or SHORT (`own`: bits that its key
    takes by itself).
    """

    E_BH = "e-bh"
    BONFERRONI = "bonferroni"
    RANKED = "ranked"
    NO_NULLS = "no-nulls"
    WEIGHTS = "weights"
    RUNTIME = "runtime"
    GIVEN_UP = "given-up"
    UNDECIDED = "undecided"
    SHORT = "short"
