"""A zoo of digits networks among which thieves are planted, with the truth about each: what an audit must find.

Command   JAX_NUM_CPU_DEVICES=2 python experiments/audits/made_zoo.py --out DIR [--models 512] [--small]
Time      10 minutes on 2 CPU cores

DIR/keys has the keys, each with its identity beside it; DIR/zoo has the networks, as loose checkpoints, run folders and
safetensors files in mixed order; DIR/truth.json says of each path in DIR/zoo which key it carries (null for none) and
how it came about, and lists the entries that are damaged or hostile. An audit must not stop at those, execute nothing
from them, and say what is wrong with each.
"""

import argparse
import dataclasses
import json
import os
import pickle
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import jax
import numpy as np

from experiments.evidence.null_models import CNN, VGG, draws
from wmjax import checkpoint
from wmjax.attacks.families.prune import prune
from wmjax.data import Dataset, load
from wmjax.keys import Key, generate, make_spec, write_key
from wmjax.models import Config, Variables, init, one, stack
from wmjax.train import Recipe, Teacher, fit_many
from wmjax.train.step import as_tree, first_state

SHARES = (0.2, 0.35, 0.5, 0.65)  # pruned away, of one victim each
OTHERS = "marked with another owner's key"
RESNET = Config("resnet18", (8, 8, 1), 10, (4, 8, 8, 8))
LARGE, FIVE = Config("vgg", (28, 28, 1), 10, (4, 8)), Config("vgg", (8, 8, 1), 5, (8, 16))


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is made.

    Attributes:
      keys: of the owner, abstract and blend in turn.
      triggers: in each.
      victims: the marked networks, one kind a key in turn.
      epochs: of a victim; fine-tuning takes a quarter of it.
      innocent: kinds of innocent networks, their epochs, and the share of them in percent; the last takes the rest.
    """

    keys: int
    triggers: int
    victims: tuple[Config, ...]
    epochs: int
    innocent: tuple[tuple[Config, int, int], ...]


FULL = Settings(
    6,
    100,
    (Config("cnn", (8, 8, 1), 10, (16, 32), (64,)), Config("vgg", (8, 8, 1), 10, (16, 32))),
    30,
    ((RESNET, 6, 3), (LARGE, 6, 3), (FIVE, 10, 6), (CNN, 18, 20), (VGG, 12, 68)),
)
SMALL = Settings(1, 20, (Config("vgg", (8, 8, 1), 10, (4, 8)),), 4, ((Config("vgg", (8, 8, 1), 10, (4, 8)), 4, 100),))


@dataclasses.dataclass(frozen=True)
class Made:
    """A network and the truth about it: the name of the key that it carries, and how it came about."""

    config: Config
    variables: Variables
    how: str
    key: str | None = None


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", type=int, default=512)
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args(arguments)
    settings = SMALL if options.small else FULL
    train = load("digits").train
    keys = {f"k{i}": _key(("abstract", "blend")[i % 2], settings.triggers, train) for i in range(settings.keys)}
    for name, key in keys.items():
        write_key(key, options.out / "keys" / name, recipients=[], passphrase=None)
    mine = np.arange(len(train)) % 5 < 3
    made = list(planted(settings, keys, train[mine], train[~mine]))
    made += innocent(settings, train, options.models - len(made))
    order = np.random.default_rng(0).permutation(len(made))
    models = {}
    for number, place in enumerate(order):
        path = write(options.out / "zoo", number, made[place])
        models[path] = {"key": made[place].key, "how": made[place].how}
    damaged = hostile(options.out / "zoo", made[0])
    (options.out / "truth.json").write_text(json.dumps({"models": models, "hostile": damaged}, indent=1) + "\n")
    print(f"{len(models)} networks, {len(damaged)} hostile entries in {options.out}")


def _key(scheme: str, triggers: int, train: Dataset) -> Key:
    source = ("digits", train) if scheme == "blend" else None
    spec = make_spec(scheme, image=(8, 8, 1), classes=10, triggers=triggers, source=source)
    return generate(spec, train if source else None)


def planted(settings: Settings, keys: dict[str, Key], owned: Dataset, stolen: Dataset) -> Iterator[Made]:
    """For each key four marked networks and what thieves made of them, and four that another owner marked.

    Thieves have other images than the owner, and not the key.
    """
    marking = Recipe(settings.epochs, batch=64, learning_rate=0.05, key_per_batch=8)
    tuning = dataclasses.replace(marking, epochs=max(1, settings.epochs // 4), learning_rate=0.01)
    copying = dataclasses.replace(marking, learning_rate=0.02, crop=1, temperature=4.0)
    for number, (name, key) in enumerate(keys.items()):
        config, first = settings.victims[number % len(settings.victims)], 100 * number
        seeds = range(first, first + len(SHARES))
        victims = fit_many(config, marking, owned, seeds, [key], title=f"{name}, marked")
        tuned = fit_many(config, tuning, stolen, seeds, variables=victims, title=f"{name}, fine-tuned")
        teacher = Teacher(config, stack([one(victims, 0)] * 2))
        copies = fit_many(
            config, copying, stolen, (first + 10, first + 11), teacher=teacher, title=f"{name}, distilled"
        )
        for i, share in enumerate(SHARES):
            yield Made(config, one(victims, i), "marked", name)
            yield Made(config, one(tuned, i), "fine-tuned", name)
            yield Made(config, prune(one(victims, i), share), f"pruned {100 * share:.0f} %", name)
        yield from (Made(config, one(copies, i), "distilled", name) for i in range(2))
    config, others = settings.victims[0], _key("abstract", settings.triggers, owned)
    marked = fit_many(config, marking, owned, range(4), [others], title=OTHERS)
    yield from (Made(config, one(marked, i), OTHERS) for i in range(4))


def innocent(settings: Settings, train: Dataset, count: int) -> list[Made]:
    """Clean networks of several kinds, each on its own random half of the images."""
    made: list[Made] = []
    for config, epochs, percent in settings.innocent:
        last = config is settings.innocent[-1][0]
        seeds = range(5000 + len(made), 5000 + (count if last else len(made) + count * percent // 100))
        if not seeds:
            continue
        data = fitted(train, config)
        recipe = Recipe(epochs, batch=64, learning_rate=0.05 if config.name == "cnn" else 0.1)
        rows = draws(seeds, len(data), len(data) // 2)
        trained = fit_many(config, recipe, data, seeds, rows=rows, title=f"clean {config.name}")
        made += [Made(config, one(trained, i), "clean") for i in range(len(seeds))]
    return made


def fitted(data: Dataset, config: Config) -> Dataset:
    """Digits as a network takes them: of its classes alone, drawn three times as large for 28x28."""
    kept = data[data.labels < config.classes]
    images = kept.images
    if config.image != data.image:
        images = np.pad(images.repeat(3, axis=1).repeat(3, axis=2), ((0, 0), (2, 2), (2, 2), (0, 0)))
    return Dataset(images, kept.labels, config.classes)


def write(zoo: Path, number: int, made: Made) -> str:
    """Writes a network in the form that its number says; gives its path in the zoo."""
    path = zoo / f"team-{number % 5}" / f"model-{number:04d}"
    path.parent.mkdir(parents=True, exist_ok=True)
    if number % 8 == 3:
        path = path.with_suffix(".safetensors")
        path.write_bytes(safetensors(made))
    elif number % 8 == 6:  # a run: the newest of its checkpoints counts
        checkpoint.write_settings(path, {"version": 1, "model": made.config.to_json()})
        for step, variables in ((10, init(made.config, 0)), (20, made.variables)):
            state = first_state(variables)
            checkpoint.save_step(path, as_tree(state), checkpoint.Metadata(made.config, step))
    else:
        checkpoint.save(path, made.variables._asdict(), checkpoint.Metadata(made.config))
    return str(path.relative_to(zoo))


def safetensors(made: Made) -> bytes:
    """A network as a safetensors file: tensors by path, the configuration as JSON in the metadata."""
    header: dict[str, object] = {"__metadata__": {"config": json.dumps(made.config.to_json())}}
    body = b""
    for path, leaf in jax.tree_util.tree_leaves_with_path(made.variables._asdict()):
        array = np.ascontiguousarray(leaf, "<f4")
        name = "/".join(str(part.key) for part in path)
        end = len(body) + array.nbytes
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": [len(body), end]}
        body += array.tobytes()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight
    return len(text).to_bytes(8, "little") + text + body


class _Executed:
    """What a pickle does to those who open it."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("a pickle from the zoo was executed",)


