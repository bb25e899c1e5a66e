"""Data sets: digits, TFDS sets and folders of pictures that a test writes, CIFAR-10, and what is wrong with files."""

import importlib.machinery
import io
import json
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wmjax.data import Dataset, load, load_source, open_splits, read, share_bounds
from wmjax.data.encoded import Picture, decode
from wmjax.errors import AccessError, UsageError, WmjaxError
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


def test_a_damaged_file_of_digits_is_one_line(monkeypatch, tmp_path):
    (tmp_path / "datasets/data").mkdir(parents=True)
    (tmp_path / "datasets/data/digits.csv.gz").write_bytes(b"\x1f\x8b\x08")
    spec = importlib.machinery.ModuleSpec("sklearn", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr("wmjax.data.source.find_spec", lambda name: spec)
    with pytest.raises(AccessError, match="scikit-learn: install that again"):
        load("digits")


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
    for split, data in (("train", splits.train), ("test", splits.test)):
        assert contents(data.images, data.labels) == contents(images[split], labels[split])
        assert (data.classes, data.labels.dtype, data.image) == (3, np.int32, (6, 5, channels))


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
    assert load_source("digits").fingerprint() == load("digits").train.fingerprint()


def fails(kind: type[WmjaxError], match: str, name: object, data_dir: Path | None = None, **options: object) -> None:
    """Checks that a set fails with one line, on opening or on reading."""
    with pytest.raises(kind, match=match) as caught:
        load(str(name), data_dir, **options)
    assert len(str(caught.value).splitlines()) == 1


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_sets_that_are_no_image_classification(tmp_path):
    write_tfds(tmp_path, "odd", *made(1), feature="colour")
    fails(UsageError, "no features", "odd", tmp_path)
    features = write_tfds(tmp_path, "shapes", *made(1)) / "features.json"
    label = json.dumps(json.loads(features.read_text())["featuresDict"]["features"]["label"])
    for new, match in (
        ('{"pythonClassName": "tensorflow_datasets.core.features.text_feature.Text", "text": {}}', "not a ClassLabel"),
        (label.replace('"3"', '"0"'), "not a ClassLabel with a number"),
    ):
        document = json.loads(features.read_text())
        document["featuresDict"]["features"]["label"] = json.loads(new)
        features.write_text(json.dumps(document))
        fails(UsageError, match, "shapes", tmp_path)
    document["featuresDict"]["features"] |= {"label": json.loads(label), "image": json.loads(label)}
    features.write_text(json.dumps(document))
    fails(UsageError, "'image' is not an Image", "shapes", tmp_path)


def test_images_of_other_types(tmp_path):
    features = write_tfds(tmp_path, "shapes", *made(1)) / "features.json"
    change(features, "uint8", "uint16")
    fails(UsageError, "images are uint16, not uint8", "shapes", tmp_path)


def test_a_set_in_another_form(tmp_path):
    folder = write_tfds(tmp_path, "shapes", *made(1))
    change(folder / "dataset_info.json", "array_record", "tfrecord")
    fails(AccessError, "is in tfrecord form: .*file_format='array_record'", "shapes", tmp_path)


@pytest.mark.parametrize("promised", [29, 31, 999])
def test_more_or_fewer_records_than_promised(tmp_path, promised):
    folder = write_tfds(tmp_path, "shapes", *made(1))
    change(folder / "dataset_info.json", '"30"', f'"{promised}"')
    fails(AccessError, f"holds 30 records, but .* says {promised}: prepare it again", "shapes", tmp_path)


def test_damaged_shards(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (30, 80, 80, 1), dtype=np.uint8)  # more than one block of 64 KiB
    labels = np.zeros(30, int)
    folder = write_tfds(tmp_path, "shapes", {"train": noise, "test": noise}, {"train": labels, "test": labels})
    shard = next(folder.glob("*train.array_record*"))
    whole = shard.read_bytes()
    for damaged in (b"", whole[:-1], whole[: len(whole) // 2]):
        shard.write_bytes(damaged)
        fails(AccessError, f"{shard.name} is truncated or corrupt", "shapes", tmp_path)
    shard.write_bytes(whole[:100_000] + b"wmjax" + whole[100_005:])
    open_splits("shapes", tmp_path)
    fails(AccessError, "cannot read shapes train under .*: prepare it again", "shapes", tmp_path)
    shard.unlink()
    fails(AccessError, f"{shard.name} is missing", "shapes", tmp_path)


def test_a_damaged_folder(tmp_path):
    folder = write_tfds(tmp_path, "shapes", *made(1))
    (folder / "features.json").write_text("{")
    fails(AccessError, "cannot read shapes under", "shapes", tmp_path)


def test_a_label_that_no_class_has(tmp_path):
    images, labels = made(1)
    labels["test"][7] = -1  # TFDS's mark for a hidden label
    write_tfds(tmp_path, "shapes", images, labels)
    fails(AccessError, r"shapes test record \d+ has the label -1, outside 0..2", "shapes", tmp_path)


def test_a_validation_split_stands_in_for_a_test_split(tmp_path):
    images, labels = made(1)
    for part in (images, labels):
        part["validation"] = part.pop("test")
    write_tfds(tmp_path, "shapes", images, labels)
    test = load("shapes", tmp_path).test
    assert contents(test.images, test.labels) == contents(images["validation"], labels["validation"])


def test_any_rows_are_read_when_asked_for(tmp_path):
    write_tfds(tmp_path, "shapes", *made(3))
    lazy, whole = open_splits("shapes", tmp_path).train, load("shapes", tmp_path).train
    assert (len(lazy), lazy.image, lazy.classes) == (30, (6, 5, 3), 3)
    for rows in (slice(3, 9), slice(None, None, -7), np.array([5, 5, -1, 0]), np.arange(30) % 4 == 0, slice(4, 4)):
        assert lazy[rows].fingerprint() == whole[rows].fingerprint()
    with pytest.raises(IndexError):
        lazy[np.array([30])]


@pytest.mark.parametrize("parts", [1, 4, 7])
def test_shares_put_together_are_the_split(tmp_path, parts):
    write_tfds(tmp_path, "shapes", *made(1))
    for split in (open_splits("shapes", tmp_path).train, load("shapes", tmp_path).train):
        shares = [read(split, "reading", (i, parts)) for i in range(parts)]
        assert (
            split[:].fingerprint()
            == Dataset(
                np.concatenate([s.images for s in shares]), np.concatenate([s.labels for s in shares]), 3
            ).fingerprint()
        )
        sizes = [last - first for first, last in (share_bounds(30, (i, parts)) for i in range(parts))]
        assert [len(share) for share in shares] == sizes
        assert max(sizes) - min(sizes) <= 1


def test_too_large_for_memory(tmp_path):
    write_tfds(tmp_path, "shapes", *made(1))
    split = open_splits("shapes", tmp_path, image=(1 << 25, 1 << 25, 3)).train
    with pytest.raises(UsageError, match="GiB and do not fit in this machine"):
        read(split, "reading shapes train")


def test_a_fingerprint_stands_for_the_files(tmp_path):
    folder = write_tfds(tmp_path / "tfds", "shapes", *made(1))
    pictures = write_pictures(tmp_path / "pictures", [((6, 5), "L")] * 4)
    for name in ("shapes", str(pictures)):
        splits = open_splits(name, tmp_path / "tfds")
        again, small = (open_splits(name, tmp_path / "tfds", image=image).train for image in ((6, 5, 1), (3, 3, 1)))
        assert splits.train.fingerprint() == again.fingerprint()
        assert len({splits.train.fingerprint(), splits.test.fingerprint(), small.fingerprint()}) == 3
    before = [open_splits(name, tmp_path / "tfds").train.fingerprint() for name in ("shapes", str(pictures))]
    change(folder / "dataset_info.json", "1.0.0", "1.0.1")
    (pictures / "train" / "a" / "0.png").rename(pictures / "train" / "a" / "00.png")
    after = [open_splits(name, tmp_path / "tfds").train.fingerprint() for name in ("shapes", str(pictures))]
    assert not set(before) & set(after)


def write_pictures(root: Path, pictures: list[tuple[tuple[int, int], str]], suffix: str = ".png") -> Path:
    """A folder with classes a and b, whose splits both have the given pictures of (height, width) and mode."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for i, ((height, width), mode) in enumerate(pictures):
            path = root / split / "ab"[i % 2] / f"{i}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
            noise.convert(mode).save(path, **({"lossless": True} if suffix == ".webp" else {}))
    return root


@pytest.mark.parametrize("suffix", [".png", ".BMP", ".webp"])
def test_a_folder_of_pictures_comes_back_pixel_for_pixel(tmp_path, monkeypatch, suffix):
    write_pictures(tmp_path / "set", [((6, 5), "RGB")] * 5, suffix)
    (tmp_path / "set" / "train" / "a" / ".DS_Store").write_text("")
    monkeypatch.chdir(tmp_path)
    splits = load("./set")
    assert (splits.train.image, splits.train.classes) == ((6, 5, 3), 2)
    assert splits.train.labels.tolist() == [0, 0, 0, 1, 1]
    for image, file in zip(splits.test.images, ["a/0", "a/2", "a/4", "b/1", "b/3"], strict=True):
        assert np.array_equal(image, np.asarray(Image.open(f"set/test/{file}{suffix}")))
    assert (
        load(str(tmp_path / "set")).test.fingerprint()
        == load("./set/../set/").test.fingerprint()
        == splits.test.fingerprint()
    )


def test_val_stands_in_for_test_and_either_is_a_source(tmp_path):
    root = write_pictures(tmp_path / "set", [((6, 5), "L")] * 4)
    (root / "test").rename(root / "val")
    assert len(load(str(root)).test) == 4
    assert load_source(str(root)).fingerprint() == load(str(root)).train.fingerprint()
    (root / "train").rename(tmp_path / "elsewhere")
    assert len(load_source(str(root))) == 4
    fails(AccessError, "no split train", root)


MODES = ["L", "RGB", "RGBA", "P", "1", "LA"]


@pytest.mark.parametrize("shape", [(8, 8, 3), (4, 7, 1), (1, 1, 3), (30, 50, 3)])
def test_one_size_for_pictures_of_many(tmp_path, shape):
    sizes = [(20, 30), (30, 20), (8, 8), (1, 40), (9, 7), (3, 3)]
    root = write_pictures(tmp_path / "set", list(zip(sizes, MODES, strict=True)))
    fails(UsageError, "images differ in size: .*`image`", root)
    splits = load(str(root), image=shape)
    assert (splits.train.image, len(splits.train)) == (shape, 6)


def test_resizing_keeps_the_middle_at_its_proportions():
    stripes = np.zeros((20, 60, 3), np.uint8)
    stripes[:, 20:40], stripes[:, 40:] = 100, 200
    encoded = io.BytesIO()
    Image.fromarray(stripes).save(encoded, "PNG")
    middle = decode(Picture("it", encoded.getvalue(), 0), (10, 10, 3))
    assert np.all(middle[:, 1:-1] == 100)
    assert np.array_equal(decode(Picture("it", encoded.getvalue(), 0), (20, 60, 3)), stripes)


def test_a_large_jpeg_is_decoded_small():
    slope = np.broadcast_to(np.linspace(0, 255, 800).astype(np.uint8)[:, None, None], (800, 800, 3))
    encoded = io.BytesIO()
    Image.fromarray(slope).save(encoded, "JPEG", quality=95)
    small = decode(Picture("it", encoded.getvalue(), 0), (8, 8, 1))
    assert np.allclose(small[:, 3, 0], np.linspace(0, 255, 800).reshape(8, 100).mean(1), atol=6)


@pytest.mark.parametrize("image", [(8, 8, 2), (0, 8, 3), (8, -1, 1)])
def test_sizes_that_no_picture_has(tmp_path, image):
    fails(UsageError, "`image` .*: sizes must be", write_pictures(tmp_path / "set", [((6, 5), "L")] * 2), image=image)


def test_bad_folders(tmp_path, monkeypatch):
    fails(AccessError, "is not a folder", tmp_path / "absent")
    fails(AccessError, "neither a folder train nor a folder test", tmp_path)
    root = write_pictures(tmp_path / "set", [((6, 5), "L")] * 4)
    (root / "test").rename(root / "elsewhere")
    fails(AccessError, "no split test", root)
    (root / "test" / "c").mkdir(parents=True)
    fails(AccessError, "c is a class that the training split lacks", root)
    (root / "test" / "c").rename(root / "test" / "a")
    fails(AccessError, "a has no pictures", root)
    (root / "test" / "a").rmdir()
    fails(AccessError, "test has no folders of classes", root)
    (root / "train" / "a" / "notes.txt").write_text("two of them")
    fails(AccessError, r"notes.txt is not a picture \(.png", root)

    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)  # a mode of 0 does not keep root out
    fails(AccessError, "cannot read .*train: Permission denied: check", root)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


ENORMOUS = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0))


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"no picture", b"\x89PNG\r\n\x1a\n", ENORMOUS, "truncated"])
def test_files_that_are_no_pictures(tmp_path, content):
    root = write_pictures(tmp_path / "set", [((60, 50), "L")] * 4)
    bad = root / "test" / "b" / "3.png"
    bad.write_bytes(bad.read_bytes()[:500] if content == "truncated" else content)
    fails(AccessError, f"cannot read {bad}: .*: replace or remove it", root)
    bad.unlink()
    bad.symlink_to(root / "absent.png")
    fails(AccessError, "3.png is not a picture", root)


def test_pixels_that_are_no_bytes(tmp_path):
    root = write_pictures(tmp_path / "set", [((6, 5), "L")] * 4)
    Image.fromarray(np.arange(30, dtype=np.uint16).reshape(6, 5)).save(root / "train" / "a" / "2.png")
    for image in (None, (6, 5, 1)):
        fails(UsageError, "2.png has pixels of I;16, not uint8", root, image=image)


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
    assert len({data.fingerprint() for data in (base, *others)}) == 5
    assert base.fingerprint() == Dataset(base.images.copy(), base.labels.astype(np.int64), 10).fingerprint()


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
