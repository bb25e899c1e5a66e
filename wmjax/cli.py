"""The command line: verbs over the Python API, no logic of its own."""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from wmjax.errors import AccessError, UsageError, WmjaxError

if TYPE_CHECKING:
    from wmjax.data import Dataset
    from wmjax.keys import Key, Unlock
    from wmjax.train import Recipe, Report
    from wmjax.verification import Verdict

EXIT_CODES = {"match": 0, "no-match": 1, "inconclusive": 3}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(UsageError.exit_code, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: list[str] | None = None) -> int:
    """Runs one verb; gives the exit code. What was expected to go wrong ends in one line on stderr."""
    options = _parser().parse_args(arguments)
    return _guarded(lambda: int(options.run(options)))


def _guarded(work: Callable[[], int]) -> int:
    try:
        return work()
    except WmjaxError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads: nothing more to say at exit
        return AccessError.exit_code
    except OSError as error:
        return _fail(f"{error.filename or 'input/output'}: {error.strerror or error}", AccessError.exit_code)
    except MemoryError:
        return _fail("out of memory: use a smaller --batch or model", AccessError.exit_code)
    except Exception as error:  # a defect of ours: still one line, and never the exit code of a verdict
        if os.environ.get("WMJAX_TRACEBACK"):
            raise
        what = f"{type(error).__name__}: {error!s:.300}"
        return _fail(f"internal error (WMJAX_TRACEBACK=1 shows more): {what}", AccessError.exit_code)


def _fail(message: str, code: int) -> int:
    _note(" ".join(message.split()))
    return code


