"""Keys of scheme `spread` from the trained network to the verdict, by the library and by the command line."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from fixtures import IMAGE, abstract_key
from refusals import assert_one_line, assert_refused, messages

import wmjax
from wmjax import checkpoint
from wmjax.data import Dataset, Splits, load
from wmjax.errors import InvalidFile, UsageError
from wmjax.keys import Key, Unlock, open_key, write_key
from wmjax.models import Config, accuracy, init, predict
from wmjax.suspects import from_checkpoint
from wmjax.suspects.stored import load_variables
from wmjax.train import Recipe, Teacher, embed, fit, fit_many, shift_of, shifted_targets, spread_key, tuning
from wmjax.train.loop import evidence_bits, key_answers
from wmjax.train.spread import usual_sigma
from wmjax.train.step import first_state
from wmjax.verification import verify

NET = Config("vgg", IMAGE, 10, (8, 24))  # twenty-four units: nine features, eighty-one coins
RECIPE = Recipe(epochs=12, batch=64, seed=2, learning_rate=0.1, label_smoothing=0.2)
TUNED = dataclasses.replace(RECIPE, learning_rate=0.05)


@pytest.fixture(scope="module")
def splits() -> Splits[Dataset]:
    return load("digits")


@pytest.fixture(scope="module")
def base(splits, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("base") / "base"
    embed(out, NET, RECIPE, splits)
    return out


@pytest.fixture(scope="module")
def key(base, splits, tmp_path_factory) -> Key:
    out = tmp_path_factory.mktemp("key") / "my"
    write_key(spread_key(base, splits, rehearsals=1), out)
    return open_key(f"{out}.age", Unlock(identity=Path(f"{out}.identity").read_text()))


@pytest.fixture(scope="module")
def marked(base, key, splits, tmp_path_factory) -> tuple[Path, wmjax.Report]:
    out = tmp_path_factory.mktemp("marked") / "marked"
    return out, embed(out, NET, TUNED, splits, keys=[key], begin_with=base)


def test_the_key_is_for_natural_images_and_keeps_what_training_needs(key, splits):
    assert (key.spec.scheme, key.spec.labels, key.spec.triggers) == ("spread", "coins", len(splits.test))
    natural = {image.tobytes() for image in splits.test.images}
    assert all(image.tobytes() in natural for image in key.images)
    assert key.material["features"].shape[1] >= 6
    assert key.material["references"].shape == (3, len(splits.test), 10)
    assert set(key.embedding.arrays) == {"base", "seen", "logits", "probabilities", "bias"}


def test_references_are_of_the_base_and_of_students_of_its_own_recipe(key, base):
    variables = load_variables(str(base))[1]
    answered = predict(NET, variables, key.images)
    np.testing.assert_allclose(key.material["references"][0] / 65535, answered, atol=1e-4)
    students = key.material["references"][1:].argmax(axis=2)
    alike = (students == answered.argmax(axis=1)).mean(axis=1)
    assert (alike > 0.85).all()
    assert (alike < 1).all()


def _accuracy(run: Path, splits: Splits[Dataset]) -> float:
    config, variables = load_variables(str(run))
    return accuracy(config, variables, splits.test.images, splits.test.labels)


def test_the_marked_network_is_convicted_and_the_base_is_not(marked, base, key, splits):
    out, report = marked
    (mark,) = report.marks
    assert mark.learned is None
    assert mark.advice is None
    assert mark.evidence_bits > key.commitment.rule.match_bits
    assert 0 <= report.changed < 0.05
    assert report.test_accuracy > _accuracy(base, splits) - 0.02  # the probes are asked about, not learned
    assert verify(from_checkpoint(out), key).verdict == "match"
    assert verify(from_checkpoint(base), key).verdict != "match"
    settings = json.loads((out / "run.json").read_text())
    assert (settings["sigma"], settings["band"]) == (None, 0.25)


def test_resumed_it_is_the_same_and_other_shifts_are_other_runs(marked, base, key, splits, tmp_path):
    out, _ = marked
    half = tmp_path / "half"
    half.mkdir()
    shutil.copy(out / "run.json", half)
    steps = sorted(out.glob("step-*"))
    shutil.copytree(steps[-2], half / steps[-2].name)
    embed(half, NET, TUNED, splits, keys=[key], begin_with=base, resume=True)
    ends = [load_variables(str(run))[1] for run in (out, half)]
    for a, b in zip(*map(jax.tree.leaves, ends), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(UsageError, match=r"began with sigma None, not 2\.0"):
        embed(half, NET, TUNED, splits, keys=[key], begin_with=base, resume=True, sigma=2.0)


def test_a_mark_that_did_not_take_says_what_to_change(base, key, splits, tmp_path):
    recipe = dataclasses.replace(TUNED, epochs=1, learning_rate=1e-4)
    (mark,) = embed(tmp_path / "run", NET, recipe, splits, keys=[key], begin_with=base).marks
    assert "the mark did not take" in mark.advice
    assert "`sigma`" in mark.advice


def test_two_keys_are_learned_side_by_side(base, key, splits):
    other = spread_key(base, splits, rehearsals=0, triggers=300)
    variables = load_variables(str(base))[1]
    both, one = shift_of([key, abstract_key(3), other], variables), shift_of([key], variables)
    features = [own.material["features"].shape[1] for own in (key, other)]
    assert both.move.shape == (sum(features), 10)
    np.testing.assert_array_equal(both.move[: features[0]], one.move)
    np.testing.assert_array_equal(both.directions.seen[:, : features[0]], one.directions.seen)
    assert shift_of([abstract_key(3)], None) is None
    np.testing.assert_array_equal(one.move, shift_of([key], variables, usual_sigma(len(key.images))).move)
    assert np.abs(both.move[: features[0]]).mean() > 0


def test_another_base_is_refused_before_anything_is_written(base, key, splits, tmp_path):
    """Which base it is says the digest of its tensors: one weight in another place is another network."""
    variables = load_variables(str(base))[1]
    variables.params["head"]["bias"][0] += np.float32(1e-3)
    checkpoint.save(tmp_path / "other", variables._asdict(), checkpoint.Metadata(NET))
    for begin, words in ((tmp_path / "other", "is not the network that key"), (None, "begin with that one")):
        with pytest.raises(UsageError, match=words) as caught:
            embed(tmp_path / "run", NET, TUNED, splits, keys=[key], begin_with=begin)
        assert_one_line(caught.value)
        assert not (tmp_path / "run").exists()


def test_a_teacher_beside_a_spread_key_is_refused_and_begins_no_run(base, key, splits, tmp_path):
    both = {"begin_with": base, "teacher": base}
    assert_refused(lambda: embed(tmp_path / "run", NET, TUNED, splits, keys=[key], **both), "`teacher`", UsageError)
    assert not (tmp_path / "run").exists()


def test_many_networks_at_once_learn_no_spread_key(key, splits):
    """`fit_many` has no shift: it would silently train clean networks."""
    assert_refused(lambda: fit_many(NET, TUNED, splits.train, [1], [key]), "wmjax.fit teaches it", UsageError)


@pytest.mark.parametrize("change", [{"sigma": 0.0}, {"sigma": np.inf}, {"band": -1.0}, {"band": np.nan}])
def test_impossible_shifts(base, key, splits, tmp_path, change):
    with pytest.raises(UsageError, match="`sigma`"):
        embed(tmp_path / "run", NET, TUNED, splits, keys=[key], begin_with=base, **change)
    assert not (tmp_path / "run").exists()


def test_a_shift_without_a_key_of_its_kind_is_refused(splits, tmp_path):
    with pytest.raises(UsageError, match="belong to keys of scheme spread"):
        embed(tmp_path / "run", NET, TUNED, splits, sigma=2.0)
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_is_refused_before_students_are_trained(base, splits, monkeypatch):
    monkeypatch.setattr("wmjax.train.spread.reference_answers", lambda *arguments: pytest.fail("students were trained"))
    for change, words in (({"alpha": 2.0}, "`alpha`"), ({"triggers": 361}, "too few for 361")):
        with pytest.raises(UsageError, match=words):
            spread_key(base, splits, **change)


def test_a_key_without_its_embedding_marks_nothing(base, key):
    variables = load_variables(str(base))[1]
    with pytest.raises(UsageError, match="lacks what training needs"):
        shift_of([dataclasses.replace(key, embedding=None)], variables)


def test_training_without_the_shift_is_refused(key, splits):
    """Else the network would learn nothing of the key, and carry it all the same."""
    with pytest.raises(UsageError, match=r"wmjax\.shift_of makes it"):
        fit(NET, TUNED, splits.train, [key])


def _broken(path: Path, config: Config, **leaf: float) -> Path:
    variables = init(config, 0)
    for name, value in leaf.items():
        variables.params["head"][name][...] = value
    checkpoint.save(path, variables._asdict(), checkpoint.Metadata(config))
    return path


def test_bases_that_cannot_be(splits, tmp_path):
    colour = _broken(tmp_path / "colour", Config("vgg", (8, 8, 3), 10, (4,)))
    seven = _broken(tmp_path / "seven", Config("vgg", IMAGE, 7, (4,)))
    no_numbers = _broken(tmp_path / "nan", NET, bias=np.nan)
    narrow = _broken(tmp_path / "narrow", Config("vgg", IMAGE, 10, (4,)))
    cases = [
        (colour, UsageError, "8x8x3 and 10 classes, the images of digits are 8x8x1"),
        (seven, UsageError, "7 classes"),
        (no_numbers, InvalidFile, "hold NaN"),
        (narrow, UsageError, "wider network"),
    ]
    for path, kind, words in cases:
        with pytest.raises(kind, match=words) as caught:
            spread_key(path, splits)
        assert_one_line(caught.value)
    with pytest.raises(UsageError, match="`rehearsals` -1"):
        spread_key(no_numbers, splits, rehearsals=-1)


def test_a_damaged_run_is_no_base(base, splits, tmp_path):
    shutil.copytree(base, tmp_path / "base")
    (tmp_path / "base" / "run.json").write_text("{}")
    with pytest.raises(InvalidFile, match=r"run\.json is damaged"):
        spread_key(tmp_path / "base", splits)


def test_tuning_is_a_fifth_of_the_epochs_and_more_of_a_small_set():
    for images, epochs in ((50_000, 2), (6_400, 8), (1_437, 35), (10, 750)):
        tuned = tuning(RECIPE, images)
        assert (tuned.epochs, tuned.learning_rate) == (epochs, RECIPE.learning_rate)


def test_by_default_a_soft_student_is_convicted_on_a_small_set(base, key, splits):
    """A fifth of the epochs alone is less there; at a lower rate it would be too little."""
    variables = load_variables(str(base))[1]
    found, usual, fifth = [], tuning(RECIPE, len(splits.train)), tuning(RECIPE, 50_000)
    for recipe in (usual, fifth, dataclasses.replace(fifth, learning_rate=RECIPE.learning_rate / 5)):
        state = first_state(variables)
        marked = fit(NET, recipe, splits.train, [key], state=state, shift=shift_of([key], variables))
        learning = dataclasses.replace(RECIPE, epochs=25, seed=7)
        student = fit(NET, learning, splits.train, teacher=Teacher(NET, marked))
        found.append(evidence_bits(key, key_answers(NET, student, key)))
    assert found[0] > found[1] > key.commitment.rule.match_bits > found[2]


def test_a_loop_of_ones_own(base, key, splits):
    """What the guide shows: targets inside a jitted step, from the base's weights on."""
    variables = load_variables(str(base))[1]
    shift = shift_of([key], variables)
    labels = jax.nn.one_hot(splits.train.labels[:32], 10)
    targets = jax.jit(lambda shift, images: shifted_targets(NET, shift, images, labels))(
        shift, splits.train.images[:32]
    )
    assert targets.shape == (32, 10)
    assert first_state(variables).variables is variables


