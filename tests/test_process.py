"""A suspect's function in a process of its own: what it can see, what it can spoil, and what is left of it."""

import contextlib
import ctypes
import gc
import importlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from processes import children, gone
from refusals import messages

import wmjax
from wmjax.errors import AccessError, AnswerError, GoneError, NoAnswerError, UsageError
from wmjax.keys import Key, generate, make_spec
from wmjax.suspects import child, from_callable, open_suspect, process
from wmjax.suspects.formats import alone_child
from wmjax.suspects.strangers import imported, strangers_code

ONE = np.arange(4 * 4, dtype=np.uint8).reshape(1, 4, 4, 1)
SPEC = make_spec("abstract", image=(4, 4, 1), classes=10, triggers=60)

THEIRS = '''
import gc, os, signal, sys, time
import numpy as np

ASKED = []

def zeros(images):
    return np.zeros(len(images), int)

def echo(images):
    images[:] = images + 1  # they are its own
    return images.reshape(len(images), 16).astype(np.float32)

def sums(images):
    return images.sum((1, 2, 3), dtype=int)

def words(images):
    return ["cat", "z\xfcrich\U0001f408"][: len(images)]

def sums_of_16(images):
    assert len(images) <= 16
    return sums(images)

def shown():
    """Everything of its process that can be looked at."""
    yield from (f"{name}={value}" for name, value in os.environ.items())
    yield from sys.argv
    yield open(f"/proc/{os.getpid()}/cmdline").read()
    for number in os.listdir("/proc/self/fd"):
        try:
            yield os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            pass

def seen(images):
    raise OSError(f"secrets: {[word for word in shown() if 'hush' in word or '.age' in word]}")

def loot(images):
    """B11: looks for the key itself, and answers what it says."""
    for thing in gc.get_objects():
        if type(thing).__name__ == "Key":
            known = {i.tobytes(): y for i, y in zip(thing.images, thing.labels)}
            return np.array([known[image.tobytes()] for image in images])
    return zeros(images)

def prints(images):
    print("words \\x1b[2J")
    os.write(1, b"more\\n")
    sys.stderr.write("and more\\n")
    return zeros(images)

def closes(images):
    sys.stdout.close()
    return zeros(images)

def exits(images):
    os._exit(3)

def quits(images):
    raise SystemExit("no more")

def interrupts(images):
    raise KeyboardInterrupt

def is_killed(images):
    os.kill(os.getpid(), signal.SIGKILL)

def stops(images):
    os.kill(os.getpid(), signal.SIGSTOP)

def hangs(images):
    time.sleep(3600)

def hoards(images):
    return [bytearray(1 << 26) for _ in range(1 << 20)]

def is_huge(images):
    return np.zeros((1, 1 << 26))

def is_ragged(images):
    return [[1], [1, 2]]

def is_none(images):
    return None

def is_object(images):
    return np.array([object()])

def forges(images):
    for number in range(3, 64):
        try:
            os.write(number, b"\\xff" * 64)
        except OSError:
            pass
    time.sleep(3600)

def closes_pipes(images):
    os.closerange(3, 64)
    time.sleep(3600)

def forks(images):
    if (pid := os.fork()) == 0:
        time.sleep(3600)
    return np.array([[pid, os.getpid()]])

def forks_and_dies(images):
    if os.fork() == 0:
        time.sleep(3600)
    os._exit(4)

def dies_later(images):
    ASKED.append(1)
    if len(ASKED) > 10:
        os._exit(5)
    return sums(images) % 10
'''


@pytest.fixture(autouse=True)
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the module `theirs`, where the user stands."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "theirs.py").write_text(THEIRS)
    return tmp_path


def test_it_answers_as_the_function_does():
    for images in (ONE, np.concatenate([ONE, ONE + 7]), ONE[:0]):
        answer = process.start("theirs:echo")(images)
        expected = (images + 1).reshape(len(images), 16)
        assert (answer.dtype, answer.shape) == (np.float32, expected.shape)
        np.testing.assert_array_equal(answer, expected)


