"""Who answers for a chunk's models: a program that is compiled here, or the library that their users run them with.

A program takes seconds to compile, and then little for each model; a runtime takes none before, and more for each. So a
family of a few models is asked by its runtime. What that takes is measured, on the first model; what compiling takes is
estimated. Both compute what is written in the file, are asked the same questions in the same readings, and their
answers are weighed alike, so that verdicts do not depend on the route.
"""

import time
from collections.abc import Sequence

import numpy as np

from wmjax.devices import on_cpu
from wmjax.errors import WmjaxError
from wmjax.suspects.ask import answered
from wmjax.suspects.contract import Askable, Network, Runs
from wmjax.zoo.records import Entry
from wmjax.zoo.rounds import FIRST, Questions

_COMPILING = 0.035  # seconds an operation; 0.02 to 0.09 for 13 networks of torchvision
_STARTING = 0.2  # seconds that a process takes at least
_USUAL = 3 * FIRST  # triggers of a key that an innocent model is asked about
_SHARE = 0.8  # of the runtime's seconds that a compiled program takes to answer: 0.8 to 2.5 for five of them


def by_runtime(
    network: Network, entries: Sequence[Entry], models: int, questions: Questions
) -> dict[int, Askable] | None:
    """Whom to ask in the place of a compiled program, by the models' places in the chunk; None: compile.

    Args:
      network: the family's.
      entries: of the chunk.
      models: of the family in the whole audit.
      questions: that all are asked.
    """
    compiling = _COMPILING * network.operations
    if not on_cpu() or not _cheaper(models * _STARTING, compiling):
        return None
    sources = [entry.source for entry in entries if isinstance(entry.source, Runs)]
    if len(sources) < len(entries):
        return None
    try:
        began = time.monotonic()
        first = sources[0].askable(network)
        started = time.monotonic()
        answered(first.suspect, questions.images[:FIRST], network.classes)
        each = (time.monotonic() - started) / min(FIRST, len(questions.images)) / first.concurrency
        images = len(network.readings) * int(np.minimum(questions.limits, _USUAL).sum())
        if not _cheaper(models * (started - began + images * each), compiling):
            return None
        return {row: source.askable(network) if row else first for row, source in enumerate(sources)}
    except WmjaxError:  # it is not run there: our own reading of it is asked, and says what is wrong
        return None


def _cheaper(runtime: float, compiling: float) -> bool:
    return runtime < compiling + _SHARE * runtime
