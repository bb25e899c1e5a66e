"""One battery over all families of networks: what a family's file promises, from its first weights to a verdict."""

import dataclasses
import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from refusals import assert_refused

from wmjax import checkpoint
from wmjax.attacks.families.features import features
from wmjax.data import Dataset, Splits, load
from wmjax.errors import InvalidFile, UsageError
from wmjax.keys import Key, generate, make_spec
from wmjax.models import (
    FAMILIES,
    Config,
    Family,
    Variables,
    accuracy,
    apply,
    default_config,
    init,
    predict,
    read_config,
    stack,
)
from wmjax.models.contract import Training
from wmjax.suspects import open_suspect
from wmjax.suspects.named import networks_named
from wmjax.suspects.network import from_config
from wmjax.suspects.stored import export, load_variables
from wmjax.train import Recipe, default_recipe, embed, fit
from wmjax.verification import verify
from wmjax.zoo.audit import audit

IMAGE = (8, 8, 1)
EACH = pytest.mark.parametrize("name", FAMILIES)


def narrow(name: str, image: tuple[int, int, int] = IMAGE) -> Config:
    """A family's usual network with a quarter of its channels: it compiles and trains in seconds."""
    usual = default_config(name, image, 10)
    thin = lambda sizes: tuple(max(4, size // 4) for size in sizes)  # noqa: E731
    return dataclasses.replace(usual, widths=thin(usual.widths), dense=thin(usual.dense))


class Trained(NamedTuple):
    """A marked network of one family, and the run folder in which it was trained."""

    config: Config
    recipe: Recipe
    run: Path
    variables: Variables


@pytest.fixture(scope="module")
def digits() -> Splits:
    return load("digits")


@pytest.fixture(scope="module")
def key() -> Key:
    made = generate(make_spec("abstract", image=IMAGE, classes=10, triggers=20))
    return dataclasses.replace(made, sealed=b"sealed")


@pytest.fixture(scope="module")
def trained(digits: Splits, key: Key, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Trained]:
    """`trained(name)`: each family is trained once."""

    @functools.cache
    def train(name: str) -> Trained:
        config, run = narrow(name), tmp_path_factory.mktemp(name) / "run"
        epochs = 16 if name == "vit" else 8
        recipe = dataclasses.replace(default_recipe(config), epochs=epochs, key_per_batch=8)
        embed(run, config, recipe, digits, keys=[key])
        return Trained(config, recipe, run, load_variables(str(run))[1])

    return train


@EACH
def test_a_family_is_called_what_it_says_and_has_a_head(name: str) -> None:
    config = narrow(name)
    assert FAMILIES[name].name == config.name == name
    variables = init(config, 0)
    assert np.shape(variables.params["head"]["kernel"])[1] == np.shape(variables.params["head"]["bias"])[0] == 10
    assert features(config, variables, np.zeros((3, *IMAGE), np.uint8)).shape == (
        3,
        np.shape(variables.params["head"]["kernel"])[0],
    )


@EACH
@pytest.mark.parametrize("image", [(8, 8, 1), (32, 32, 3), (9, 7, 2)], ids=str)
def test_a_fresh_network_gives_every_image_logits_of_moderate_size(name: str, image: tuple[int, int, int]) -> None:
    config = narrow(name, image)
    images = np.random.default_rng(0).integers(0, 256, (16, *image), dtype=np.uint8)
    logits, stats = jax.jit(functools.partial(apply, config))(init(config, 0), jnp.asarray(images))
    assert (logits.shape, logits.dtype) == ((16, 10), jnp.float32)
    assert 0.02 < np.std(logits) < 50
    jax.tree.map(np.testing.assert_array_equal, stats, init(config, 0).stats)


@EACH
@jax.numpy_dtype_promotion("standard")  # Flax's norms ask for it
def test_in_bfloat16_it_answers_nearly_the_same(name: str) -> None:
    config, images = narrow(name), jnp.asarray(load("digits").test.images[:8])
    answers = jax.jit(apply, static_argnums=0, static_argnames="precision")  # two programs, not one for each operation
    exact, rounded = (
        answers(config, init(config, 0), images, precision=precision)[0] for precision in ("float32", "bfloat16")
    )
    assert rounded.dtype == jnp.float32
    assert not np.array_equal(exact, rounded)
    np.testing.assert_allclose(rounded, exact, atol=0.1 * float(np.std(exact)))


@EACH
def test_weights_follow_from_the_seed_and_every_kernel_from_chance(name: str) -> None:
    first, again, other = (init(narrow(name), seed) for seed in (3, 3, 4))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    for path, leaf in jax.tree_util.tree_leaves_with_path(first.params):
        assert leaf.dtype == np.float32
        moved = not np.array_equal(leaf, jax.tree_util.tree_leaves(other.params)[_place(first.params, path)])
        assert moved == (leaf.ndim > 1), jax.tree_util.keystr(path)


def _place(tree: Any, path: Any) -> int:
    return [place for place, _ in jax.tree_util.tree_leaves_with_path(tree)].index(path)


@EACH
def test_a_configuration_is_read_back(name: str) -> None:
    config = default_config(name, (32, 32, 3), 10)
    assert read_config(config.to_json()) == config
    assert hash(read_config(config.to_json())) == hash(config)


@EACH
@pytest.mark.parametrize(
    "change",
    [{"image": [8, 8]}, {"widths": []}, {"widths": [0]}, {"dense": [2**21]}, {"parameters": []}, {"classes": None}],
    ids=str,
)
def test_a_strangers_configuration_is_bounded(name: str, change: dict[str, Any]) -> None:
    with pytest.raises(InvalidFile, match="not a model configuration"):
        read_config(narrow(name).to_json() | change)


@EACH
def test_parameters_are_those_that_the_family_declares_within_its_limits(name: str) -> None:
    values, limits = narrow(name).to_json(), FAMILIES[name].parameters
    wrong = [{**values["parameters"], "surplus": 1}]
    for parameter, allowed in limits.items():
        wrong += [values["parameters"] | {parameter: n} for n in (allowed.start - 1, allowed.stop)]
        wrong.append({other: n for other, n in values["parameters"].items() if other != parameter})
    for parameters in wrong:
        with pytest.raises(InvalidFile, match=f"not parameters of a {name}"):
            read_config(values | {"parameters": parameters})


@EACH
def test_a_huge_configuration_takes_no_memory(name: str) -> None:
    config = narrow(name, (1 << 20, 1 << 20, 3))
    huge = dataclasses.replace(config, widths=(1 << 20,) * len(config.widths), dense=(1 << 20,) * len(config.dense))
    with pytest.raises(InvalidFile, match="no network can be built"):
        from_config(read_config(huge.to_json()))


def test_a_family_that_does_not_exist_is_named() -> None:
    with pytest.raises(UsageError, match="unknown `model` 'alexnet': choose one of cnn, vgg"):
        default_config("alexnet", IMAGE, 10)
    with pytest.raises(InvalidFile, match="unknown model 'alexnet'"):
        read_config(narrow("cnn").to_json() | {"name": "alexnet"})


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("vit", {"widths": (18,)}, "4 heads do not share 18 channels"),
        ("vit", {"widths": (8, 8)}, "`widths`"),
        ("vit", {"dense": ()}, "`dense`"),
        ("vit", {"parameters": ()}, "`parameters`"),
        ("vit", {"parameters": 3}, "`parameters`"),
        ("cnn", {"widths": (4, 4, 4, 4)}, "leave nothing of"),
        ("cnn", {"widths": (4.5,)}, "`widths`"),
        ("cnn", {"name": "nope"}, "unknown `model` 'nope'"),
        ("cnn", {"image": (8, 8)}, "`image`"),
        ("cnn", {"image": [8, 8, 1]}, "`image`"),
        ("cnn", {"classes": 0}, "`classes`"),
        ("cnn", {"dense": (0,)}, "`dense`"),
        ("cnn", {"dropout": 1.0}, "`dropout`"),
        ("vgg", {"dropout": "much"}, "`dropout`"),
    ],
)
def test_a_network_that_cannot_be_built_is_refused(name: str, change: dict[str, Any], words: str) -> None:
    data = Dataset(np.zeros((16, *IMAGE), np.uint8), np.zeros(16, np.int32), 10)
    config = dataclasses.replace(narrow(name), **change)
    assert_refused(lambda: fit(config, Recipe(epochs=1, batch=16), data), words, UsageError)
    assert_refused(lambda: init(config, 0), words, UsageError)
    assert_refused(lambda: default_recipe(config), words, UsageError)


