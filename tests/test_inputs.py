"""Servers that change or refuse what they are asked."""

import jax
import numpy as np
import pytest
from fixtures import CNN
from scipy import special
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import oas

from wmjax.attacks.contract import Served, Stolen, Thief
from wmjax.attacks.families import evade, inputs
from wmjax.attacks.families.features import features
from wmjax.data import Dataset, load
from wmjax.errors import UsageError
from wmjax.models import Config, Variables, init, one, predict, stack
from wmjax.models.predict import logits
from wmjax.train import Recipe, fit_many

SERVERS = {attack.name: attack for attack in inputs.ATTACKS + evade.ATTACKS}
CHANGES = [
    (inputs.jpeg, (90, 10)),
    (inputs.noise, (4, 32)),
    (inputs.smooth_gaussian, (0.5, 1.5)),
    (inputs.smooth_median, (3, 5)),
    (inputs.squeeze, (5, 1)),
    (inputs.resize, (1.5, 4)),
]
UNFIT = ("flip", "smooth-median", "resize")  # for digits of 8x8 pixels
NETWORKS = [CNN, Config("vgg", (8, 8, 3), 4, (4, 6)), Config("resnet18", (8, 8, 1), 3, (4,))]


def pictures(count: int, image: tuple[int, int, int] = (8, 8, 1)) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, *image), np.uint8)


@pytest.mark.parametrize("config", NETWORKS, ids=lambda config: config.name)
def test_the_head_maps_features_to_logits(config):
    variables = init(config, 0)
    bias = np.arange(config.classes, dtype=np.float32)
    variables.params["head"]["bias"] = bias
    images = pictures(7, config.image)
    found = features(config, variables, images)
    kernel = variables.params["head"]["kernel"]
    assert found.shape == (7, len(kernel))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found @ kernel + bias, logits(config, variables, images), rtol=1e-5, atol=1e-5)
    assert features(config, variables, images[:0]).shape == (0, len(kernel))
    assert variables.params["head"]["bias"] is bias


def test_logits_are_what_predict_takes_the_softmax_of():
    variables, images = init(CNN, 0), pictures(7)
    expected = special.softmax(logits(CNN, variables, images), axis=1)
    np.testing.assert_allclose(predict(CNN, variables, images), expected, rtol=1e-5, atol=1e-7)


@pytest.fixture(scope="module")
def digits() -> tuple[Dataset, Dataset]:
    """Images of the owner, and others, which the thief may have."""
    data = load("digits").train
    data = data[np.random.default_rng(0).permutation(len(data))]
    return data[:300], data[300:]


@pytest.fixture(scope="module")
def trained(digits) -> Variables:
    recipe = Recipe(epochs=10, batch=20, learning_rate=0.05)
    return one(fit_many(CNN, recipe, digits[0], [1]), 0)


def thief(images: Dataset | None = None) -> Thief:
    return Thief(images, None, Recipe(epochs=1), 1)


@pytest.mark.parametrize(("change", "strengths"), CHANGES, ids=lambda value: getattr(value, "__name__", ""))
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_change_keeps_an_image_and_grows_with_its_strength(change, strengths, channels):
    """Also pictures that are not square, and those that Pillow does not know."""
    rows, columns = np.mgrid[:12, :16]
    waves = 127 + 100 * np.sin(rows / 3)[..., None] * np.cos(columns / 4)[..., None] * np.array([1, -1, 0.5])
    image = (waves + np.random.default_rng(0).normal(0, 5, waves.shape)).astype(np.uint8)[..., :channels]
    before = image.copy()
    weak, strong = (inputs.each(change, image[None], strength, 5)[0] for strength in strengths)
    assert weak.shape == image.shape
    assert weak.dtype == np.uint8
    moved = [np.abs(changed.astype(int) - image).mean() for changed in (weak, strong)]
    assert 0 < moved[0] < moved[1] < 100
    np.testing.assert_array_equal(image, before)


