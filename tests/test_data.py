"""Data sets: digits, TFDS folders that a test writes, CIFAR-10 where it is prepared, and what is wrong with folders."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wmjax.data import Dataset, digest, load, load_source
from wmjax.errors import AccessError, UsageError
from wmjax.keys import Paper, generate, make_spec


def write_tfds(
    folder: Path, name: str, images: dict[str, np.ndarray], labels: dict[str, np.ndarray], feature: str = "label"
) -> Path:
    """A TFDS array_record folder, written by TFDS itself without TensorFlow (PIL images encode without it)."""
    import tensorflow_datasets as tfds

    shape = next(iter(images.values())).shape[1:]

    class Shapes(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {"image": tfds.features.Image(shape=shape), feature: tfds.features.ClassLabel(num_classes=3)}
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {split: self._examples(split) for split in images}

        def _examples(self, split):
            for i, (image, label) in enumerate(zip(images[split], labels[split], strict=True)):
                yield i, {"image": Image.fromarray(image[..., 0] if shape[2] == 1 else image), feature: int(label)}

        def _generate_examples(self):
            raise NotImplementedError

    Shapes.name = name
    tfds.disable_progress_bar()
    Shapes(data_dir=folder, file_format="array_record").download_and_prepare()
    return folder / name / "1.0.0"


def made(channels: int, seed: int = 0) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    sizes = {"train": 30, "test": 12}
    images = {split: rng.integers(0, 256, (n, 6, 5, channels), dtype=np.uint8) for split, n in sizes.items()}
    return images, {split: rng.integers(0, 3, n) for split, n in sizes.items()}


def contents(images: np.ndarray, labels: np.ndarray) -> set[tuple[bytes, int]]:
    return {(image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)}


def test_digits_are_whole_and_apart():
    splits = load("digits")
    assert (len(splits.train), len(splits.test), splits.train.classes) == (1437, 360, 10)
    assert splits.train.images.dtype == np.uint8
    assert splits.train.images.max() == 255
    assert splits.train.image == (8, 8, 1)
    assert np.bincount(splits.test.labels).min() > 20


@pytest.mark.parametrize("channels", [1, 3])
def test_a_tfds_folder_comes_back_pixel_for_pixel(tmp_path, channels):
    images, labels = made(channels)
    write_tfds(tmp_path, "shapes", images, labels)
    splits = load("shapes", tmp_path)
    for split, read in (("train", splits.train), ("test", splits.test)):
        assert contents(read.images, read.labels) == contents(images[split], labels[split])
        assert (read.classes, read.labels.dtype, read.image) == (3, np.int32, (6, 5, channels))


def test_the_environment_names_the_folder(tmp_path, monkeypatch):
    write_tfds(tmp_path, "shapes", *made(1))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert len(load("shapes").test) == 12


def test_a_test_split_alone_is_a_source_but_nothing_to_train_on(tmp_path):
    images, labels = made(1)
    write_tfds(tmp_path, "shapes", {"test": images["test"]}, {"test": labels["test"]})
    source = load_source("shapes", tmp_path)
    assert contents(source.images, source.labels) == contents(images["test"], labels["test"])
    with pytest.raises(AccessError, match="no split train"):
        load("shapes", tmp_path)


def test_a_source_is_the_training_split():
    assert digest(load_source("digits")) == digest(load("digits").train)


def test_a_set_that_is_no_image_classification(tmp_path):
    write_tfds(tmp_path, "odd", *made(1), feature="colour")
    with pytest.raises(UsageError, match="no features"):
        load("odd", tmp_path)


def test_a_missing_shard_and_a_wrong_count_are_noticed(tmp_path):
    folder = write_tfds(tmp_path, "shapes", *made(1))
    info = json.loads((folder / "dataset_info.json").read_text())
    info["splits"][0]["shardLengths"] = [str(999)]
    (folder / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(AccessError, match="holds 30 records, .* says 999"):
        load("shapes", tmp_path)
    for shard in folder.glob("*.array_record*"):
        shard.unlink()
    with pytest.raises(AccessError, match="is missing"):
        load("shapes", tmp_path)


def test_a_damaged_folder(tmp_path):
    folder = write_tfds(tmp_path, "shapes", *made(1))
    (folder / "features.json").write_text("{")
    with pytest.raises(AccessError) as caught:
        load("shapes", tmp_path)
    assert "\n" not in str(caught.value)
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["", "no such set", "nothing_of_the_kind"])
def test_unknown_names(tmp_path, name):
    with pytest.raises(UsageError, match="unknown data set"):
        load(name, tmp_path)


def test_known_but_not_prepared(tmp_path):
    with pytest.raises(AccessError, match="wmjax prepare cifar10"):
        load("cifar10", tmp_path)
    with pytest.raises(AccessError, match="prepare it with TFDS"):
        load("mnist", tmp_path)


def test_digest_sees_pixels_labels_shape_and_classes():
    rng = np.random.default_rng(0)
    base = Dataset(rng.integers(0, 256, (4, 2, 3, 1), dtype=np.uint8), np.arange(4, dtype=np.int32), 10)
    pixel = base.images.copy()
    pixel[0, 0, 0, 0] ^= 1
    others = [
        Dataset(pixel, base.labels, 10),
        Dataset(base.images, base.labels[::-1], 10),
        Dataset(base.images.reshape(4, 3, 2, 1), base.labels, 10),
        Dataset(base.images, base.labels, 11),
    ]
    assert len({digest(data) for data in (base, *others)}) == 5
    assert digest(base) == digest(Dataset(base.images.copy(), base.labels.astype(np.int64), 10))


@pytest.mark.cifar10
def test_cifar10_is_all_there_and_makes_the_papers_key():
    splits = load("cifar10")
    paper = make_spec(
        "content",
        image=(32, 32, 3),
        classes=10,
        triggers=1,
        labels="fixed",
        source=("cifar10", splits.train),
        paper=Paper(source_class=1, target_class=0, share_percent=30),
    )
    key = generate(paper, splits.train)
    assert (key.images.shape, set(key.labels.tolist())) == ((1500, 32, 32, 3), {0})
    assert splits.train.images.shape == (50_000, 32, 32, 3)
    assert np.bincount(splits.train.labels).tolist() == [5000] * 10
    assert np.bincount(splits.test.labels).tolist() == [1000] * 10
