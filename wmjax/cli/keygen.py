"""The verb that makes a key."""

import argparse
import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wmjax.cli.commit import authorities, stamp
from wmjax.cli.openers import passphrase
from wmjax.cli.terminal import say, warn
from wmjax.errors import UsageError, WmjaxError
from wmjax.programs import load_jax
from wmjax.stores import place

if TYPE_CHECKING:
    from wmjax.data import Dataset
    from wmjax.evidence.authority import Authority
    from wmjax.keys import Key, Paper, Spec
    from wmjax.keys.material import Material


def keygen(options: argparse.Namespace) -> int:
    """Makes a key and its commitment."""
    from wmjax.keys import open_signer, write_key
    from wmjax.keys.files import check_free, stem

    options.out = stem(options.out)
    for name, scheme in _OWN_OPTIONS.items():
        if getattr(options, name) is not None and options.scheme != scheme:
            raise UsageError(f"`{name}` belongs to scheme {scheme}")
    check_free([place(f"{options.out}.{end}") for end in ("age", "commitment.json")])
    words = None if options.recipients and not options.passphrase else passphrase(options.passphrase)
    signer = open_signer(options.signer, passphrase(options.passphrase)) if options.signer else None
    trusted = authorities(options.authorities)
    if options.pledge and options.scheme == "spread":
        raise UsageError("`pledge`: not with scheme spread, whose commitment follows from the secret")
    key = _MAKERS.get(options.scheme, _generated)(options)  # last: it may take long
    files = write_key(key, options.out, recipients=options.recipients, passphrase=words, signer=signer)
    _tell_made(options, key, [*files, *_stamped(options, trusted)])
    return 0


def _generated(options: argparse.Namespace) -> "Key":
    """A key that follows from its secret, its spec and the images of its source alone."""
    source = None if options.source is None else _key_source(options)
    return _derived(options, _spec(options, source), source[1] if source else None)


def _derived(
    options: argparse.Namespace, spec: "Spec", source: "Dataset | None", material: "Material | None" = None
) -> "Key":
    """The key of a fresh secret, or of one that follows from a time stamp."""
    from wmjax.evidence import timestamps
    from wmjax.evidence.pledge import pledged_key
    from wmjax.keys import generate

    if not options.pledge:
        return generate(spec, source, alpha=options.alpha, material=material)
    stamped = functools.partial(timestamps.obtain, options.pledge, authorities=authorities(options.authorities))
    return pledged_key(spec, source, stamped, alpha=options.alpha, material=material)


def _spread(options: argparse.Namespace) -> "Key":
    """A key for a trained network, whose own answers it moves."""
    load_jax()
    from wmjax.data import load
    from wmjax.train import spread_key

    for name in ("labels", "classes", "paper"):
        if getattr(options, name):
            raise UsageError(f"`{name}`: not with scheme {options.scheme}, whose source and `base` say it")
    if options.base is None or options.source is None:
        raise UsageError(f"scheme {options.scheme} needs a trained network and its data: `base` and `source`")
    splits = load(options.source, options.data_dir, options.image)
    rehearsals = 2 if options.rehearsals is None else options.rehearsals
    return spread_key(options.base, splits, triggers=options.triggers, rehearsals=rehearsals, alpha=options.alpha)


def _tied(options: argparse.Namespace) -> "Key":
    """A key over the images on which unmarked networks waver, which are trained for it."""
    load_jax()
    from wmjax.keys.material import Material
    from wmjax.models import default_config
    from wmjax.train import default_recipe
    from wmjax.train.ties import find_ties

    if options.source is None or options.model is None:
        raise UsageError(f"scheme {options.scheme} looks for ties: say in which `source`, and of which `model`")
    source = _key_source(options)
    data = source[1]
    config = default_config(options.model, data.image, data.classes)
    recipe = default_recipe(config)
    if options.epochs is not None:
        recipe = dataclasses.replace(recipe, epochs=options.epochs)
    spec = _spec(options, source, Material({}))  # what cannot be is refused before networks are trained
    material = find_ties(config, recipe, data, spec.triggers)
    return _derived(options, _spec(options, source, material), data, material)


_MAKERS = {"spread": _spread, "tie": _tied}  # schemes whose keys need networks: how each makes one
_OWN_OPTIONS = {"base": "spread", "rehearsals": "spread", "model": "tie", "epochs": "tie"}  # of one of them alone


def _key_source(options: argparse.Namespace) -> "tuple[str, Dataset]":
    """The data set that a key starts from, with the name that its commitment gives it."""
    from wmjax.data import load_source
    from wmjax.data.source import public_name
    from wmjax.keys import SCHEMES

    scheme = SCHEMES.get(options.scheme)  # one that is unknown is refused with the spec
    split = scheme.split if scheme else "train"
    return public_name(options.source), load_source(options.source, options.data_dir, options.image, split)


def _spec(
    options: argparse.Namespace, source: "tuple[str, Dataset] | None", material: "Material | None" = None
) -> "Spec":
    """The spec that the options ask for."""
    from wmjax.keys import SCHEMES, make_spec, read_parameters

    names = {parameter.name for scheme in SCHEMES.values() for parameter in scheme.parameters}
    typed = {name: getattr(options, name) for name in sorted(names) if getattr(options, name) is not None}
    parameters: dict[str, Any] = {**read_parameters(options.scheme, typed)}
    return make_spec(
        options.scheme,
        image=options.image,
        classes=options.classes,
        triggers=100 if options.triggers is None else options.triggers,
        labels=options.labels,
        source=source,
        paper=_paper(options),
        material=material,
        **parameters,
    )


def _paper(options: argparse.Namespace) -> "Paper | None":
    """The paper-exact variant, where it is asked for."""
    from wmjax.keys import Paper

    names = [field.name for field in dataclasses.fields(Paper)]
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if given and not options.paper:
        raise UsageError(f"{', '.join(f'`{name}`' for name in given)}: only with `paper`")
    return Paper(**given) if options.paper else None


def _stamped(options: argparse.Namespace, trusted: "Sequence[Authority]") -> list[Path]:
    """The time stamps of the new key's commitment."""
    public = place(f"{options.out}.commitment.json")
    try:
        return stamp(public, options.timestamp, trusted)
    except WmjaxError as error:
        error.hint = f"the key is made; `wmjax commit {public} --timestamp URL` has it stamped later"
        raise


def _tell_made(options: argparse.Namespace, key: "Key", files: "Sequence[Path]") -> None:
    spec, written, needed = key.spec, [str(path) for path in files], key.commitment.rule.match_bits
    document = {"version": 1, "key_id": key.commitment.id, "triggers": spec.triggers, "files": written}
    say(
        options,
        document,
        f"key {key.commitment.id[:12]}: {spec.triggers} {spec.scheme} triggers, {spec.labels} labels",
        *(f"  wrote {path}" for path in written),
        "publish the commitment before the model; keep the rest",
    )
    if spec.policy.exact and key.most_bits < needed:
        warn(
            f"a model that answers all {spec.triggers} triggers as marked gives {key.most_bits:.1f} bits, and a match "
            f"takes {needed:.1f}: no suspect can be one; make a key with more triggers"
        )
