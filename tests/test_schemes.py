"""Every scheme: reproducible bytes, frozen vectors, a naive re-implementation from the docstrings, and bad specs."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from naive_schemes import (
    DEFAULT_TEXT,
    NAIVE,
    naive_abstract,
    naive_content,
    naive_pattern,
    naive_stamp,
    naive_unrelated,
    number,
    reading,
)
from refusals import assert_one_line
from scipy.stats import chisquare

import wmjax
from wmjax.data import Dataset, load
from wmjax.errors import InvalidFile, UsageError
from wmjax.keys import POLICIES, Commitment, Key, Paper, derive_key, generate, make_spec
from wmjax.keys.commitment import leaves
from wmjax.keys.schemes import SCHEMES
from wmjax.keys.specify import default_rule, is_self_derived

SECRET, OTHER = bytes(range(32)), bytes(32)
CREATED = "2026-01-01T00:00:00+00:00"
FEW, MANY = 8, 20
FEW_PERCENT, MANY_PERCENT = 20, 40
SOURCE_CLASS, TARGET_CLASS = 3, 7

PAPER_SCHEMES = ["content", "noise", "unrelated"]
PLAIN = [name for name, scheme in SCHEMES.items() if scheme.labels is None]  # those with material have their own tests
VARIANTS = [
    *[(scheme, policy) for scheme in PLAIN for policy in POLICIES if not POLICIES[policy].arrays],
    *[(scheme, "paper") for scheme in PAPER_SCHEMES],
]

# Never to change: every key ever made depends on them.
VECTORS = json.loads((Path(wmjax.__file__).parent / "evidence" / "vectors" / "keys.v1.json").read_text())["keys"]


def colour() -> Dataset:
    rng = np.random.default_rng(7)
    labels = rng.integers(10, size=300, dtype=np.int32)
    return Dataset(rng.integers(256, size=(300, 32, 32, 3), dtype=np.uint8), labels, 10)


@pytest.fixture(scope="module", params=["digits", "colour"])
def data(request, digits) -> Dataset:
    return digits if request.param == "digits" else colour()


def make(scheme, data, *, secret=SECRET, triggers=FEW, labels="random", paper=None, image=None, **parameters) -> Key:
    source = ("any", data) if SCHEMES[scheme].needs_source else None
    spec = make_spec(
        scheme,
        image=image or data.image,
        classes=10,
        triggers=triggers,
        labels=labels,
        source=source,
        paper=paper,
        **parameters,
    )
    return derive_key(secret, spec, default_rule(spec), data if source else None, CREATED)


def make_paper(scheme, data, *, percent=FEW_PERCENT, secret=SECRET) -> Key:
    return make(scheme, data, secret=secret, labels="fixed", paper=Paper(SOURCE_CLASS, TARGET_CLASS, percent))


@pytest.fixture(scope="module", params=VARIANTS, ids="-".join)
def variant(request, data) -> Callable[..., Key]:
    """Makes a key of one scheme, policy and shape: `variant(secret=..., many=...)`."""
    scheme, policy = request.param

    def build(secret: bytes = SECRET, many: bool = False) -> Key:
        if policy == "paper":
            return make_paper(scheme, data, secret=secret, percent=MANY_PERCENT if many else FEW_PERCENT)
        return make(scheme, data, secret=secret, labels=policy, triggers=MANY if many else FEW)

    return build


def pictures(key: Key) -> list[bytes]:
    return [image.tobytes() for image in key.images]


def sha256(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


# The battery


def test_images_and_labels_have_shape_type_and_range(variant, data):
    key = variant()
    assert key.images.shape == (key.spec.triggers, *data.image)
    assert key.images.dtype == np.uint8
    assert key.labels.shape == (key.spec.triggers,)
    assert key.labels.dtype == np.int32
    assert 0 <= key.labels.min() <= key.labels.max() < 10


def test_a_secret_gives_the_same_key_every_time(variant):
    first, second = variant(), variant()
    assert pictures(first) == pictures(second)
    assert first.labels.tolist() == second.labels.tolist()
    assert first.commitment == second.commitment


def test_another_secret_gives_another_key(variant):
    key, other = variant(), variant(secret=OTHER)
    assert pictures(key) != pictures(other)
    assert key.commitment.root != other.commitment.root


def test_a_shorter_key_is_the_prefix_of_a_longer_one(variant):
    short, long = variant(), variant(many=True)
    count = len(short.labels)
    assert count < len(long.labels)
    assert pictures(short) == pictures(long)[:count]
    assert short.labels.tolist() == long.labels.tolist()[:count]


def test_no_two_triggers_are_alike(variant):
    key = variant(many=True)
    assert len(set(pictures(key))) == len(key.labels)


def test_only_random_labels_differ_within_a_key(variant):
    key = variant(many=True)
    assert (len(set(key.labels.tolist())) == 1) == (key.spec.labels == "fixed")


def test_the_source_is_left_as_it_was(variant, data):
    before = sha256(data.images)
    variant()
    assert sha256(data.images) == before


# Labels


def secrets_of(count: int) -> Iterator[bytes]:
    return (hashlib.sha256(b"%d" % i).digest() for i in range(count))


@pytest.mark.parametrize("classes", [2, 10, 17])
def test_random_labels_are_uniform_over_keys(classes):
    spec = make_spec("abstract", image=(8, 8, 1), classes=classes, triggers=100)
    labels = np.stack([spec.policy.draw(secret, spec, range(spec.triggers)) for secret in secrets_of(100)])
    assert chisquare(np.bincount(labels.ravel(), minlength=classes)).pvalue > 6e-5
    assert chisquare(np.bincount(labels[:, 0] * classes + labels[:, 1], minlength=classes**2)).pvalue > 6e-5


def test_the_fixed_label_is_uniform_over_keys():
    spec = make_spec("abstract", image=(8, 8, 1), classes=10, triggers=1, labels="fixed")
    targets = [int(spec.policy.draw(secret, spec, range(spec.triggers))[0]) for secret in secrets_of(2000)]
    assert chisquare(np.bincount(targets, minlength=10)).pvalue > 6e-5


# Frozen vectors


def named(vector: dict) -> str:
    spec = vector["commitment"]["spec"]
    return f"{spec['scheme']}-{'paper' if spec['paper'] else spec['labels']}"


@pytest.mark.parametrize("vector", VECTORS, ids=named)
def test_keys_are_frozen_to_the_last_byte_of_their_commitments(vector, digits):
    frozen = Commitment.from_json(vector["commitment"])
    source = digits if frozen.spec.source else None
    key = derive_key(bytes.fromhex(vector["secret"]), frozen.spec, frozen.rule, source, frozen.created)
    assert sha256(key.images) == vector["images_sha256"]
    assert key.labels.tolist() == vector["labels"]
    assert leaves(key.secret, key.images, key.labels)[0].entry.decode() == vector["first_leaf"]
    assert key.commitment == frozen
    assert key.commitment.id == vector["commitment"]["id"]


def test_every_scheme_policy_and_paper_variant_has_a_frozen_key():
    assert set(map(named, VECTORS)) == {"-".join(variant) for variant in VARIANTS}


# The written standard, anew: `naive_schemes` follows the docstrings alone


@pytest.mark.parametrize("secret", [SECRET, OTHER], ids=["counting", "zero"])
@pytest.mark.parametrize("scheme", PLAIN)
def test_the_docstrings_suffice_to_make_a_key(scheme, data, secret):
    assert make(scheme, data, secret=secret, triggers=3).images.tolist() == NAIVE[scheme](secret, data, 3)


@pytest.mark.parametrize("image", [(5, 12, 2), (1, 7, 1), (70, 3, 1)])
def test_the_docstrings_suffice_for_clouds_of_any_shape(image):
    blank = Dataset(np.zeros((1, *image), np.uint8), np.zeros(1, np.int32), 10)
    assert make("abstract", blank, triggers=2).images.tolist() == naive_abstract(SECRET, blank, 2)


def test_the_docstrings_suffice_for_a_larger_text():
    data = colour()
    assert make("content", data, text="SET", scale=2).images.tolist() == naive_content(SECRET, data, FEW, "SET", 2)


@pytest.mark.parametrize("image", [(32, 32, 3), (5, 11, 1), (3, 20, 1)])
def test_the_docstrings_suffice_to_resize_unrelated_images(data, image):
    if data.image[2] == 3 == image[2]:
        image = (20, 7, 3)
    assert make("unrelated", data, image=image).images.tolist() == naive_unrelated(SECRET, data, FEW, image)


def test_the_docstrings_suffice_to_resize_oblong_images():
    data = colour()
    oblong = Dataset(data.images[:, :9, :5], data.labels, 10)
    for image in ((7, 16, 3), (16, 7, 1)):
        expected = naive_unrelated(SECRET, oblong, FEW, image)
        assert make("unrelated", oblong, image=image).images.tolist() == expected


@pytest.mark.parametrize("scheme", PLAIN)
def test_the_docstrings_suffice_for_oblong_images(scheme):
    data = colour()
    oblong = Dataset(data.images[:, :6, :11, :2], data.labels, 10)
    more = {"text": "TE", "scale": 1} if scheme == "content" else {}
    naive = naive_content(SECRET, oblong, 3, "TE") if more else NAIVE[scheme](SECRET, oblong, 3)
    assert make(scheme, oblong, triggers=3, **more).images.tolist() == naive


def test_the_docstrings_suffice_for_labels(digits):
    expected = [number(reading(SECRET, "label", i), 10) for i in range(FEW)]
    assert make("blend", digits).labels.tolist() == expected
    assert make("blend", digits, labels="fixed").labels.tolist() == [number(reading(SECRET, "target", 0), 10)] * FEW


# The paper's variants


def known_pixels(scheme: str, key: Key) -> tuple[np.ndarray, np.ndarray]:
    """The triggers with their mark undone, and where that is possible."""
    undone = key.images.astype(np.int64)
    if scheme == "content":
        known = np.ones(undone.shape, bool)
        pixels, ink = naive_stamp(SECRET, key.spec.image, DEFAULT_TEXT[key.spec.image])
        for y, x in pixels:
            known[:, y, x] = False
            assert (key.images[:, y, x] == ink).all()
        return undone, known
    if scheme == "noise":
        return undone - np.array(naive_pattern(SECRET, key.spec.image)), (undone > 0) & (undone < 255)
    return undone, np.ones(undone.shape, bool)


@pytest.mark.parametrize("scheme", PAPER_SCHEMES)
def test_paper_triggers_are_marked_images_of_the_source_class(scheme, data):
    key = make_paper(scheme, data, percent=MANY_PERCENT)
    undone, known = known_pixels(scheme, key)
    assert known.mean() > 0.2
    origins = set()
    for image, fixed in zip(undone, known, strict=True):
        matching = np.flatnonzero(((data.images == image) | ~fixed).all(axis=(1, 2, 3)))
        assert data.labels[matching].tolist() == [SOURCE_CLASS]
        origins.add(int(matching[0]))
    assert len(origins) == key.spec.triggers


@pytest.mark.parametrize("percent", [1, 33, 100])
@pytest.mark.parametrize("scheme", PAPER_SCHEMES)
def test_paper_takes_its_share_of_the_source_class(scheme, percent, digits):
    key = make_paper(scheme, digits, percent=percent)
    assert len(key.images) == int(np.sum(digits.labels == SOURCE_CLASS)) * percent // 100
    assert set(key.labels.tolist()) == {TARGET_CLASS}


def test_only_abstract_needs_no_data():
    specs = {name: make(name, colour()).spec for name in PLAIN}
    assert [name for name, spec in specs.items() if is_self_derived(spec)] == ["abstract"]
    assert [name for name, spec in specs.items() if spec.source is None] == ["abstract"]


# Bad specs


def one_class(data: Dataset) -> Dataset:
    return data[data.labels == 1]


def sourced(data, scheme="content", **changes):
    given = {"image": data.image, "classes": 10, "triggers": FEW, "source": ("any", data), **changes}
    return make_spec(scheme, **given)


@pytest.mark.parametrize("scheme", ["abstract", "content"])
def test_an_image_given_as_a_list_is_the_same_spec(scheme):
    data = load("digits").train[:100]
    source = ("digits", data) if SCHEMES[scheme].needs_source else None
    one, other = (make_spec(scheme, image=shape, classes=10, source=source) for shape in ([8, 8, 1], (8, 8, 1)))
    assert one.image == (8, 8, 1)
    assert (one, hash(one)) == (other, hash(other))


BAD_SPECS = {
    "unknown scheme": lambda d: make_spec("nothing", image=d.image, classes=10, triggers=4),
    "unknown parameter": lambda d: sourced(d, sigma=3),
    "unknown parameter of a scheme without any": lambda d: make("abstract", d, text="A"),
    "missing source": lambda d: sourced(d, source=None),
    "missing source of blend": lambda d: sourced(d, "blend", source=None),
    "source not wanted": lambda d: sourced(d, "abstract"),
    "source of another shape": lambda d: sourced(d, image=(9, 8, 1)),
    "source of another shape for blend": lambda d: sourced(d, "blend", image=(8, 8, 3)),
    "source images missing": lambda d: generate(sourced(d)),
    "too few images": lambda d: make("noise", d, triggers=len(d) + 1),
    "text too long": lambda d: make("content", d, text="TEST"),
    "text too large": lambda d: make("content", d, text="T", scale=3),
    "unknown letters": lambda d: make("content", d, text="é"),
    "lower case": lambda d: make("content", d, text="te"),
    "no letters": lambda d: make("content", d, text=""),
    "one class for blend": lambda d: make("blend", one_class(d)),
    "channels that cannot be": lambda d: make("unrelated", colour(), image=(8, 8, 2)),
    "paper for abstract": lambda d: make_paper("abstract", d),
    "paper for blend": lambda d: make_paper("blend", d),
    "paper with random labels": lambda d: sourced(d, labels="random", paper=Paper(1, 2, 10)),
    "paper with a target out of range": lambda d: sourced(d, labels="fixed", paper=Paper(1, 10, 10)),
    "paper with an empty share": lambda d: sourced(d, labels="fixed", paper=Paper(1, 2, 0)),
    "paper with too large a share": lambda d: sourced(d, labels="fixed", paper=Paper(1, 2, 101)),
    "paper with no such source class": lambda d: sourced(d, labels="fixed", paper=Paper(10, 2, 10)),
    "one class": lambda d: sourced(d, classes=1),
    "no triggers": lambda d: sourced(d, triggers=0),
    "too many triggers": lambda d: sourced(d, "abstract", source=None, triggers=2**20 + 1),
    "unknown label policy": lambda d: sourced(d, labels="even"),
    "a number for an image": lambda d: sourced(d, "abstract", source=None, image=8),
    "no pixels": lambda d: sourced(d, "abstract", source=None, image=(0, 8, 1)),
}


BAD_PARAMETERS = {
    "content of size 0": ("content", {"scale": 0}),
    "content of negative size": ("content", {"scale": -1}),
    "content of spaces": ("content", {"text": " "}),
    "noise of strength 0": ("noise", {"sigma": 0}),
    "noise of negative strength": ("noise", {"sigma": -102}),
    "noise of a strength beyond int64": ("noise", {"sigma": 2**70}),
    "text for a number": ("noise", {"sigma": "much"}),
    "a number for text": ("content", {"text": 5}),
}


@pytest.mark.parametrize("name", BAD_SPECS)
def test_bad_specs_are_refused_in_one_line(name, digits):
    with pytest.raises(UsageError) as caught:
        BAD_SPECS[name](digits)
    assert_one_line(caught.value)


@pytest.mark.parametrize("name", BAD_PARAMETERS)
def test_bad_parameters_are_refused_in_one_line(name, digits):
    scheme, parameters = BAD_PARAMETERS[name]
    with pytest.raises(UsageError) as caught:
        make(scheme, digits, **parameters)
    assert_one_line(caught.value)


def test_a_paper_variant_that_keeps_the_class_is_refused(digits):
    with pytest.raises(UsageError):
        sourced(digits, labels="fixed", paper=Paper(3, 3, 10))


@pytest.mark.parametrize("scheme", [name for name in PLAIN if SCHEMES[name].needs_source])
def test_another_source_is_refused_in_one_line(scheme, digits):
    spec = sourced(digits, scheme)
    others = [digits[1:], Dataset(digits.images, (digits.labels + 1) % 10, 10), load("digits").test]
    for other in others:
        with pytest.raises(InvalidFile, match="digests differ") as caught:
            derive_key(SECRET, spec, default_rule(spec), other)
        assert_one_line(caught.value)


@pytest.mark.parametrize("secret", [b"", bytes(31), bytes(33)], ids=len)
def test_a_secret_of_another_length_is_refused(secret, digits):
    with pytest.raises(ValueError, match="32 bytes"):
        make("abstract", digits, secret=secret)


def test_generate_draws_a_fresh_secret_each_time(digits):
    spec = sourced(digits, "blend")
    first, second = generate(spec, digits), generate(spec, digits)
    assert first.secret != second.secret
    assert pictures(first) != pictures(second)
    assert first.commitment.rule == default_rule(spec)