def test_changes_are_what_they_say():
    image = pictures(1, (6, 6, 1))[0]
    assert inputs.flip(image, 1, 0).tolist() == image[:, ::-1].tolist()
    assert np.unique(inputs.squeeze(image, 2, 0)).tolist() == [0, 85, 170, 255]
    assert inputs.smooth_median(image, 3, 0)[2, 3, 0] == np.median(image[1:4, 2:5])
    grey = np.full((64, 64, 1), 100, np.uint8)
    assert np.std(inputs.noise(grey, 8, 0).astype(float)) == pytest.approx(8, rel=0.05)
    step = np.repeat(np.arange(2, dtype=np.uint8) * 200, 8)[None, :, None].repeat(16, axis=0)
    for soft in (inputs.smooth_gaussian(step, 1, 0), inputs.resize(step, 2, 0)):
        assert len(np.unique(soft)) > 2
        assert (soft[:, 0] == 0).all()
        assert (soft[:, -1] == 200).all()


@pytest.mark.parametrize(("change", "strength"), [(inputs.flip, 1), (inputs.squeeze, 3), (inputs.squeeze, 8)])
def test_many_images_at_once(change, strength, trained, monkeypatch):
    images = np.arange(5 * 64, dtype=np.uint8).reshape(5, 8, 8, 1)  # every grey level
    expected = np.stack([change(image, strength, 0) for image in images])
    monkeypatch.setattr(inputs, "each", None)
    np.testing.assert_array_equal(change(images, strength, 0), expected)
    served = SERVERS[change.__name__].serve(Served(CNN, trained, strength, 0), thief(), images)
    np.testing.assert_array_equal(served, predict(CNN, trained, expected))


def test_noise_follows_from_seed_and_image():
    """A thief who answers the same question differently gives himself away."""
    images = pictures(4)
    noisy = inputs.each(inputs.noise, images, 16, 3)
    np.testing.assert_array_equal(noisy, inputs.each(inputs.noise, images[::-1], 16, 3)[::-1])
    assert (noisy != inputs.each(inputs.noise, images, 16, 4)).mean() > 0.5
    added = noisy.astype(int) - images
    assert np.corrcoef(added[0].ravel(), added[1].ravel())[0, 1] < 0.5


def test_copies_are_shifted_apart():
    image = np.zeros((16, 20, 1), np.uint8)
    image[4, 4] = 255
    copies = [inputs.jitter(image, 0, 0, copy) for copy in range(20)]
    places = {tuple(np.argwhere(copy)[0][:2].tolist()) for copy in copies}
    assert len(places) > 4
    assert places <= {(row, column) for row in (3, 4, 5) for column in (3, 4, 5)}


@pytest.mark.parametrize("name", list(SERVERS))
def test_a_server_answers_alike_and_leaves_the_weights(name, trained, digits):
    attack = SERVERS[name]
    stolen = Stolen(CNN, stack([trained]), [attack.quick[0]], [3])
    assert attack.run(stolen, thief()).variables is stolen.variables
    images = np.concatenate([digits[1].images[600:640], pictures(40)])
    network = Served(CNN, trained, attack.quick[0], 3)
    answers = attack.serve(network, thief(digits[1][:600]), images)
    again = attack.serve(network, thief(digits[1][:600]), images[30:])
    assert answers.shape == (80, 10)
    np.testing.assert_allclose(again, answers[30:], rtol=1e-4, atol=1e-6)
    answered = ~np.isnan(answers).any(axis=1)
    np.testing.assert_allclose(answers[answered].sum(axis=1), 1, rtol=1e-4)
    assert answered[:40].mean() > 0.7
    assert np.abs(answers - predict(CNN, trained, images))[answered].max() > 1e-3 or name == "evade"