def test_images_too_small_for_a_cnn_are_refused_and_passed_over_where_others_are_asked_about() -> None:
    assert_refused(lambda: default_config("cnn", (3, 8, 1), 10), "3x8x1 are too small for a cnn", UsageError)
    assert [network.image for network in networks_named("cnn", [(3, 3, 1), IMAGE], [10])] == [IMAGE]


@EACH
def test_it_learns_digits_and_its_mark_is_a_match(
    trained: Callable[[str], Trained], digits: Splits, key: Key, name: str
) -> None:
    """What the family says trains it well does, at a quarter of its width."""
    network = trained(name)
    assert accuracy(network.config, network.variables, digits.test.images, digits.test.labels) > 0.8
    assert verify(open_suspect(network.run / ".." / network.run.name), key).verdict == "match"


@EACH
def test_resumed_in_mid_run_it_ends_the_same_bit_for_bit(
    trained: Callable[[str], Trained], digits: Splits, key: Key, name: str, tmp_path: Path
) -> None:
    network, half = trained(name), tmp_path / "half"
    steps = sorted(path.name for path in network.run.glob("step-*"))
    shutil.copytree(network.run, half, ignore=lambda folder, names: set(steps[-3:]) & set(names))
    embed(half, network.config, network.recipe, digits, keys=[key], resume=True)
    assert checkpoint.latest(half).name == steps[-1]
    config, variables = load_variables(str(half))
    assert config == network.config
    jax.tree.map(np.testing.assert_array_equal, variables, network.variables)


