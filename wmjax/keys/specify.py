"""What a key is to be made of: specs, with a scheme's defaults filled in, and what a scheme cannot have refused."""

from collections.abc import Collection, Mapping
from typing import Literal

import numpy as np

from wmjax.data.dataset import Dataset
from wmjax.errors import UsageError
from wmjax.keys.material import Material
from wmjax.keys.policies import default_policy
from wmjax.keys.schemes import SCHEMES, Scheme
from wmjax.keys.spec import Input, Paper, Source, Spec
from wmjax.stats import Rule
from wmjax.text import by


def make_spec(
    scheme: str,
    *,
    image: tuple[int, int, int] | None = None,
    classes: int | None = None,
    triggers: int = 100,
    labels: str | None = None,
    source: tuple[str, Dataset] | None = None,
    paper: Paper | None = None,
    material: Material | None = None,
    **parameters: int | str,
) -> Spec:
    """A checked spec with the scheme's default parameters filled in.

    >>> make_spec("abstract", image=(8, 8, 1), classes=10, triggers=4).labels
    'random'

    Args:
      scheme: one of `wmjax.keys.SCHEMES`.
      image: height, width, channels of the model's input; by default the source's.
      classes: classes of the model; by default the source's.
      triggers: images in the key; with `paper` the share of the source class decides instead.
      labels: one of `wmjax.keys.POLICIES`; by default `random`, with `paper` the paper's.
      source: name and training split of the data set that the scheme starts from.
      paper: asks for the paper-exact variant, if the scheme has one.
      material: what is fixed before the coins, for the schemes that have any.
      **parameters: the scheme's own, in place of its defaults.

    Raises:
      UsageError: unknown scheme or parameter, or a combination that cannot be.
    """
    known = scheme_of(scheme)
    if source:
        image = source[1].image if image is None else image
        classes = source[1].classes if classes is None else classes
    if image is None or classes is None:
        raise UsageError("say what the model takes: `image` and `classes`")
    _check_names(known, parameters)
    asked = Input("image", image)
    chosen = {parameter.name: parameter.default(asked.shape) for parameter in known.parameters}
    if source:
        _check_source(known, source, asked.shape, paper)
        triggers = _share(paper, source[1]) if paper else triggers
    spec = Spec(
        scheme,
        asked,
        classes,
        triggers,
        labels or known.labels or default_policy(paper is not None).name,
        tuple(sorted({**chosen, **parameters}.items())),
        Source(source[0], source[1].fingerprint()) if source else None,
        paper,
        material.sha256 if material else None,
    )
    check_against_scheme(spec)
    return spec


def read_parameters(scheme: str, typed: Mapping[str, str]) -> dict[str, int | str]:
    """A scheme's parameters from what a user typed.

    >>> read_parameters("noise", {"sigma": "51"})
    {'sigma': 51}

    Raises:
      UsageError: unknown scheme or parameter, or a value that it cannot have.
    """
    known = scheme_of(scheme)
    _check_names(known, typed)
    return {p.name: p.read(typed[p.name]) for p in known.parameters if p.name in typed}


def _check_names(scheme: Scheme, given: Collection[str]) -> None:
    if unknown := sorted(set(given) - {parameter.name for parameter in scheme.parameters}):
        raise UsageError(f"scheme {scheme.name} has no parameter `{unknown[0]}`")


def _check_source(
    scheme: Scheme, source: tuple[str, Dataset], image: tuple[int, int, int], paper: Paper | None
) -> None:
    """Raises `UsageError` where a scheme can make no triggers for `image` from a source."""
    if paper and scheme.own_shape and paper.source_class == paper.target_class:
        raise UsageError(f"class {paper.source_class} is both source and target: every model answers it, marked or not")
    if scheme.own_shape and source[1].image != image:
        raise UsageError(
            f"images of {source[0]} are {by(source[1].image)}, not {by(image)}: scheme {scheme.name} needs them alike"
        )


def _share(paper: Paper, source: Dataset) -> int:
    """Triggers that the paper's variant makes of a source."""
    return int(np.sum(source.labels == paper.source_class)) * paper.share_percent // 100


def check_against_scheme(spec: Spec) -> None:
    """Raises `UsageError` if a spec is not one of its scheme's: a forger's may claim anything."""
    scheme, given = scheme_of(spec.scheme), dict(spec.parameters)
    if scheme.needs_source and spec.source is None:
        raise UsageError(f"scheme {scheme.name} starts from the images of a data set: name one in `source`")
    if not scheme.needs_source and spec.source is not None:
        raise UsageError(f"scheme {scheme.name} takes no `source`")
    if spec.paper and not scheme.paper:
        known = ", ".join(other.name for other in SCHEMES.values() if other.paper)
        raise UsageError(f"scheme {scheme.name} has no variant in the paper: choose one of {known}")
    if spec.labels != scheme.labels if scheme.labels else spec.policy.arrays:
        only = scheme.labels or "labels without material"
        raise UsageError(f"scheme {scheme.name} goes with {only}: `labels` {spec.labels} cannot be")
    if (spec.material is None) == bool(spec.policy.arrays):
        raise UsageError(f"scheme {scheme.name}: `material` is what coins follow from, and nothing else has any")
    if given.keys() != {parameter.name for parameter in scheme.parameters}:
        usual = sorted(parameter.name for parameter in scheme.parameters)
        raise UsageError(f"scheme {scheme.name} has the parameters {usual}, not {sorted(given)!s:.200}")
    for parameter in scheme.parameters:
        parameter.check(given[parameter.name])


def default_rule(spec: Spec, alpha: float = 1e-6) -> Rule:
    """Thresholds for a key, where nothing else is asked for."""
    rate = scheme_of(spec.scheme).rate or default_rate(spec.classes)
    return Rule(alpha, 1e-3, rate, spec.triggers, spec.policy.evidence)


def default_rate(classes: int) -> float:
    """Share of the labels that a copy is held to repeat: a third of what chance leaves (0.4 for 10 classes)."""
    chance = 1 / classes
    return round(chance + (1 - chance) / 3, 4)


def is_made_from(spec: Spec, source: Dataset) -> bool:
    """Whether a data set is, byte for byte, the one that a spec names."""
    return spec.source is not None and source.fingerprint() == spec.source.sha256


def is_self_derived(spec: Spec) -> bool:
    """Whether secret and spec alone regenerate every trigger."""
    return not scheme_of(spec.scheme).needs_source


def split_of(spec: Spec) -> Literal["train", "test"]:
    """Which split of its source a key starts from."""
    return scheme_of(spec.scheme).split


def scheme_of(name: str) -> Scheme:
    """A scheme by its name.

    Raises:
      UsageError: there is none of that name.
    """
    if name not in SCHEMES:
        raise UsageError(f"unknown scheme {name!r}: choose one of {', '.join(SCHEMES)}")
    return SCHEMES[name]
