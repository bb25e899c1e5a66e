"""What an audit's verdicts rest on besides the key itself, as codes with values."""

from enum import StrEnum


class Basis(StrEnum):
    """What an audit's figures rest on as a whole.

    ASKED: on asking alone; REPLAYED: some come from a journal, and follow from the answers that it keeps; AS_WRITTEN:
    some come from a journal that keeps no answers, or were not played again for want of the keys.
    """

    ASKED = "asked-now"
    REPLAYED = "replayed"
    AS_WRITTEN = "as-written"


class Unasked(StrEnum):
    """Why a family was not asked about a key: of classes OTHER_TASK (`theirs`, `ours`), NO_PICTURE (`from`, `to`)."""

    OTHER_TASK = "other-task"
    NO_PICTURE = "no-picture"


class AuditGround(StrEnum):
    """Codes of an audit's own; those of keys are `VerdictGround`, those of asking `AskedGround`.

    The procedure that keeps the bound: E_BH or BONFERRONI (`level`, `tests`). Of keys without exact evidence: RANKED
    (`matches`, `queries`, `p`, `nulls`, `alpha`, `needed`, `suffice`) or NO_NULLS. WEIGHTS (`sha256`): what was asked.
    """

    E_BH = "e-bh"
    BONFERRONI = "bonferroni"
    RANKED = "ranked"
    NO_NULLS = "no-nulls"
    WEIGHTS = "weights"
