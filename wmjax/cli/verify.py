"""The verb that asks one suspect about one key or several."""

import argparse
from typing import TYPE_CHECKING, Any

from wmjax.cli.openers import opened, wanted
from wmjax.cli.openers import suspect as accused
from wmjax.cli.terminal import EXIT_CODES, say, warn
from wmjax.errors import AccessError, UsageError, WmjaxError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from wmjax.data import Dataset
    from wmjax.keys import Key
    from wmjax.suspects import Suspect
    from wmjax.verification import Combined, Verdict


def verify(options: argparse.Namespace) -> int:
    """Asks a suspect about one key or several."""
    from wmjax.verification.several import check_combinable, combine, stop_bits

    keys = opened(options)
    if len(keys) > 1:
        check_combinable(keys)
    verdicts = _ask_each(options, keys, stop_bits(keys, options.alpha))
    if options.png:
        from wmjax.report.curves import of_verdicts
        from wmjax.report.picture import write_picture

        needed = max(verdict.needed_bits for verdict in verdicts)
        names = [f"{verdicts[0].suspect}, {path.stem}" for path in options.keys]
        write_picture(options.png, [of_verdicts(verdicts, names, needed)])
    lines = [line for verdict in verdicts for line in _verdict_lines(verdict)]
    if len(keys) == 1:
        say(options, verdicts[0].to_json(), *lines)
        return EXIT_CODES[verdicts[0].verdict]
    combined = combine(keys, verdicts)
    say(options, combined.to_json(), *lines, *_combined_lines(combined))
    return EXIT_CODES[combined.verdict]


def _ask_each(options: argparse.Namespace, keys: "list[Key]", stop_bits: float | None) -> "list[Verdict]":
    """A verdict on each key. A suspect may end the asking at a later one: what was found is told all the same."""
    verdicts: list[Verdict] = []
    left, suspects = options.max_queries, _Suspects(options, keys)
    try:
        for path, key in zip(options.keys, keys, strict=True):
            verdicts.append(_ask(options, path, key, suspects, stop_bits, left))
            if left is not None:
                left -= verdicts[-1].queries * _at_once(key, options) + options.cover
    except (WmjaxError, KeyboardInterrupt):
        for verdict in verdicts:
            told = "; ".join(line.strip() for line in _verdict_lines(verdict)[:3])
            warn(f"before it ended: {told}")
        raise
    return verdicts


def _at_once(key: "Key", options: argparse.Namespace) -> int:
    """Questions for each trigger: decoys of a key without exact evidence are asked with it."""
    return 1 if key.spec.policy.exact or options.nulls else 1 + max(1, options.decoys)


def _room(key: "Key", options: argparse.Namespace, left: int) -> int:
    """How many triggers of a key may be asked where so many questions are left."""
    each = _at_once(key, options)
    room = (left - int(options.cover)) // each
    if room < 1:
        name, takes = key.commitment.id[:12], each + options.cover
        raise UsageError(
            f"`max_queries` {options.max_queries} leaves {max(0, left)} for key {name}, of which one trigger takes "
            f"{takes}: allow more, or ask for fewer `decoys` or less `cover`"
        )
    return room


class _Suspects:
    """The suspect and the null models, opened once for all keys of the same images and classes."""

    def __init__(self, options: argparse.Namespace, keys: "list[Key]"):
        from wmjax.keys.keyset import limit

        self._options = options
        self._open: dict[Any, tuple[Suspect, list[Suspect]]] = {}
        for key in keys:
            limit(key, options.max_queries)  # which may be none
        self._questions = sum(limit(key) * _at_once(key, options) + options.cover for key in keys)

    def of(self, key: "Key") -> "tuple[Suspect, list[Suspect]]":
        """Those to ask about a key."""
        from wmjax.suspects import open_suspect

        options, takes = self._options, (key.spec.image, key.spec.classes)
        if takes not in self._open:
            known, most = wanted(options, key.spec), options.max_queries
            questions = self._questions if most is None else min(self._questions, most)
            self._open[takes] = (
                accused(options, known, questions),
                [open_suspect(name, known) for name in options.nulls],
            )
        return self._open[takes]


