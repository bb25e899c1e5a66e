"""The verbs that mark and verify one model."""

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any

from wmjax.cli.openers import opened
from wmjax.cli.terminal import EXIT_CODES, guarded, note, say, warn, worded
from wmjax.errors import UsageError
from wmjax.programs import keep, load_jax

if TYPE_CHECKING:
    from wmjax.train import Recipe, Report


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
