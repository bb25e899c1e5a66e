"""Sets of weights: one model's tensors are found whatever surrounds their names, and no two models are mixed."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layouts import SMALL

from wmjax.errors import InvalidFile
from wmjax.suspects import network
from wmjax.suspects.contract import NoWeights
from wmjax.suspects.described import stored_models
from wmjax.suspects.grounds import AskedGround
from wmjax.suspects.left_over import left_over
from wmjax.suspects.matching import Match, fitting
from wmjax.suspects.sets import Fit, misfit, sets_of

PARAMS = {"conv/kernel": (3, 3, 1, 8), "conv/bias": (8,), "bn/scale": (8,), "bn/bias": (8,)}
STATS = {"bn/mean": (8,), "bn/var": (8,)}
NET = {f"params/{name}": shape for name, shape in PARAMS.items()} | {
    f"batch_stats/{name}": shape for name, shape in STATS.items()
}
SHAPES = {name: jax.ShapeDtypeStruct(shape, np.float32) for name, shape in NET.items()}


def stored(*places: str, tensors: Mapping[str, tuple[int, ...]], dtype: str = "float32") -> dict[str, Any]:
    return {f"{place}/{name}".lstrip("/"): (shape, dtype) for place in places for name, shape in tensors.items()}


def both(place: str) -> dict[str, Any]:
    return stored(f"{place}/params", tensors=PARAMS) | stored(f"{place}/batch_stats", tensors=STATS)


def found(tensors: Mapping[str, Any]) -> dict[str, str]:
    """What each set lacks, by its place."""
    return {fit.place: fit.lacks for fit in sets_of(SHAPES, dict(tensors))}


def prefixes(fits: Iterable[Fit], place: str) -> set[str]:
    (fit,) = (fit for fit in fits if fit.place == place)
    return {name.rpartition("/")[0].rpartition("/")[0] for name in fit.names.values()}


@given(st.permutations(["model", "params", "state"]), st.integers(0, 3), st.sampled_from("./"), st.booleans())
def test_names_are_matched_whatever_surrounds_them(wrappers, count, join, value):
    made = network.from_config(SMALL)
    tensors = {}
    for name, leaf in made.shapes.items():
        parts = [*wrappers[:count], *name.split("/")[1:], *(["value"] if value else [])]
        tensors[join.join(parts)] = (leaf.shape, "bfloat16")
    ((_, fit, name),) = fitting(made, tensors)
    assert name == ""
    assert fit.names.keys() == made.shapes.keys()
    assert sorted(fit.names.values()) == sorted(tensors)
    broken = dict(tensors)
    broken[next(iter(broken))] = ((1, 2, 3), "float32")
    with pytest.raises(InvalidFile, match=r"1 is of another shape \(.* is of shape \[1, 2, 3\], not "):
        fitting(made, broken)


@pytest.mark.parametrize(
    ("tensors", "places"),
    [
        (both("") | both("ema"), ["params", "ema"]),
        (both("teacher") | both("student"), ["teacher", "student"]),
        (both("best/state") | both("last/state"), ["best/state", "last/state"]),
        (both("models/0") | both("models/1"), ["models/0", "models/1"]),
        (both("") | stored("ema_params", tensors=PARAMS), ["params", "ema_params"]),
        (both("state") | stored("ema_params", tensors=PARAMS), ["state", "ema_params"]),
        (stored("params", "ema", tensors=PARAMS) | stored("model_state/batch_stats", tensors=STATS), ["params", "ema"]),
        (stored("params/fast", "params/slow", tensors=PARAMS) | stored("batch_stats", tensors=STATS),
         ["params/fast", "params/slow"]),
        (both("optimizer/target") | stored("optimizer/state/mu/params", tensors=PARAMS), ["optimizer/target"]),
        (both("") | stored("opt_state/0/mu/params", "opt_state/0/nu/params", "opt/last", tensors=PARAMS), ["params"]),
        (both("") | stored("opt_state/1/ema", "opt_state/0/mu", tensors=PARAMS), ["params", "opt_state/1/ema"]),
        (stored("params", tensors=PARAMS) | stored("rest", tensors=STATS), ["params"]),
        (stored("", tensors=PARAMS | STATS) | stored("ema", tensors=PARAMS | STATS), [".", "ema"]),
        (stored("params/model", tensors=PARAMS) | stored("batch_stats/model", tensors=STATS), ["params/model"]),
    ],
)  # fmt: skip
def test_every_set_is_found(tensors, places):
    assert sorted(found(tensors).items()) == sorted((place, "") for place in places)


@pytest.mark.parametrize("place", ["mu", "momentum", "optimizer/last_params", "opt_state/0/mu"])
def test_what_is_called_as_an_optimisers_is_asked_or_told(place):
    """An optimiser keeps no statistics of batches: what has them is a model.

    For all else the names are believed of what lies in an optimiser's state; nothing hides by a moment's name alone.
    """
    assert found(both("") | both(place)) == {"params": "", place: ""}
    assert found(both("") | stored(place, tensors=PARAMS | STATS)) == {"params": "", place: ""}
    plain = {name: leaf for name, leaf in SHAPES.items() if name.startswith("params/")}
    for shapes in (plain, SHAPES):
        fit, *others = sets_of(shapes, both("") | stored(f"{place}/params", tensors=PARAMS))
        alone = shapes is plain and "/" not in place
        assert [other.place for other in others] == ([place] if alone else [])
        assert (fit.names.keys(), fit.passed) == (shapes.keys(), 0 if alone else 1)
        assert not any(name.startswith(place) for name in fit.names.values())
    (fit,) = sets_of(SHAPES, both("") | stored(f"{place}/other", tensors=PARAMS | {"conv/kernel": (8,)}))
    assert fit.passed == 0


def test_no_set_is_mixed_with_another():
    """A set takes what lies beside it, and what is called as it is; a part of one is told and completed by nobody."""
    pairs = {**both(""), **stored("params_ema", tensors=PARAMS), **stored("batch_stats_ema", tensors=STATS)}
    fits = {fit.place: fit for fit in sets_of(SHAPES, pairs)}
    assert {fits["params"].names[f"batch_stats/{name}"] for name in STATS} == {f"batch_stats/{name}" for name in STATS}
    assert {fits["params_ema"].names[f"batch_stats/{name}"] for name in STATS} == {
        f"batch_stats_ema/{name}" for name in STATS
    }
    assert prefixes(sets_of(SHAPES, both("best") | both("last")), "best") == {"best/params", "best/batch_stats"}
    last = found(both("state") | stored("params", tensors=PARAMS))
    assert last == {"state": "", "params": "2 of its 6 tensors are not with it: first batch_stats/bn/mean"}
    assert found(both("model") | stored("best", tensors=PARAMS))["best"] != ""
    assert found(stored("params", tensors=PARAMS) | stored("a", "b", tensors=STATS)) == {}
    assert found(stored("opt_state/0/mu/params", tensors=PARAMS) | stored("batch_stats", tensors=STATS)) == {}


def test_an_average_with_statistics_of_another_is_known_as_such():
    """Its holder may have its own found anew: asked with the others, a copy may look like a stranger."""
    lone, own = stored("ema_params", tensors=PARAMS), stored("ema_batch_stats", tensors=STATS)
    for more, borrowed in ((lone, True), (lone | own, False)):
        assert {fit.place: fit.borrowed for fit in sets_of(SHAPES, both("") | more)} == {
            "params": False,
            "ema_params": borrowed,
        }
    match = Match(network.from_config(SMALL), Fit(".", {}, borrowed=True), "")
    path = Path("weights")
    (found,) = stored_models(path, path, [match], lambda names: NoWeights(), {})
    assert found.network.note == AskedGround.IN_PART


def test_a_file_of_very_many_places_is_looked_at_once():
    """Sixty million pairs of places, each of which might complete the other, are not compared."""
    many = [f"s{number}" for number in range(8000)]
    tensors = stored(*(f"{place}/params" for place in many), tensors=PARAMS)
    assert sets_of(SHAPES, tensors | stored(*(f"b{place}/batch_stats" for place in many), tensors=STATS)) == []
    assert len(sets_of(SHAPES, tensors | stored(*(f"{place}/params" for place in many), tensors=STATS))) == 8000


def test_replicas_are_told_by_a_leading_axis():
    stacked = {name: ((4, *shape), "float32") for name, (shape, _) in both("state").items()}
    (fit,) = sets_of(SHAPES, stacked)
    assert (fit.place, fit.replicas) == ("state", 4)
    mixed = stacked | stored("state/batch_stats", tensors=STATS)
    assert sets_of(SHAPES, mixed) == []


def test_what_does_not_fit_is_told_truly():
    tensors = both("")
    assert (
        "none of them whole" in misfit(SHAPES, stored("params", tensors=PARAMS) | stored("a", "b", tensors=STATS)).text
    )
    del tensors["params/conv/kernel"]
    tensors["batch_stats/bn/mean"] = ((8,), "complex64")
    tensors["params/bn/scale"] = ((9,), "float32")
    found = misfit(SHAPES, tensors)
    assert found.tensors == 3
    assert found.text == (
        "of its 6 tensors 1 is of another shape (params/bn/scale is of shape [9], not [8]), 1 is of another type "
        "(batch_stats/bn/mean is of type complex64, not float32), 1 is not there (first params/conv/kernel)"
    )


def test_a_second_tensor_of_the_same_name_is_of_another_set():
    twice = {name.replace("/", join): (shape, "float32") for name, shape in NET.items() for join in "./"}
    fits = sets_of(SHAPES, twice)
    assert {fit.place: fit.lacks for fit in fits} == {"params": "", "params/again-2": ""}
    assert not set(fits[0].names.values()) & set(fits[1].names.values())


@pytest.mark.parametrize("name", ["params/conv/lora_A", "params/conv/lora_A/weight", "params/conv/kernel_scale"])
def test_weights_that_others_change_are_not_asked_without_these(name):
    (fit,) = sets_of(SHAPES, stored("", tensors=NET) | {name: ((8, 2), "float32")})
    assert "another network is meant" in fit.lacks
    (fit,) = sets_of(SHAPES, stored("", tensors=NET) | {name.replace("conv", "pooler"): ((8, 2), "float32")})
    assert fit.lacks == ""


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "told"),
    [
        ("shadow/0", (9, 8), "float32", True),
        ("shadow/0", (9, 8), "int8", True),  # quantised
        ("shadow/0", (9,), "float32", False),
        ("shadow/0", (8,), "float32", True),  # a bias
        ("shadow/0", (), "float32", False),
        ("params/conv/difference", (2,), "float32", True),
        ("params/conv/steps", (2,), "int32", False),
        ("lora/conv/lora_A", (2,), "float32", True),
        ("adapters/conv/down", (2,), "float32", True),
        ("other/conv/bias", (8,), "float32", True),
        ("other/conv/bias", (7,), "float32", False),
        ("other", (4, 10), "float32", True),  # another head of ten classes
        ("other", (10, 4, 1, 1), "float16", True),
        ("other", (4, 9), "float32", False),
        ("other", (8, 1, 3, 3), "float32", True),  # a kernel, turned round
        ("opt_state/0/shadow/0", (9, 8), "float32", False),
        ("opt_state/0/ema/0", (9, 8), "float32", True),
    ],
)
def test_what_may_be_another_model_or_change_one_is_told(name, shape, dtype, told):
    tensors = stored("", tensors=NET)
    assert bool(left_over(sets_of(SHAPES, tensors), tensors | {name: (shape, dtype)}, {10})) is told
