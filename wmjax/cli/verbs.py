"""The verbs that mark and verify one model."""

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any

from wmjax.cli.openers import opened, wanted
from wmjax.cli.openers import suspect as accused
from wmjax.cli.terminal import EXIT_CODES, guarded, note, say, warn, worded
from wmjax.errors import AccessError, UsageError, WmjaxError
from wmjax.programs import keep, load_jax

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from wmjax.data import Dataset
    from wmjax.keys import Key
    from wmjax.train import Recipe, Report
    from wmjax.verification import Combined, Verdict


def demo(options: argparse.Namespace) -> int:
    """The whole story on a small data set."""
    load_jax()
    from wmjax.demo import run_demo, table

    result = run_demo(options.out, options.seed, options.png)
    say(options, result, *table(result))
    return 0


def embed(options: argparse.Namespace) -> int:
    """Trains a model, on one process or several."""
    from wmjax import hosts

    place = hosts.meeting(options.coordinator, options.processes, options.process_id, options.wait)
    if place is None:
        load_jax()
        return _embed_here(options)

    def work() -> int:
        keep()
        hosts.join(place)
        with hosts.losses_told():
            code = _embed_here(options)
        hosts.leave()
        return code

    return hosts.supervise(lambda: guarded(work, options), place, lambda message: note(worded(message, options)))


def _embed_here(options: argparse.Namespace) -> int:
    from wmjax import hosts
    from wmjax.data import open_splits
    from wmjax.models import default_config
    from wmjax.train import all_devices, default_recipe, divisible, embed, tuning

    with hosts.together():
        if not options.keys and (options.identity or options.passphrase):
            raise UsageError("--identity and --passphrase-file belong to --key")
        keys = opened(options) if options.keys else []
        splits = open_splits(options.data, options.data_dir, options.image)
        config = default_config(options.model, splits.train.image, splits.train.classes)
        usual = default_recipe(config)
        recipe = _recipe(options, tuning(usual, len(splits.train)) if not all(key.mixed for key in keys) else usual)
    mapping = all_devices(options.mapping)
    if hosts.share()[1] > 1 and hosts.is_first():
        note(f"{mapping.size} devices in {hosts.share()[1]} processes")
    if (rounded := divisible(recipe.batch, mapping.size)) != recipe.batch and hosts.is_first():
        note(f"--batch {rounded} instead of {recipe.batch}: it is dealt out evenly to {mapping.size} devices")
    recipe = dataclasses.replace(recipe, batch=rounded)
    if options.resume and hosts.is_first() and not any(options.out.glob("[!.]*")):
        note(f"{options.out} holds no run to resume: a new one begins")
    report = embed(
        options.out,
        config,
        recipe,
        splits,
        keys=keys,
        begin_with=options.begin_with,
        teacher=options.teacher,
        **{name: getattr(options, name) for name in ("sigma", "band") if getattr(options, name) is not None},
        resume=options.resume,
        mapping=mapping,
        streamed=options.streamed,
        save_every=options.save_every,
    )
    if hosts.is_first():
        _tell_embedded(options, report)
    return EXIT_CODES["no-match"] if any(mark.advice for mark in report.marks) else 0


def _recipe(options: argparse.Namespace, recipe: "Recipe") -> "Recipe":
    """The recipe with what the command line says of it."""
    names = ("epochs", "batch", "seed", "learning_rate", "label_smoothing", "key_per_batch", "precision")
    changes: dict[str, Any] = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if options.augment:
        changes |= {"flip": "flip" in options.augment, "crop": 2 if "crop" in options.augment else 0}
    return dataclasses.replace(recipe, **changes)