def test_it_may_answer_with_words():
    answer = process.start("theirs:words")(np.concatenate([ONE, ONE]))
    assert (answer.dtype.kind, answer.tolist()) == ("U", ["cat", "z\xfcrich\U0001f408"])
    forged = child.pack(np.array(["a"])).replace(b"a\0\0\0", b"\xff\xff\xff\x7f")
    with pytest.raises(ValueError, match="no characters"):
        child.unpack(forged)


def test_more_pictures_than_a_frame_holds_are_asked_in_parts(monkeypatch):
    monkeypatch.setattr(child, "LARGEST", 512)
    images = np.concatenate([ONE + i for i in range(40)])
    assert process.start("theirs:sums_of_16")(images).tolist() == images.sum((1, 2, 3), dtype=int).tolist()


def test_it_sees_no_secret(monkeypatch, tmp_path):
    monkeypatch.setenv("WMJAX_PASSPHRASE", "hush")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    monkeypatch.setattr(sys, "argv", ["wmjax", "verify", "--key", "my.age"])
    (tmp_path / "open.age").touch()
    with open("open.age") as inherited:
        os.set_inheritable(inherited.fileno(), True)
        with pytest.raises(AccessError, match=r"secrets: \[\]"):
            process.start("theirs:seen")(ONE)
    monkeypatch.setenv("SUSPECT_TOKEN", "hush")  # what the function needs has such a name
    with pytest.raises(AccessError, match="SUSPECT_TOKEN=hush"):
        process.start("theirs:seen")(ONE)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such a switch")
def test_nobody_but_root_may_read_the_memory_of_who_asks():
    process.start("theirs:zeros")
    assert ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) == 0  # PR_GET_DUMPABLE


def loot() -> wmjax.Verdict:
    """The verdict of a function that looks for the key in the memory of its process."""
    gc.collect()
    key: Key = generate(SPEC)
    return wmjax.verify(open_suspect("theirs:loot"), key)


def test_the_key_cannot_be_read_out_of_memory_as_it_could_in_one_process(monkeypatch):
    assert loot().verdict != "match"
    with monkeypatch.context() as taken_out:
        taken_out.syspath_prepend(Path.cwd())
        taken_out.setattr(process, "start", lambda name: imported(name))
        assert loot().verdict == "match"
    sys.modules.pop("theirs")


def test_what_it_prints_is_told_on_stderr_in_lines_and_steers_no_terminal(capsys):
    suspect = process.start("theirs:prints")
    suspect(ONE)
    del suspect  # all that it said has arrived by then
    said = capsys.readouterr()
    assert (said.out, sorted(said.err.splitlines())) == ("", ["and more", "more", "words ?[2J"])


@pytest.mark.parametrize("name", ["zeros", "closes", "prints"])
def test_harmless_oddities_are_answers(name):
    ask = process.start(f"theirs:{name}")
    for _ in range(3):
        assert ask(ONE).tolist() == [0]


FAILS: dict[str, tuple[type[Exception], str]] = {
    "quits": (NoAnswerError, "theirs:quits failed to answer: SystemExit no more"),
    "interrupts": (NoAnswerError, "failed to answer: KeyboardInterrupt"),
    "exits": (GoneError, "theirs:exits answers no more: its process ended with exit code 3"),
    "is_killed": (GoneError, "its process was killed by signal 9"),
    "stops": (GoneError, "theirs:stops did not answer within 1 seconds"),
    "hangs": (GoneError, "did not answer within 1 seconds"),
    "hoards": (NoAnswerError, "failed to answer: MemoryError"),
    "is_huge": (AnswerError, "no array of numbers"),
    "is_ragged": (AnswerError, "no array of numbers"),
    "is_none": (AnswerError, "no array of numbers"),
    "is_object": (AnswerError, "no array of numbers"),
    "forges": (GoneError, "sent what is not an answer"),
    "closes_pipes": (GoneError, "its process was killed"),
    "forks_and_dies": (GoneError, "ended with exit code 4"),
}