@EACH
def test_side_by_side_networks_answer_as_each_alone(
    trained: Callable[[str], Trained], digits: Splits, name: str
) -> None:
    network, images = trained(name), digits.test.images[:12]
    both = stack([network.variables, init(network.config, 9)])
    logits = jax.jit(jax.vmap(lambda one: apply(network.config, one, jnp.asarray(images))[0]))(both)
    for number, one in enumerate((network.variables, init(network.config, 9))):
        probabilities = jax.nn.softmax(logits[number])
        np.testing.assert_allclose(probabilities, predict(network.config, one, images), atol=2e-5)


@EACH
def test_an_audit_finds_the_marked_one_among_clean_ones(
    trained: Callable[[str], Trained], key: Key, name: str, tmp_path: Path
) -> None:
    network = trained(name)
    export(network.run, tmp_path / "thief")
    for seed in (1, 2):
        checkpoint.save(
            tmp_path / f"clean{seed}", init(network.config, seed)._asdict(), checkpoint.Metadata(network.config)
        )
    found = audit(tmp_path, {"owner": key})
    assert [finding.model for finding in found if finding.verdict == "match"] == ["thief"]
    assert len(list(found)) == 3


class Linear(nnx.Module):
    """One dense layer on all pixels."""

    def __init__(self, config: Config, rngs: nnx.Rngs):
        self.head = nnx.Linear(int(np.prod(config.image)), config.classes, rngs=rngs)

    def __call__(self, x: jax.Array, keys: jax.Array | None = None) -> jax.Array:
        return self.head(x.reshape(len(x), -1))


def test_a_family_of_ones_own_is_one_record(
    monkeypatch: pytest.MonkeyPatch, digits: Splits, key: Key, tmp_path: Path
) -> None:
    """Nothing else has to know it: it is built, trained, saved, verified and audited by its record alone."""
    family = Family(
        "linear",
        module=Linear,
        usual=lambda image, classes: Config("linear", image, classes, (1,), parameters=(("spare", 3),)),
        training=lambda image: Training(0.02),
        draw=lambda rng, path, shape: np.zeros(shape, np.float32),
        parameters={"spare": range(4)},
    )
    monkeypatch.setitem(FAMILIES, "linear", family)
    config = default_config("linear", IMAGE, 10)
    embed(tmp_path / "run", config, dataclasses.replace(default_recipe(config), epochs=30), digits, keys=[key])
    assert load_variables(str(tmp_path / "run"))[0] == config
    assert verify(open_suspect(tmp_path / "run"), key).verdict == "match"
    assert [finding.verdict for finding in audit(tmp_path, {"owner": key})] == ["match"]


@pytest.mark.parametrize("verb", ["embed", "audit", "pack"])
def test_help_names_every_family(run: Callable[..., tuple[int, str, str]], verb: str) -> None:
    code, out, _ = run(verb, "--help")
    assert code == 0
    assert ", ".join(FAMILIES) in " ".join(out.split())
