"""`wmjax attack` as it is typed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from fixtures import VGG
from PIL import Image

from wmjax import checkpoint
from wmjax.keys import generate, make_spec, write_key
from wmjax.models import Config, init


@pytest.fixture(scope="module")
def stolen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that was never trained, its key, and a key for other classes."""
    folder = tmp_path_factory.mktemp("stolen")
    for name, classes in (("my", 10), ("other", 5)):
        key = generate(make_spec("abstract", image=(8, 8, 1), classes=classes, triggers=12))
        write_key(key, folder / name, recipients=[], passphrase=None)
    checkpoint.write_settings(folder / "run", {"data": "digits 0123"})
    tree = init(VGG, 0)._asdict()
    checkpoint.save_step(folder / "run", tree, checkpoint.Metadata(VGG, 1))
    shutil.copytree(folder / "run" / "step-00000001", folder / "bare")
    return folder


@pytest.fixture(autouse=True)
def _devices_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """JAX runs already when these tests begin: the command line shall not ask for other devices."""
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")


@pytest.fixture
def attack(run, stolen):
    """`attack("--suite", "prune")` attacks the run with its key; gives (exit code, stdout, stderr)."""

    def call(*arguments: object, target: str = "run", key: str = "my") -> tuple[int, str, str]:
        opened = ("--key", stolen / f"{key}.age", "--identity", stolen / f"{key}.identity")
        return run("attack", stolen / target, *opened, "--out", "at", *arguments)

    return call


def test_tells_and_writes(attack, stolen):
    code, out, err = attack("--suite", "prune,evade,inversion", "--images", 40)
    assert code == 0
    assert "report: at/report.html" in out
    assert out.count("\nprune ") == 10
    assert "prune: 10 tried" in err
    document = json.loads(Path("at/attack.json").read_text())
    assert document["version"] == 1
    assert {p["attack"] for p in document["points"]} == {"none", "prune", "evade"}
    assert [leak["start"] for leak in document["leaks"]] == ["image", "blank", "noise"]
    assert 0 < document["leaks"][0]["p"] <= 1  # an abstract key has decoys without a data set
    assert document["thief"][0] == "40 labelled images of the task"
    page = Path("at/report.html").read_text()
    assert "data:image/png" in page
    secret = (stolen / "my.identity").read_text().split()[-1]
    for path in Path("at").iterdir():
        assert secret not in path.read_text()
    assert not list(Path("at").glob("*.tmp*"))


def test_json_and_resume(attack):
    assert attack("--suite", "flip", "--json")[0] == 0
    code, _, err = attack("--suite", "flip")
    assert code == 2
    assert "--resume" in err
    code, out, err = attack("--suite", "flip", "--resume", "--json")
    assert code == 0
    assert err == ""  # nothing was left to do
    assert json.loads(out)["points"][1]["attack"] == "flip"
    code, _, err = attack("--suite", "jpeg", "--resume")
    assert code == 4
    assert "began with other suite" in err


@pytest.mark.parametrize(
    ("journal", "verbs"), [("journal-1-of-2.jsonl", ("attack", "demo")), ("journal.jsonl", ("audit", "merge", "demo"))]
)
def test_a_report_is_not_written_over_by_another_verb(journal, verbs, stolen, run):
    """Two have one name; the journal beside it says whose it is."""
    words = {
        "attack": ["attack", stolen / "run", "--key", stolen / "my.age", "--resume"],
        "audit": ["audit", stolen, "--keys", stolen],
        "merge": ["audit", "--merge", "at"],
        "demo": ["demo"],
    }
    Path("at").mkdir()
    Path("at", journal).touch()
    Path("at/report.html").write_text("precious")
    owner = "attack" if journal == "journal.jsonl" else "audit"
    for verb in verbs:
        code, out, err = run(*words[verb], "--out", "at")
        said = f"wmjax: at/{journal} is of `wmjax {owner}`, whose report would be lost: choose another --out"
        assert (code, out, err) == (2, "", f"{said}\n")
    assert Path("at/report.html").read_text() == "precious"


def test_a_thief_without_images(attack):
    code, out, err = attack("--suite", "ftal,flip,knockoff", "--images", 0)
    assert code == 0
    assert "ftal: skipped, needs labelled images of the task" in err
    assert "knockoff: skipped, needs images of another data set: name one with --queries" in err
    assert "flip" in out