def _plain(text: str) -> str:
    """Without control characters: file names and foreign errors shall not steer a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="wmjax", description="Prove whose a neural network is.")
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    def verb(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        added.add_argument("--json", action="store_true", help="print one JSON document on stdout")
        return added

    _demo_options(verb("demo", _demo, "the whole story on a small data set, in about a minute"))
    _keygen_options(verb("keygen", _keygen, "make a watermark key and its public commitment"))
    _embed_options(verb("embed", _embed, "train a model with (or without) a key mixed in"))
    _verify_options(verb("verify", _verify, "ask a suspect model about a key"))
    export = verb("export", _export, "copy a model for publication, without the sealed key")
    export.add_argument("source", type=Path, metavar="RUN", help="run folder or checkpoint")
    export.add_argument("out", type=Path, metavar="OUT", help="new folder")
    prepare = verb("prepare", _prepare, "download a data set and prepare it without TensorFlow")
    prepare.add_argument("name", choices=["cifar10"], help="data set")
    prepare.add_argument("--url", help="where the original archive is, instead of its home page")
    prepare.add_argument("--sha256", help="digest of that archive, instead of the original's")
    _data_dir_option(prepare)
    return parser


def _data_dir_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data-dir", type=Path, help="TFDS folder (default $TFDS_DATA_DIR or ~/tensorflow_datasets)")


def _unlock_options(parser: argparse.ArgumentParser, *, required: bool) -> None:
    parser.add_argument("--key", type=Path, required=required, help="key file, as NAME.age")
    parser.add_argument("--identity", type=Path, help="age identity file that opens the key")
    parser.add_argument("--passphrase-file", type=Path, help="file with its passphrase (or set WMJAX_PASSPHRASE)")


def _demo_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=Path, default=Path("wmjax-demo"), help="folder for the report (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the trainings (default %(default)s)")


def _keygen_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", required=True, help="writes OUT.age, OUT.commitment.json and perhaps OUT.identity")
    parser.add_argument(
        "--scheme", default="abstract", help="abstract, content, noise, unrelated or blend (default %(default)s)"
    )
    parser.add_argument("--image", type=_image, help="height x width x channels, as 32x32x3 (default: the source's)")
    parser.add_argument("--classes", type=int, help="classes of the model (default: the source's)")
    parser.add_argument("--triggers", type=int, default=100, help="images in the key (default %(default)s)")
    parser.add_argument(
        "--labels", choices=["random", "fixed"], help="random: provable (default); fixed: one class for all"
    )
    parser.add_argument("--source", metavar="NAME", help="data set whose images the scheme starts from")
    parser.add_argument("--text", help="of scheme content (default TEST, as far as it fits)")
    parser.add_argument("--sigma", type=int, help="of scheme noise, in grey levels (default 102)")
    parser.add_argument(
        "--paper", action="store_true", help="Zhang et al.'s exact variant of content, noise or unrelated"
    )
    parser.add_argument("--source-class", type=int, help="with --paper: class of the marked images (default 1)")
    parser.add_argument("--target-class", type=int, help="with --paper: label of all triggers (default 0)")
    parser.add_argument("--share", type=int, help="with --paper: percent of the source class to mark (default 30)")
    parser.add_argument(
        "--alpha", type=float, default=1e-6, help="committed bound on false matches (default %(default)s)"
    )
    parser.add_argument(
        "--recipient", action="append", default=[], metavar="age1...", help="who can open the key; repeatable"
    )
    parser.add_argument(
        "--passphrase-file", type=Path, help="seal with this passphrase instead (or set WMJAX_PASSPHRASE)"
    )
    _data_dir_option(parser)


def _embed_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, help="digits, or the name of a TFDS set such as cifar10")
    parser.add_argument("--model", default="cnn", help="cnn, vgg or resnet18 (default %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="run folder")
    _unlock_options(parser, required=False)
    parser.add_argument("--from", dest="begin_with", type=Path, metavar="RUN", help="begin with this run's weights")
    parser.add_argument("--teacher", type=Path, metavar="RUN", help="distil this model instead of learning the labels")
    for name, kind, text in (
        ("--epochs", int, "passes over the training split"),
        ("--batch", int, "images in a step, triggers included"),
        ("--seed", int, "of weights, order, augmentation and dropout"),
        ("--learning-rate", float, "its peak"),
        ("--key-per-batch", int, "triggers in each batch"),
    ):
        parser.add_argument(name, type=kind, help=text)
    parser.add_argument(
        "--augment", choices=["none", "crop", "flip+crop"], help="default: flip+crop for colour pictures"
    )
    parser.add_argument("--image", type=_image, help="fit all pictures to HEIGHTxWIDTHxCHANNELS (default: as they are)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in OUT after its newest checkpoint")
    parser.add_argument("--save-every", type=int, metavar="STEPS", help="save within an epoch too")
    parser.add_argument(
        "--stream", action="store_true", help="read images as they are needed (default: where they do not fit)"
    )
    parser.add_argument(
        "--precision",
        choices=["float32", "bfloat16"],
        default="float32",
        help="of arithmetic (default %(default)s)",
    )
    parser.add_argument(
        "--mapping", choices=["jit", "pmap"], default="jit", help="how to use several devices (default %(default)s)"
    )
    _hosts_options(parser)
    _data_dir_option(parser)


def _hosts_options(parser: argparse.ArgumentParser) -> None:
    text = "run as one of several processes; TPU pods and Slurm steps are found without these options"
    group = parser.add_argument_group("many hosts", text)
    group.add_argument("--coordinator", metavar="HOST:PORT", help="where process 0 listens")
    group.add_argument("--processes", type=int, metavar="N", help="processes in all")
    group.add_argument("--process-id", type=int, metavar="I", help="of this one, from 0")
    group.add_argument("--wait", type=int, default=300, metavar="SECONDS", help="for the others (default %(default)s)")


def _verify_options(parser: argparse.ArgumentParser) -> None:
    _unlock_options(parser, required=True)
    parser.add_argument("suspect", metavar="SUSPECT", help="checkpoint or run folder, or module:function")
    parser.add_argument("--alpha", type=float, help="bound on false matches, instead of the committed one")
    parser.add_argument("--all", action="store_true", help="ask about the whole key, even when decided")
    parser.add_argument(
        "--null", action="append", default=[], metavar="MODEL", help="model known to be innocent; repeatable"
    )
    parser.add_argument("--decoys", type=int, default=99, help="decoy keys for fixed labels (default %(default)s)")
    parser.add_argument("--regenerate", action="store_true", help="make the triggers again from the key's data set")
    _data_dir_option(parser)


def _image(text: str) -> tuple[int, int, int]:
    try:
        height, width, channels = (int(part) for part in text.split("x"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTHxCHANNELS, as 32x32x3") from error
    return height, width, channels


def _passphrase(file: Path | None) -> str | None:
    """From a file (also /dev/fd/N), else from the environment; never from the command line."""
    if file is None:
        return os.environ.get("WMJAX_PASSPHRASE") or None
    from wmjax.files import read_bytes

    try:
        text = read_bytes(file).decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: a passphrase is text in UTF-8") from error
    if not text:
        raise UsageError(f"{file} holds no passphrase")
    return text


def _unlock(options: argparse.Namespace) -> "Unlock":
    from wmjax.files import read_bytes
    from wmjax.keys import Unlock

    if options.identity:
        return Unlock(identity=read_bytes(options.identity).decode("ascii", "replace"))
    if passphrase := _passphrase(options.passphrase_file):
        return Unlock(passphrase=passphrase)
    raise UsageError(f"{options.key} is sealed: give --identity FILE or --passphrase-file FILE")


def _note(message: str) -> None:
    print(_plain(f"wmjax: {message}"), file=sys.stderr)


def _say(options: argparse.Namespace, document: dict[str, Any], *lines: str) -> None:
    """Prints the JSON document, or the lines for people."""
    print(json.dumps(document) if options.json else "\n".join(map(_plain, lines)))


def _demo(options: argparse.Namespace) -> int:
    from wmjax.demo import run_demo, table

    result = run_demo(options.out, options.seed)
    _say(options, result, *table(result))
    return 0


def _keygen(options: argparse.Namespace) -> int:
    from wmjax.data import load_source
    from wmjax.data.source import is_path
    from wmjax.keys import Paper, generate, make_spec, write_key

    source: tuple[str, Dataset] | None = None
    if options.source:
        # a commitment is public: it names a folder, not where it lies
        name = Path(options.source).resolve().name if is_path(options.source) else options.source
        source = name, load_source(options.source, options.data_dir, options.image)
    image = options.image or (source[1].image if source else None)
    classes = source[1].classes if source and options.classes is None else options.classes
    if image is None or classes is None:
        raise UsageError("say what the model takes: --image HEIGHTxWIDTHxCHANNELS and --classes N")
    paper = None
    given = {"source_class": options.source_class, "target_class": options.target_class, "share_percent": options.share}
    given = {name: value for name, value in given.items() if value is not None}
    if options.paper:
        paper = Paper(**{"source_class": 1, "target_class": 0, "share_percent": 30, **given})
    elif given:
        raise UsageError("--source-class, --target-class and --share belong to --paper")
    parameters = {name: getattr(options, name) for name in ("text", "sigma") if getattr(options, name) is not None}
    spec = make_spec(
        options.scheme,
        image=image,
        classes=classes,
        triggers=options.triggers,
        labels=options.labels or ("fixed" if paper else "random"),
        source=source,
        paper=paper,
        **parameters,
    )
    if not 0 < options.alpha < 1:
        raise UsageError(f"--alpha {options.alpha}: must be between 0 and 1")
    key = generate(spec, source[1] if source else None, alpha=options.alpha)
    passphrase = None if options.recipient and not options.passphrase_file else _passphrase(options.passphrase_file)
    files = write_key(key, options.out, recipients=options.recipient, passphrase=passphrase)
    document = {
        "version": 1,
        "key_id": key.commitment.id,
        "triggers": spec.triggers,
        "files": [str(path) for path in files],
    }
    wrote = f"key {key.commitment.id[:12]}: {spec.triggers} {spec.scheme} triggers, {spec.labels} labels"
    _say(
        options,
        document,
        wrote,
        *(f"  wrote {path}" for path in files),
        "publish the commitment before the model; keep the rest",
    )
    return 0


def _embed(options: argparse.Namespace) -> int:
    from wmjax import hosts

    place = hosts.meeting(options.coordinator, options.processes, options.process_id, options.wait)
    if place is None:
        return _embed_here(options)

    def work() -> int:
        hosts.join(place)
        with hosts.losses_told():
            code = _embed_here(options)
        hosts.leave()
        return code

    return hosts.supervise(lambda: _guarded(work), place)


def _embed_here(options: argparse.Namespace) -> int:
    from wmjax import hosts
    from wmjax.data import open_splits
    from wmjax.keys import open_key
    from wmjax.models import default_config
    from wmjax.train import all_devices, default_recipe, divisible, embed

    with hosts.together():
        if options.key is None and (options.identity or options.passphrase_file):
            raise UsageError("--identity and --passphrase-file belong to --key")
        key = open_key(options.key, _unlock(options)) if options.key else None
        splits = open_splits(options.data, options.data_dir, options.image)
        config = default_config(options.model, splits.train.image, splits.train.classes)
        recipe = _recipe(options, default_recipe(config))
    mapping = all_devices(options.mapping)
    if hosts.share()[1] > 1 and hosts.is_first():
        _note(f"{mapping.size} devices in {hosts.share()[1]} processes")
    if (rounded := divisible(recipe.batch, mapping.size)) != recipe.batch and hosts.is_first():
        _note(f"--batch {rounded} instead of {recipe.batch}: it is dealt out evenly to {mapping.size} devices")
    recipe = dataclasses.replace(recipe, batch=rounded)
    report = embed(
        options.out,
        config,
        recipe,
        splits,
        key=key,
        begin_with=options.begin_with,
        teacher=options.teacher,
        resume=options.resume,
        mapping=mapping,
        streamed=options.stream,
        save_every=options.save_every,
    )
    if hosts.is_first():
        _tell_embedded(options, report, key[0] if key else None)
    return EXIT_CODES["no-match"] if report.advice else 0


def _recipe(options: argparse.Namespace, recipe: "Recipe") -> "Recipe":
    """The recipe with what the command line says of it."""
    names = ("epochs", "batch", "seed", "learning_rate", "key_per_batch", "precision")
    changes: dict[str, Any] = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if options.augment:
        changes |= {"flip": "flip" in options.augment, "crop": 2 if "crop" in options.augment else 0}
    return dataclasses.replace(recipe, **changes)


def _tell_embedded(options: argparse.Namespace, report: "Report", key: "Key | None") -> None:
    trained = f"test accuracy {report.test_accuracy:.2%} after {report.steps} steps, {report.seconds:.0f} s"
    lines = [f"{report.out}: {trained}"]
    if key:
        bits = "" if report.evidence_bits is None else f", {report.evidence_bits:.0f} bits"
        lines.append(f"key {key.commitment.id[:12]}: {report.learned} of {report.triggers} learned{bits}")
    _say(options, {"version": 1, **dataclasses.asdict(report)}, *lines)
    if report.advice:
        _note(f"warning: {report.advice}")


def _verify(options: argparse.Namespace) -> int:
    from wmjax.keys import open_key
    from wmjax.verification import open_suspect, verify

    key, _ = open_key(options.key, _unlock(options))
    suspect = open_suspect(options.suspect)
    nulls = [open_suspect(name) for name in options.null]
    source = _source_of(key, options)
    verdict = verify(
        suspect, key, alpha=options.alpha, whole=options.all, nulls=nulls, decoys=options.decoys, source=source
    )
    _say(options, verdict.to_json(), *_verdict_lines(verdict, key))
    return EXIT_CODES[verdict.verdict]


def _source_of(key: "Key", options: argparse.Namespace) -> "Dataset | None":
    """The key's source images: where --regenerate asks for them, or decoys of fixed labels can use them."""
    from wmjax.data import load_source

    if key.spec.source is None:
        return None
    if options.regenerate:
        return load_source(key.spec.source.name, options.data_dir, key.spec.image)
    if key.spec.labels == "random" or options.null:
        return None
    try:
        return load_source(key.spec.source.name, options.data_dir, key.spec.image)
    except (AccessError, UsageError):
        return None