def _ask(
    options: argparse.Namespace,
    path: "Path",
    key: "Key",
    suspects: _Suspects,
    stop_bits: float | None,
    left: int | None,
) -> "Verdict":
    from functools import partial

    from wmjax.keys.memory import remember, shown_to
    from wmjax.verification import verify

    most = None if left is None else _room(key, options, left)
    suspect, nulls = suspects.of(key)
    return verify(
        suspect,
        key,
        alpha=options.alpha,
        whole=options.whole,
        stop_bits=stop_bits,
        nulls=nulls,
        decoys=options.decoys,
        source=_source_of(key, options),
        cover=_cover(key, options),
        nonce=_nonce(options.nonce),
        shown=shown_to(path, suspect.name) if suspect.remembers else (),
        remember=partial(remember, path, suspect.name) if suspect.remembers else None,
        max_queries=most,
    )


def _nonce(text: str | None) -> bytes | None:
    try:
        return (text and bytes.fromhex(text)) or None
    except ValueError as error:
        raise UsageError(f"`nonce` {text!r:.50}: bytes in hex, e.g. from `openssl rand -hex 16`") from error


def _cover(key: "Key", options: argparse.Namespace) -> "np.ndarray | None":
    """Ordinary images to ask in between, drawn at random from a data set, as the key's are."""
    import numpy as np

    from wmjax.data import load_source
    from wmjax.suspects.adapt import adapt, adaptation

    if not options.cover:
        return None
    name = options.cover_from or (key.spec.source.name if key.spec.source else None)
    if options.cover < 0 or name is None:
        raise UsageError("`cover` is how many ordinary images to ask; `cover_from` names the data set that has them")
    data = load_source(name, options.data_dir, key.spec.image)
    if adaptation(data.image, key.spec.image) is None:
        raise UsageError(f"images of {name} cannot be made {key.spec.image}: choose another `cover_from`")
    if options.cover > len(data):
        raise UsageError(f"`cover` {options.cover}: {name} has {len(data)} images")
    rows = np.random.default_rng().permutation(len(data))[: options.cover]
    return adapt(data.images[rows], key.spec.image)


def _source_of(key: "Key", options: argparse.Namespace) -> "Dataset | None":
    """The key's source images: if `regenerate` asks for them, or decoys can use them."""
    from wmjax.data import load_source
    from wmjax.keys.specify import split_of

    if key.spec.source is None:
        return None
    if options.source:
        return load_source(key.spec.source.name, options.data_dir, key.spec.image, split_of(key.spec))
    if key.spec.policy.exact or options.nulls:
        return None
    try:
        return load_source(key.spec.source.name, options.data_dir, key.spec.image, split_of(key.spec))
    except (AccessError, UsageError):
        return None


def _verdict_lines(verdict: "Verdict") -> list[str]:
    from wmjax.verification.wording import told

    rate = "" if verdict.match_rate is None else " (rate {:.2f} to {:.2f} at 95 %)".format(*verdict.match_rate)
    told_of = f"{verdict.matches} of {verdict.queries} answers match{rate}"
    if verdict.coins is not None:
        told_of = f"{verdict.matches} of {verdict.coins} coins agree after {verdict.queries} answers"
    lines = [
        f"{verdict.verdict}: {verdict.suspect} and key {verdict.key_id[:12]}",
        f"  {told_of}; {verdict.triggers} triggers in the key",
    ]
    if verdict.evidence_bits is not None:
        bits, needed = verdict.evidence_bits, verdict.needed_bits
        lines.append(f"  evidence {bits:.1f} bits; alpha {verdict.alpha:g} needs {needed:.1f}")
    if verdict.p_binomial is not None:
        lines.append(f"  binomial p {verdict.p_binomial:.3g}")
    if verdict.p_calibrated is not None:
        lines.append(f"  calibrated p {verdict.p_calibrated:.3g}")
    return lines + [f"  - {told(ground)}" for ground in verdict.grounds]


def _combined_lines(combined: "Combined") -> list[str]:
    from wmjax.verification.wording import told

    return [
        f"{combined.verdict}: {combined.suspect} and the {len(combined.verdicts)} keys together",
        f"  evidence {combined.evidence_bits:.1f} bits; alpha {combined.alpha:g} needs {combined.needed_bits:.1f}",
        *(f"  - {told(ground)}" for ground in combined.grounds),
    ]