def _tell_embedded(options: argparse.Namespace, report: "Report") -> None:
    trained = f"test accuracy {report.test_accuracy:.2%} after {report.steps} steps, {report.seconds:.0f} s"
    lines = [f"{report.out}: {trained}"]
    for mark in report.marks:
        bits = "" if mark.evidence_bits is None else f", {mark.evidence_bits:.0f} bits"
        learned = "natural images" if mark.learned is None else f"of {mark.triggers} learned"
        count = mark.triggers if mark.learned is None else mark.learned
        lines.append(f"key {mark.key_id[:12]}: {count} {learned}{bits}")
    if any(mark.learned is None for mark in report.marks):
        lines.append(f"the shift changed {report.changed:.2%} of the training images' answers")
    say(options, {"version": 1, **dataclasses.asdict(report)}, *lines)
    for mark in report.marks:
        if mark.advice:
            of_which = f"key {mark.key_id[:12]}: " if len(report.marks) > 1 else ""
            warn(f"warning: {of_which}{worded(mark.advice, options)}")


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
    lines = [line for verdict, key in zip(verdicts, keys, strict=True) for line in _verdict_lines(verdict, key)]
    if len(keys) == 1:
        say(options, verdicts[0].to_json(), *lines)
        return EXIT_CODES[verdicts[0].verdict]
    combined = combine(keys, verdicts)
    say(options, combined.to_json(), *lines, *_combined_lines(combined))
    return EXIT_CODES[combined.verdict]


def _ask_each(options: argparse.Namespace, keys: "list[Key]", stop_bits: float | None) -> "list[Verdict]":
    """A verdict on each key. A suspect may end the asking at a later one: what was found is told all the same."""
    verdicts: list[Verdict] = []
    left = options.max_queries
    try:
        for path, key in zip(options.keys, keys, strict=True):
            verdicts.append(_ask(options, path, key, stop_bits, left))
            if left is not None:
                left -= verdicts[-1].queries * _at_once(key, options) + options.cover
    except (WmjaxError, KeyboardInterrupt):
        for verdict, key in zip(verdicts, keys, strict=False):
            told = "; ".join(line.strip() for line in _verdict_lines(verdict, key)[:3])
            warn(f"before it ended: {told}")
        raise
    return verdicts


def _at_once(key: "Key", options: argparse.Namespace) -> int:
    """Questions for each trigger: decoys of a key without exact evidence are asked with it."""
    return 1 if key.spec.policy.exact or options.nulls else 1 + max(1, options.decoys)


def _room(key: "Key", options: argparse.Namespace, left: int) -> int:
    """How many triggers of a key may be asked where so many questions are left."""
    each = _at_once(key, options)
    room = (left - options.cover) // each
    if room < 1 <= options.max_queries:
        name, takes = key.commitment.id[:12], each + options.cover
        raise UsageError(
            f"`max_queries` {options.max_queries} leaves {max(0, left)} for key {name}, of which one trigger takes "
            f"{takes}: allow more, or ask for fewer `decoys` or less `cover`"
        )
    return int(min(room, options.max_queries))


def _ask(options: argparse.Namespace, path: "Path", key: "Key", stop_bits: float | None, left: int | None) -> "Verdict":
    from functools import partial

    from wmjax.keys.keyset import limit
    from wmjax.keys.memory import remember, shown_to
    from wmjax.suspects import open_suspect
    from wmjax.verification import verify

    known, most = wanted(options, key.spec), None if left is None else _room(key, options, left)
    suspect = accused(options, known, limit(key, most) * _at_once(key, options) + options.cover)
    nulls = [open_suspect(name, known) for name in options.nulls]
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


def _verdict_lines(verdict: "Verdict", key: "Key") -> list[str]:
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
        needed = dataclasses.replace(key.commitment.rule, alpha=verdict.alpha).match_bits
        lines.append(f"  evidence {verdict.evidence_bits:.1f} bits; alpha {verdict.alpha:g} needs {needed:.1f}")
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


def export(options: argparse.Namespace) -> int:
    """Copies a model without its sealed key."""
    load_jax()
    from wmjax.suspects.stored import export

    path = export(options.source, options.out, models=options.models, images=options.images)
    say(options, {"version": 1, "out": str(path)}, f"{path}: network and weights, no key")
    return 0


def prepare(options: argparse.Namespace) -> int:
    """Prepares a data set."""
    from wmjax.data.prepare import SHA256, URL, prepare_cifar10
    from wmjax.data.source import data_folder

    if options.url and not options.sha256:
        raise UsageError("--url needs --sha256, the digest that its archive must have")
    path = prepare_cifar10(data_folder(options.data_dir), options.url or URL, options.sha256 or SHA256)
    say(options, {"version": 1, "path": str(path)}, f"prepared {path}")
    return 0
