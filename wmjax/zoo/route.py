"""Who answers for a chunk's models: a program that is compiled here, or the library that their users run them with.

A program takes seconds to compile, and then little for each model; a runtime takes none before, and more for each. So a
family of a few models is asked by its runtime. What that takes is measured, on the first model; what compiling takes is
estimated, and it is given up where it takes longer than that and than the runtime would. Both compute what is written
in the file, are asked the same questions in the same readings, and their answers are weighed alike, so that verdicts do
not depend on the route.
"""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from wmjax.devices import on_cpu
from wmjax.errors import WmjaxError
from wmjax.suspects.contract import Askable, Network, Runs
from wmjax.suspects.query import answered
from wmjax.zoo.grounds import AuditGround
from wmjax.zoo.records import Entry
from wmjax.zoo.rounds import FIRST, Questions

_COMPILING = 0.035  # seconds an operation; 0.02 to 0.09 for 13 networks of torchvision
_PATIENCE = 3  # times that estimate is what compiling may take
_AT_LEAST = 10.0  # seconds that it may take: a busy machine is not a reason
_STARTING = 0.2  # seconds that a process takes at least
_USUAL = 3 * FIRST  # triggers of a key that an innocent model is asked about
_SHARE = 0.8  # of the runtime's seconds that a compiled program takes to answer: 0.8 to 2.5 for five, unfused


class Run(NamedTuple):
    """Whom to ask in the place of a compiled program.

    Attributes:
      askables: by the models' places in the chunk.
      why: RUNTIME or GIVEN_UP.
    """

    askables: dict[int, Askable]
    why: AuditGround


def by_runtime(
    network: Network,
    entries: Sequence[Entry],
    models: int,
    questions: Questions,
    within: Callable[[float], bool],
) -> Run | None:
    """Whom to ask in the place of a compiled program; None: that.

    Args:
      network: the family's.
      entries: of the chunk.
      models: of the family in the whole audit.
      questions: that all are asked.
      within: has the program compiled; whether it is there so many seconds after that began.
    """
    compiling = _COMPILING * network.operations

    def ready(runtime: float) -> bool:
        return not _cheaper(runtime, compiling) and within(max(runtime, _PATIENCE * compiling, _AT_LEAST))

    sources = [entry.source for entry in entries if isinstance(entry.source, Runs)]
    if not on_cpu() or len(sources) < len(entries) or ready(models * _STARTING):
        return None
    try:
        began = time.monotonic()
        first = sources[0].askable(network)
        started = time.monotonic()
        answered(first.suspect, questions.images[:FIRST], network.classes)
        each = (time.monotonic() - started) / min(FIRST, len(questions.images)) / first.concurrency
        images = len(network.readings) * int(np.minimum(questions.limits, _USUAL).sum())
        runtime = models * (started - began + images * each)
        if ready(runtime):
            return None
        askables = {row: source.askable(network) if row else first for row, source in enumerate(sources)}
        return Run(askables, AuditGround.RUNTIME if _cheaper(runtime, compiling) else AuditGround.GIVEN_UP)
    except WmjaxError:  # it is not run there: our own reading of it is asked, and says what is wrong
        return None


def _cheaper(runtime: float, compiling: float) -> bool:
    return runtime < compiling + _SHARE * runtime