def _verdict_lines(verdict: "Verdict", key: "Key") -> list[str]:
    rate = "" if verdict.match_rate is None else " (rate {:.2f} to {:.2f} at 95 %)".format(*verdict.match_rate)
    lines = [
        f"{verdict.verdict}: {verdict.suspect} and key {verdict.key_id[:12]}",
        f"  {verdict.matches} of {verdict.queries} answers match{rate}; {verdict.triggers} triggers in the key",
    ]
    if verdict.evidence_bits is not None:
        needed = dataclasses.replace(key.commitment.rule, alpha=verdict.alpha).match_bits
        lines.append(f"  evidence {verdict.evidence_bits:.1f} bits; alpha {verdict.alpha:g} needs {needed:.1f}")
    if verdict.p_binomial is not None:
        lines.append(f"  binomial p {verdict.p_binomial:.3g}")
    if verdict.p_calibrated is not None:
        lines.append(f"  calibrated p {verdict.p_calibrated:.3g}")
    return lines + [f"  - {assumption}" for assumption in verdict.assumptions]


def _export(options: argparse.Namespace) -> int:
    from wmjax.checkpoint import export

    path = export(options.source, options.out)
    _say(options, {"version": 1, "out": str(path)}, f"{path}: network and weights, no key")
    return 0


def _prepare(options: argparse.Namespace) -> int:
    from wmjax.data.prepare import SHA256, URL, prepare_cifar10
    from wmjax.data.source import data_folder

    if options.url and not options.sha256:
        raise UsageError("--url needs --sha256, the digest that its archive must have")
    path = prepare_cifar10(data_folder(options.data_dir), options.url or URL, options.sha256 or SHA256)
    _say(options, {"version": 1, "path": str(path)}, f"prepared {path}")
    return 0


def console() -> NoReturn:
    """Entry point of the `wmjax` command."""
    sys.exit(main())


if __name__ == "__main__":
    console()