@pytest.mark.parametrize("name", FAILS)
def test_whatever_it_does_is_one_line(name):
    kind, words = FAILS[name]
    limit = 1.0 if name in ("stops", "hangs") else 60.0
    ask = process.start(f"theirs:{name}", timeout=limit, first=limit, memory=3 << 28 if name == "hoards" else 2 << 30)
    for _ in range(2):  # and stays so
        with pytest.raises(AccessError, match=words) as caught:
            ask(np.zeros((1, 400, 400, 1), np.uint8))  # more than a pipe holds
        assert type(caught.value) is kind
        assert "\n" not in str(caught.value)


def test_an_answer_that_is_no_array_is_described():
    with pytest.raises(AnswerError) as caught:
        process.start("theirs:is_ragged")(ONE)
    assert caught.value.came == "list: [[1], [1, 2]]"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("theirs:absent", "AttributeError"),
        ("nowhere:f", "ModuleNotFoundError No module named 'nowhere'"),
        ("bad:f", "SyntaxError"),
        ("leaves:f", "ended with exit code 7"),
        ("raises:f", "SystemExit one"),
    ],
)
def test_what_cannot_be_imported_is_one_line(name, words, theirs, capsys):
    (theirs / "bad.py").write_text("def f(:\n")
    (theirs / "leaves.py").write_text("import os\nos._exit(7)\n")
    (theirs / "raises.py").write_text("raise SystemExit('one\\ntwo')\n")
    with pytest.raises(UsageError, match=words) as caught:
        open_suspect(name)
    assert str(caught.value).startswith(f"suspect {name}")
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().err == ""


def test_a_batch_has_more_time_than_one_picture(monkeypatch):
    monkeypatch.setattr(process, "_PER_IMAGE", 0.25)
    ask = process.start("theirs:hangs", timeout=0.5, first=0.0)
    with pytest.raises(GoneError, match="within 1 seconds"):
        ask(np.concatenate([ONE] * 3))


def test_what_it_started_ends_with_it():
    ask = process.start("theirs:forks")
    forked, own = (int(pid) for pid in ask(ONE)[0])
    assert Path(f"/proc/{forked}").exists()
    del ask
    assert gone(own)
    assert gone(forked)


