"""One battery over all attacks, and what the plain ones do."""

import dataclasses
from collections.abc import Iterator

import jax
import numpy as np
import pytest
from fixtures import VGG

from wmjax.attacks import Attack, Attacked, Stolen, Thief
from wmjax.attacks.contract import Served, answer, by_strength
from wmjax.attacks.families import unlearn
from wmjax.attacks.families.finetune import tune
from wmjax.attacks.families.perturb import perturb
from wmjax.attacks.families.prune import prune
from wmjax.attacks.families.quantise import quantise
from wmjax.attacks.suite import ATTACKS
from wmjax.data import Dataset, load
from wmjax.errors import UsageError
from wmjax.models import Config, Variables, init, one, predict, stack
from wmjax.train import Recipe

CNN = Config("cnn", (8, 8, 1), 10, (5,), (8,))
DROPPING = dataclasses.replace(CNN, dropout=0.25)
SEEDS = [5, 6]


@pytest.fixture(scope="module", autouse=True)
def _few_steps() -> Iterator[None]:
    """Stamps are looked for in a few steps: whether they are found is another test's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unlearn, "STEPS", 3)
        yield


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits").train[:80]


@pytest.fixture(scope="module")
def thief(digits) -> Thief:
    queries = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), dtype=np.uint8)
    return Thief(digits, queries, Recipe(epochs=1, batch=16, learning_rate=0.05), 1)


def stolen(strengths: tuple[float, ...], config: Config = CNN) -> Stolen:
    """Two networks, attacked at one strength: how attacks differ by strength is another test's."""
    return Stolen(config, stack([init(config, 1), init(config, 2)]), [strengths[len(strengths) // 2]] * 2, SEEDS)


def swapped(given: Stolen) -> Stolen:
    """The same networks in the other order."""
    return Stolen(
        given.config,
        jax.tree.map(lambda leaf: leaf[::-1].copy(), given.variables),
        given.strengths[::-1],
        given.seeds[::-1],
    )


def answers(attack: Attack, attacked: Attacked, given: Stolen, thief: Thief, images: np.ndarray) -> list[np.ndarray]:
    """What the servers of all networks say."""
    networks = [
        Served(attacked.config, one(attacked.variables, i), strength, seed)
        for i, (strength, seed) in enumerate(zip(given.strengths, given.seeds, strict=True))
    ]
    return [attack.serve(network, thief, images) for network in networks]


@pytest.mark.parametrize("name", ATTACKS)
def test_contract(name, thief, digits):
    """Pure; a network's fate is its own, even beside one whose weights are no numbers; nothing is changed in place."""
    attack = ATTACKS[name]
    assert attack.name == name
    assert attack.full
    assert attack.attacker
    assert attack.strength
    given = stolen(attack.full, VGG)  # with running averages, and soon compiled
    before = jax.tree.map(np.copy, given.variables)
    attacked = attack.run(given, thief)
    jax.tree.map(np.testing.assert_array_equal, given.variables, before)
    assert all(len(leaf) == 2 and np.isfinite(leaf).all() for leaf in jax.tree.leaves(attacked.variables))
    images = digits.images[:6]
    said = answers(attack, attacked, given, thief, images)
    drawn = zip(given.strengths, given.seeds, strict=True)
    names = [attack.names(Served(attacked.config, attacked.variables, *how)) for how in drawn]
    assert [a.shape for a in said] == [(6, 1 + new.max()) for new in names]
    assert all(len(new) == attacked.config.classes for new in names)
    assert attacked.config.image == VGG.image
    if attacked.kept is not None:
        assert set(attacked.kept) - {-1} == set(range(attacked.config.classes))

    again = swapped(given)
    again.variables.params["head"]["kernel"][0] = np.nan
    other = attack.run(again, thief)
    for first, second in zip(jax.tree.leaves(attacked.variables), jax.tree.leaves(other.variables), strict=True):
        np.testing.assert_array_equal(second[1], first[0])
    said_again = answers(attack, other, again, thief, images)
    np.testing.assert_array_equal(said_again[1], said[0])
    assert said_again[0].shape == said[0].shape


@pytest.mark.parametrize("name", [name for name in ATTACKS if "images" in ATTACKS[name].needs])
def test_without_images(name, thief):
    attack, bare = ATTACKS[name], dataclasses.replace(thief, images=None)
    given = stolen(attack.full)

    def work() -> None:
        answers(attack, attack.run(given, bare), given, bare, np.zeros((1, 8, 8, 1), np.uint8))

    with pytest.raises(UsageError, match="images"):
        work()


def test_by_strength_keeps_the_order():
    seen: list[tuple[float, list[int]]] = []

    def run(stolen: Stolen, strength: float) -> Attacked:
        seen.append((strength, list(stolen.seeds)))
        moved = jax.tree.map(lambda leaf: leaf + np.float32(strength), stolen.variables)
        return Attacked(stolen.config, moved)

    given = Stolen(CNN, stack([init(CNN, i) for i in range(3)]), [2.0, 1.0, 2.0], [7, 8, 9])
    attacked = by_strength(given, run)
    assert seen == [(2.0, [7, 9]), (1.0, [8])]
    for i, strength in enumerate(given.strengths):
        kernel = one(given.variables, i).params["head"]["kernel"]
        np.testing.assert_array_equal(one(attacked.variables, i).params["head"]["kernel"], kernel + strength)


def kernels(variables: Variables) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(variables.params) if leaf.ndim > 1]


def test_prune_takes_the_smallest_of_all():
    variables = init(CNN, 0)
    pruned = prune(variables, 0.5)
    before, after = (np.concatenate([k.ravel() for k in kernels(v)]) for v in (variables, pruned))
    gone = after == 0
    assert abs(gone.mean() - 0.5) < 2e-3
    assert np.abs(before[gone]).max() <= np.abs(before[~gone]).min()
    np.testing.assert_array_equal(after[~gone], before[~gone])
    assert len({round(float((k == 0).mean()), 1) for k in kernels(pruned)}) > 1  # wide layers have smaller weights


def test_prune_by_layer():
    pruned = prune(init(CNN, 0), 0.5, by_layer=True)
    assert all(abs((k == 0).mean() - 0.5) <= 1 / k.size + 1e-6 for k in kernels(pruned))


@pytest.mark.parametrize("name", ["prune-tune", "fine-prune"])
def test_what_was_cut_stays_cut(name, thief):
    """Also where units are dropped in training."""
    given = stolen((0.5,), DROPPING)
    trained = ATTACKS[name].run(given, thief).variables
    heads = trained.params["head"]["kernel"]
    if name == "fine-prune":
        assert [(head == 0).all(axis=1).sum() for head in heads] == [4, 4]  # of eight units
    else:
        cut = prune(one(given.variables, 0), 0.5)
        for before, after in zip(kernels(cut), kernels(one(trained, 0)), strict=True):
            np.testing.assert_array_equal(after[before == 0], 0)
    assert np.abs(heads - given.variables.params["head"]["kernel"]).max() > 1e-4


@pytest.mark.parametrize(("bits", "levels"), [(2, 3), (4, 15), (8, 255)])
def test_quantise(bits, levels):
    variables = init(CNN, 0)
    for before, after in zip(kernels(variables), kernels(quantise(variables, np.float32(bits))), strict=True):
        step = np.abs(before).reshape(-1, before.shape[-1]).max(axis=0) / (levels // 2)
        assert np.abs(after - before).max(axis=tuple(range(before.ndim - 1))) == pytest.approx(step / 2, rel=1)
        assert (np.abs(after - before) <= step / 2 * 1.001).all()
        multiples = after / step
        np.testing.assert_allclose(multiples, np.rint(multiples), atol=1e-3)


def test_half_precision():
    variables = init(CNN, 0)
    for before, after in zip(kernels(variables), kernels(quantise(variables, np.float32(16))), strict=True):
        np.testing.assert_array_equal(after, before.astype(np.float16).astype(np.float32))


def test_weight_noise_and_shift():
    config = Config("cnn", (8, 8, 1), 10, (2,), (64,))  # each kernel has a generator of its own to compile
    variables = init(config, 0)
    for shifted in (False, True):
        moved = perturb(variables, np.float32(0.3), np.int32(1), shifted=shifted)
        before, after = variables.params["dense"][0]["kernel"], np.asarray(moved.params["dense"][0]["kernel"])
        assert np.std(after - before) / np.std(before) == pytest.approx(0.3, rel=0.05)
        assert np.allclose(np.ptp(after - before, axis=0), 0, atol=1e-6) == shifted
    other = perturb(variables, np.float32(0.3), np.int32(2), shifted=True)
    assert any((a != b).any() for a, b in zip(kernels(moved), kernels(other), strict=True))


def test_only_the_last_layer_moves(thief):
    given = stolen((0.01,))
    before = given.variables.params
    tuned, drawn = (ATTACKS[name].run(given, thief).variables.params for name in ("ftll", "rtll"))
    for params in (tuned, drawn):
        jax.tree.map(np.testing.assert_array_equal, params["convs"], before["convs"])
        jax.tree.map(np.testing.assert_array_equal, params["dense"], before["dense"])
    fresh = np.stack([init(CNN, seed).params["head"]["kernel"] for seed in SEEDS])
    for params, start in ((tuned, before["head"]["kernel"]), (drawn, fresh)):
        step = np.abs(params["head"]["kernel"] - start).max()
        assert 1e-4 < step < 0.3 < np.abs(fresh - before["head"]["kernel"]).max()


@pytest.mark.parametrize("name", ["ftll", "rtll"])
def test_running_averages_stay_with_their_layers(name, thief):
    given = stolen((0.01,), VGG)
    attacked = ATTACKS[name].run(given, thief).variables
    assert jax.tree.leaves(attacked.stats)
    jax.tree.map(np.testing.assert_array_equal, attacked.stats, given.variables.stats)
    assert (attacked.params["head"]["kernel"] != given.variables.params["head"]["kernel"]).any()
    moved = ATTACKS["ftal"].run(given, thief).variables.stats
    assert any((a != b).any() for a, b in zip(*map(jax.tree.leaves, (moved, given.variables.stats)), strict=True))


@pytest.mark.parametrize(("name", "count"), [("adversarial", 5), ("overwrite", 3)])
def test_fewer_images_than_a_batch(name, count, thief):
    few = dataclasses.replace(thief, images=thief.images[:count])
    given = stolen(ATTACKS[name].full, VGG)
    attacked = ATTACKS[name].run(given, few).variables
    assert (attacked.params["head"]["kernel"] != given.variables.params["head"]["kernel"]).any()


def test_each_rate_is_its_own(digits):
    """A network's rate is that of `fit_many` at that learning rate, whatever the others' rates."""
    from wmjax.train import fit_many

    variables, recipe = stack([init(VGG, 1), init(VGG, 2)]), Recipe(epochs=1, batch=16)
    tuned = tune(VGG, variables, digits, recipe, SEEDS, [0.01, 0.2])
    for i, rate in enumerate((0.01, 0.2)):
        alone = fit_many(
            VGG,
            dataclasses.replace(recipe, learning_rate=rate),
            digits,
            SEEDS[i : i + 1],
            variables=jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], variables),
        )
        for a, b in zip(jax.tree.leaves(one(tuned, i)), jax.tree.leaves(one(alone, 0)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_a_network_that_diverges_goes_on_alone(digits):
    tuned = tune(CNN, stack([init(CNN, 1), init(CNN, 2)]), digits, Recipe(epochs=1, batch=16), SEEDS, [1e9, 0.01])
    assert not all(np.isfinite(leaf[0]).all() for leaf in jax.tree.leaves(tuned))
    assert all(np.isfinite(leaf[1]).all() for leaf in jax.tree.leaves(tuned))


def test_an_honest_server(digits, thief):
    network = Served(CNN, init(CNN, 1), 0.0, 0)
    np.testing.assert_array_equal(
        answer(network, thief, digits.images[:4]), predict(CNN, network.variables, digits.images[:4])
    )