def test_a_thief_with_one_image(attack):
    """What one is too few for is passed over, and no network counts as lost."""
    code, out, err = attack("--suite", "subtract,overwrite,flip", "--images", 1, "--epochs", 4, "--json")
    assert code == 0
    document = json.loads(out)
    assert {point["outcome"] for point in document["points"]}.isdisjoint({"diverged"})
    assert set(document["skipped"]) == {"subtract", "overwrite"}
    assert "subtract: skipped, telling two networks apart needs 2 images or more, the thief has 1" in err
    assert "overwrite: skipped, a key is mixed into batches of 2 images or more" in err


def test_images_of_another_data_set(attack):
    code, out, _ = attack("--suite", "knockoff", "--images", 20, "--queries", "digits", "--epochs", 1, "--json")
    assert code == 0
    document = json.loads(out)
    assert [p["attack"] for p in document["points"]] == ["none", *["knockoff"] * 3]
    assert "images of another data set" in document["thief"][1]


@pytest.mark.parametrize(
    ("arguments", "target", "key", "code", "words"),
    [
        (["--suite", "prunes"], "run", "my", 2, "no attack 'prunes': choose quick, full, or some of"),
        (["--suite", ""], "run", "my", 2, "no attack ''"),
        ([], "bare", "my", 2, "--data"),
        ([], "nowhere", "my", 5, "nowhere does not exist"),
        ([], "run", "other", 2, "key other is for classes 5"),
        (["--data", "nothing-here"], "run", "my", 2, "nothing-here"),
        (["--images", "-1"], "run", "my", 2, "--images -1: must be at least 0"),
        (["--epochs", "0"], "run", "my", 2, "--epochs"),
        (["--batch", "-1"], "run", "my", 2, "--batch"),
        (["--seed", "-1"], "run", "my", 2, "--seed -1: must be a whole number in 0..2147483647"),
        (["--seed", str(2**31)], "run", "my", 2, "--seed"),
    ],
)
def test_bad_input(attack, arguments, target, key, code, words):
    got, out, err = attack(*arguments, target=target, key=key)
    assert (got, out) == (code, "")
    assert words in err
    assert len(err.splitlines()) == 1
    assert not (Path("at") / "attack.json").exists()


def test_pictures_that_were_fitted_to_the_network(attack, stolen, tmp_path):
    """A run on a folder of pictures of another size, as `embed --image 8x8x1` takes them."""
    rng = np.random.default_rng(0)
    for place in ("train/a", "train/b", "test/a", "test/b"):
        (tmp_path / "pictures" / place).mkdir(parents=True)
        for i in range(3):
            picture = Image.fromarray(rng.integers(0, 256, (20, 24), dtype=np.uint8))
            picture.save(tmp_path / "pictures" / place / f"{i}.png")
    config = Config("vgg", (8, 8, 1), 2, (4,))
    key = generate(make_spec("abstract", image=(8, 8, 1), classes=2, triggers=12))
    write_key(key, stolen / "two", recipients=[], passphrase=None)
    checkpoint.write_settings(stolen / "fitted", {"data": f"{tmp_path}/pictures 0123"})
    checkpoint.save_step(stolen / "fitted", init(config, 0)._asdict(), checkpoint.Metadata(config, 1))
    code, out, _ = attack("--suite", "flip,transfer-merged", target="fitted", key="two")
    assert code == 0
    assert "transfer-merged: 2 classes cannot be merged" in out


def test_a_checkpoint_without_its_run(attack):
    assert attack("--suite", "flip", "--data", "digits", target="bare")[0] == 0


def test_weights_that_are_no_numbers(attack, stolen):
    tree = init(VGG, 0)._asdict()
    tree["params"]["head"]["bias"] = np.full(10, np.nan, np.float32)
    checkpoint.write_settings(stolen / "nan", {"data": "digits 0123"})
    checkpoint.save_step(stolen / "nan", tree, checkpoint.Metadata(VGG, 1))
    code, out, err = attack("--suite", "flip", target="nan")
    assert (code, out) == (4, "")
    assert "its weights hold NaN" in err