def test_it_ends_with_its_parent_though_it_hangs():
    program = (
        "import threading, os, numpy as np; from wmjax.suspects import process\n"
        "ask = process.start('theirs:forks'); print(*ask(np.zeros((1, 1, 1, 1), np.uint8))[0], flush=True)\n"
        "process.start('theirs:hangs')(np.zeros((1, 1, 1, 1), np.uint8))"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        started = children(parent.pid, 2)
        parent.send_signal(signal.SIGKILL)
    assert len(pids) == len(started) == 2
    assert pids[1] in started
    assert all(gone(pid) for pid in (*pids, *started))


def test_one_that_dies_half_way_clears_nobody_and_is_asked_nothing_more():
    key = generate(make_spec("abstract", image=(4, 4, 1), classes=10, triggers=200))
    shown = list[int]()
    with pytest.raises(GoneError, match="theirs:dies_later answers no more: its process ended"):
        wmjax.verify(open_suspect("theirs:dies_later"), key, remember=shown.extend)
    died = len(shown)
    for whole in (False, True):  # the same process, dead from the start: one trigger is all that it costs
        shown.clear()
        suspect = open_suspect("theirs:dies_later")
        with contextlib.suppress(GoneError):
            for _ in range(died):
                suspect.ask(key.images[:1])
        with pytest.raises(GoneError, match="answers no more"):
            wmjax.verify(suspect, key, whole=whole, remember=shown.extend)
        assert len(shown) == 1
    alive = from_callable(lambda images: images.sum((1, 2, 3), dtype=int) % 10)
    assert wmjax.verify(alive, key).verdict == "no-match"


@given(st.binary(max_size=200) | st.builds(lambda a, b: a + b"\n" + b, st.binary(max_size=30), st.binary(max_size=60)))
def test_no_bytes_are_read_as_more_than_they_are(payload):
    with contextlib.suppress(ValueError, RecursionError):
        assert child.unpack(payload).nbytes <= len(payload)


@pytest.mark.parametrize(
    "line",
    [
        '["<U99999", [0]]',
        '["<f8", [1099511627776]]',
        '["<f8", [-1, -8]]',
        '["|O", [1]]',
        '["<f8", [true]]',
        '["<f3", [0]]',
        "[[]]",
        "7",
    ],
)
def test_arrays_that_are_none_are_refused(line):
    with pytest.raises(ValueError, match=r"no |not"):
        child.unpack(line.encode() + b"\n" + bytes(8))


PLANTED = "from pathlib import Path\nPath(__file__).with_suffix('.imported').touch()\nraise ImportError\n"
ENDS = """
import sys
from wmjax.suspects import open_suspect
suspect = open_suspect("theirs:zeros")
try:
    import jinja2, onnx, colorsys
finally:
    print("done")
"""


def test_the_working_folder_is_no_place_for_imports_of_who_asks(theirs):
    """B12: a file in the folder of a dispute has the name of a package that is imported late."""
    for name in ("jinja2", "onnx", "colorsys"):
        (theirs / f"{name}.py").write_text(PLANTED)
    ran = subprocess.run([sys.executable, "-P", "-c", ENDS], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "done\n"), ran.stderr
    assert not list(theirs.glob("*.imported"))
    taken_out = ENDS.replace("suspect =", "sys.path.insert(0, '')\nsuspect =")  # as it was
    assert subprocess.run([sys.executable, "-P", "-c", taken_out], capture_output=True, check=False).returncode == 1
    assert list(theirs.glob("jinja2.imported"))


def test_a_command_in_the_folder_imports_nothing_of_it_by_dash_m(theirs):
    for name in ("argparse", "securesystemslib"):  # imported at once, and late
        (theirs / f"{name}.py").write_text(PLANTED)
    (theirs / "claim.json").write_text("{}")
    command = [sys.executable, "-m", "wmjax", "judge", "claim.json", "--suspect", "theirs:zeros"]
    environment = {**os.environ, "PYTHONPATH": str(Path(wmjax.__file__).parent.parent)}
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (ran.returncode, messages(ran.stderr)) == (4, 1), ran.stderr
    assert not list(theirs.glob("*.imported"))


def test_an_architecture_is_found_in_the_folder_but_passes_for_no_package(theirs):
    (theirs / "colorsys.py").write_text(PLANTED)
    (theirs / "nets.py").write_text("import colorsys\nvalue = colorsys.rgb_to_hsv\n")
    sys.modules.pop("colorsys", None)
    before = list(sys.path)
    with strangers_code("it"):
        assert imported("nets:value")(0, 0, 0) == (0, 0, 0)
    assert sys.path == before
    sys.modules.pop("nets")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("nets")


def test_who_asks_writes_nothing_to_the_folder(theirs):
    before = sorted(theirs.iterdir())
    process.start("theirs:zeros")(ONE)
    assert sorted(theirs.iterdir()) == before


def test_the_command_line_tells_each_failure_in_one_line(run: Callable[..., tuple[int, str, str]], theirs):
    (theirs / "theirs.py").write_text(THEIRS)
    assert run("keygen", "--image", "4x4x1", "--classes", "10", "--triggers", "60", "--out", "my")[0] == 0
    unlock = ["--key", "my.age", "--identity", "my.identity"]
    for name, code in {"exits": 5, "is_killed": 5, "forges": 5, "absent": 2, "zeros": 3}.items():
        got, out, err = run("verify", *unlock, f"theirs:{name}")
        assert (got, bool(out), messages(err)) == (code, code == 3, code != 3), (name, err)


def test_a_program_that_opens_files_is_not_told_what_a_function_is(tmp_path, monkeypatch):
    """Tokens of suspects and of proxies are for the user's own function, not for who runs a stranger's file."""
    for name in ("SUSPECT_TOKEN", "https_proxy"):
        monkeypatch.setenv(name, "a secret")
    told = "lambda images: np.array([[float(n in os.environ) for n in ('SUSPECT_TOKEN', 'https_proxy', 'PATH')]])"
    program = tmp_path / "program.py"
    program.write_text(
        f"import os\nimport numpy as np\nfrom wmjax.suspects.child import serve\nserve(lambda: {told}, 1, 1 << 32)\n"
    )
    (tmp_path / "shop.py").write_text(f"import os\nimport numpy as np\npredict = {told}\n")
    monkeypatch.chdir(tmp_path)
    picture = np.zeros((1, 4, 4, 1), np.uint8)
    assert process.start("shop:predict")(picture).tolist() == [[1.0, 1.0, 1.0]]
    assert process.start("file", program=program)(picture).tolist() == [[0.0, 0.0, 1.0]]


def test_what_opens_a_file_is_not_told_either_and_imports_nothing_from_the_working_folder(tmp_path, monkeypatch):
    """The working folder may be a stranger's zoo: of the user's own function alone modules are looked for there."""
    for name in ("SUSPECT_TOKEN", "https_proxy"):
        monkeypatch.setenv(name, "a secret")
    opens = "lambda path: lambda images: np.array([[float(n in os.environ) for n in ('SUSPECT_TOKEN', 'PATH')]])"
    (tmp_path / "installed").mkdir()
    (tmp_path / "installed" / "opener.py").write_text(f"import os\nimport numpy as np\nprogram = {opens}\n")
    (tmp_path / "zoo").mkdir()
    theirs = "lambda *path: np.array([[9.0]]) if len(path[0]) == 1 else theirs"
    (tmp_path / "zoo" / "opener.py").write_text(f"import numpy as np\nprogram = theirs = {theirs}\n")
    monkeypatch.syspath_prepend(tmp_path / "installed")
    monkeypatch.chdir(tmp_path / "zoo")
    picture = np.zeros((1, 4, 4, 1), np.uint8)
    assert process.start("opener:program")(picture).tolist() == [[9.0]]  # a function: the folder's comes first
    assert process.start("opener:program", argument="file")(picture).tolist() == [[0.0, 1.0]]


def test_whoever_is_interrupted_while_it_starts_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    def interrupted(self: process._Process) -> None:
        started.append(self._child.pid)
        raise KeyboardInterrupt

    monkeypatch.setattr(process._Process, "begin", interrupted)
    with pytest.raises(KeyboardInterrupt):
        process.start("builtins:abs")
    assert gone(started[0])


@pytest.mark.skipif(not hasattr(signal, "alarm"), reason="this system has no alarms")
def test_a_file_that_loads_for_ever_ends_though_its_parent_is_gone(tmp_path: Path) -> None:
    (tmp_path / "slow_child.py").write_text("import time\ndef program(path):\n    time.sleep(60)\n")
    program = f"""
import runpy
names = runpy.run_path({alone_child.__file__!r})
names["main"].__globals__["_STARTING"] = 1
names["main"]({str(tmp_path / "slow")!r}, 1, 1 << 32, "")
"""
    ended = subprocess.run([sys.executable, "-c", program], stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
    assert ended.returncode == -signal.SIGALRM


_WRITES_LATER = """
import threading

def program(path):
    asked, done, came = threading.Event(), threading.Event(), []

    def write():
        asked.wait()
        try:
            with open(path, "w") as file:
                file.write("there")
            came.append(1.0)
        except OSError:
            came.append(0.0)
        done.set()

    def answer(images):
        asked.set()
        done.wait()
        return [came]

    threading.Thread(target=write, daemon=True).start()
    return answer
"""


def test_a_thread_that_was_there_before_writes_no_file_either(tmp_path: Path) -> None:
    """Landlock binds the thread that asks for it, and those that it begins; and the rule taken out."""
    (tmp_path / "later_child.py").write_text(_WRITES_LATER)
    source, found = Path(alone_child.__file__).read_text(), []
    for rule in ("alone.without_writing()", "pass"):
        folder = tmp_path / f"formats{len(found)}"
        shutil.copytree(Path(alone_child.__file__).parent, folder / "formats")
        shutil.copy(Path(child.__file__), folder)
        program = folder / "formats" / "alone_child.py"
        program.write_text(source.replace("alone.without_writing()", rule))
        written = tmp_path / f"written{len(found)}"
        ask = process.start(str(tmp_path / "later"), "later", argument=str(written), program=program)
        found.append((ask(np.zeros((1, 4, 4, 1), np.uint8)).tolist(), written.exists() and written.read_text()))
    assert found[0][0] == [[0.0]]
    assert not found[0][1]
    assert found[1] == ([[1.0]], "there")