@pytest.mark.parametrize("name", [name for name in SERVERS if name not in UNFIT])
def test_honest_questions_are_served(name, trained, digits):
    """A server that errs is of no use to the thief: the weakest form of each costs little."""
    attack, asked = SERVERS[name], digits[1][600:]
    right = predict(CNN, trained, asked.images).argmax(axis=1) == asked.labels
    answers = attack.serve(Served(CNN, trained, attack.full[0], 3), thief(digits[1][:600]), asked.images)
    assert right.mean() > 0.8
    assert (answers.argmax(axis=1) == asked.labels).mean() > right.mean() - 0.05


@pytest.mark.parametrize("name", ["evade", "evade-random"])
@pytest.mark.parametrize("share", [0.05, 0.2])
def test_odd_questions_are_told_from_honest_ones(name, share, trained, digits):
    own, honest = digits[1][:600], digits[1].images[600:]
    odd = np.where(pictures(200) > 127, np.uint8(255), np.uint8(0))
    images = np.concatenate([honest, odd])
    answers = SERVERS[name].serve(Served(CNN, trained, share, 3), thief(own), images)
    changed = ~(answers == predict(CNN, trained, images)).all(axis=1)
    assert share / 2 < changed[: len(honest)].mean() < 2 * share
    assert changed[len(honest) :].mean() > 0.5
    assert np.isnan(answers[changed]).all() == (name == "evade")


def test_misleading_answers_follow_from_image_and_seed(trained, digits):
    def ask(seed: int) -> np.ndarray:
        network = Served(CNN, trained, 0.95, seed)
        return SERVERS["evade-random"].serve(network, thief(digits[1][:600]), pictures(200))

    first, other = ask(3), ask(4)
    np.testing.assert_allclose(first.sum(axis=1), 1, rtol=1e-5)
    assert (first.argmax(axis=1) != other.argmax(axis=1)).mean() > 0.6
    assert np.bincount(first.argmax(axis=1), minlength=10).max() < 60


@pytest.mark.parametrize(("count", "size"), [(200, 5), (12, 30)], ids=["many", "few"])
def test_distances_are_those_of_the_definition(count, size):
    rng = np.random.default_rng(size)
    labels = rng.integers(0, 3, count)
    seen = (rng.normal(size=(count, size)) @ rng.normal(size=(size, size)) + labels[:, None]).astype(np.float32)
    normal = evade.fit_normal(seen, labels, 4)
    means = np.stack([*(seen[labels == c].mean(axis=0) for c in range(3)), seen.mean(axis=0)])
    covariance, _ = oas(seen.astype(np.float64) - means[labels], assume_centered=True)
    asked, predicted = rng.normal(size=(6, size)).astype(np.float32), np.array([0, 1, 2, 3, 0, 1])
    expected = [mahalanobis(x, means[c], np.linalg.inv(covariance)) for x, c in zip(asked, predicted, strict=True)]
    np.testing.assert_allclose(evade.distances(normal, asked, predicted), expected, rtol=1e-4)


def test_features_that_never_vary_do_not_stop_the_server():
    normal = evade.fit_normal(np.ones((6, 3), np.float32), np.zeros(6, np.int32), 2)
    found = evade.distances(normal, np.array([[1, 1, 1], [1, 3, 1], [np.inf, 1, 1]], np.float32), np.array([0, 1, 0]))
    assert found[:2].tolist() == [0, 2]
    assert not found[2] < np.inf


@pytest.mark.parametrize("name", ["evade", "evade-random"])
def test_a_ruined_network_answers_as_it_does(name, digits):
    ruined = jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), init(CNN, 0))
    answers = SERVERS[name].serve(Served(CNN, ruined, 0.05, 3), thief(digits[1][:50]), pictures(5))
    assert np.isnan(answers).all()


@pytest.mark.parametrize("count", [None, 1])
def test_a_thief_needs_images_to_tell_odd_ones(count, trained, digits):
    own = None if count is None else digits[1][:count]
    with pytest.raises(UsageError, match="images"):
        SERVERS["evade"].serve(Served(CNN, trained, 0.05, 3), thief(own), pictures(5))