def hostile(zoo: Path, made: Made) -> dict[str, str]:
    """Writes damaged and malicious entries; says by path what is wrong with each."""
    folder = zoo / "hostile"
    folder.mkdir(parents=True)
    whole, code = safetensors(made), pickle.dumps(_Executed())
    files = {
        "truncated.safetensors": (whole[:-100], "its last tensor is cut off"),
        "long-header.safetensors": ((1 << 60).to_bytes(8, "little") + whole[8:], "its header claims 2^60 bytes"),
        "pickle.safetensors": (code, "a pickle that runs code, under another name"),
        "pickle.pkl": (code, "a pickle that runs code"),
    }
    for name, (content, _) in files.items():
        (folder / name).write_bytes(content)
    nan = jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), made.variables._asdict())
    folders = {
        "nan": (nan, "all its weights are NaN"),
        "cut": (made.variables._asdict(), "its tensor files are cut in half"),
        "no-json": (made.variables._asdict(), "its metadata are no JSON"),
        "huge": (made.variables._asdict(), "its configuration asks for a network of terabytes"),
    }
    for name, (tree, _) in folders.items():
        checkpoint.save(folder / name, tree, checkpoint.Metadata(made.config))
    for file in (folder / "cut").rglob("d/*"):
        os.truncate(file, file.stat().st_size // 2)
    (folder / "no-json" / "_CHECKPOINT_METADATA").write_bytes(b"{" * 10_000)
    text = json.dumps(
        {"custom_metadata": checkpoint.Metadata(dataclasses.replace(made.config, widths=(1 << 20,) * 9)).to_json()}
    )
    (folder / "huge" / "_CHECKPOINT_METADATA").write_text(text)
    (folder / "loop").symlink_to("..")
    listed = {name: why for name, (_, why) in [*files.items(), *folders.items()]}
    return {f"hostile/{name}": why for name, why in {**listed, "loop": "a link back to the zoo"}.items()}


if __name__ == "__main__":
    main()