def test_the_command_line(run, base, tmp_path):
    shutil.copytree(base, tmp_path / "base")
    made = "keygen", "--scheme", "spread", "--source", "digits", "--out", "my", "--triggers", "330", "--rehearsals", "0"
    code, out, err = run(*made, "--base", "base")
    assert (code, err) == (0, "")
    assert "330 spread" in out
    # the default network of a name is not that of the base
    code, _, err = run(
        "embed", "--data", "digits", "--model", "vgg", "--from", "base", "--key", "my.age", "--out", "no"
    )
    assert code == 2
    assert "not the model asked for" in err
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--scheme", "spread", "--source", "digits"], "scheme spread needs a trained network and its data"),
        (["--scheme", "spread", "--base", "nowhere"], "scheme spread needs a trained network and its data"),
        (["--scheme", "spread", "--base", "nowhere", "--source", "digits"], "nowhere"),
        (["--scheme", "spread", "--base", "b", "--source", "digits", "--labels", "random"], "--labels"),
        (["--base", "b", "--image", "8x8x1", "--classes", "10"], "--base belongs to scheme spread"),
    ],
)
def test_what_cannot_be_asked_for_leaves_no_file(run, tmp_path, arguments, words):
    code, out, err = run("keygen", "--out", "my", *arguments)
    assert code in (2, 5)
    assert out == ""
    assert words in err
    assert messages(err) == 1
    assert not list(tmp_path.iterdir())


def test_an_audit_in_which_more_coins_agree_than_questions_were_asked_goes_on(base, splits, tmp_path):
    """Matches are coins there, of which a key of few probes has more than probes."""
    write_key(spread_key(base, splits, triggers=60, rehearsals=0), tmp_path / "few")
    few = open_key(tmp_path / "few.age", Unlock(identity=(tmp_path / "few.identity").read_text()))
    embed(tmp_path / "zoo" / "stolen", NET, TUNED, splits, keys=[few], begin_with=base, sigma=2.0)
    (finding,) = wmjax.audit(tmp_path / "zoo", {"k": few}, out=tmp_path / "out")
    assert finding.matches > finding.queries == 60
    (again,) = wmjax.audit(tmp_path / "zoo", {"k": few}, out=tmp_path / "out", resume=True)
    (merged,) = wmjax.merge([tmp_path / "out"])
    assert (again.matches, merged.matches) == (finding.matches, finding.matches)
