from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from hfscan.data import load_images
from hfscan.decoding import decode
from hfscan.errors import DataError, UsageError
from hfscan.types import ImageSet, ModelFacts

CLASSES = ("ant", "bee", "cat")
LABELS = [0, 0, 1, 1, 2, 2]


def picture(index: int, size: tuple[int, int] = (8, 6)) -> Image.Image:
    """A small image that no other index has."""
    rng = np.random.default_rng(index)
    return Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8))


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def pixels(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def facts(*label_names: str, **more: Any) -> ModelFacts:
    """Of a model that wants images as `picture` makes them."""
    some = {"input_size": (3, 8, 6)} | more
    return ModelFacts(
        "x", None, "net", num_classes=3, label_names=label_names, weights_sha256="", **some
    )


def image_folder(root: Path, pictures: Mapping[str, Image.Image]) -> Path:
    """Files in ``root``; the names are ways like ``test/ant/0.png``."""
    for name, image in pictures.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(root / name)
    return root


def table() -> datasets.Dataset:
    columns = {"img": [picture(index) for index in range(6)], "label": LABELS}
    features = {"img": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES))}
    return datasets.Dataset.from_dict(columns, datasets.Features(features))


def classes_in_folders(root: Path) -> Path:
    names = {f"{CLASSES[LABELS[index]]}/{index}.png": picture(index) for index in range(6)}
    return image_folder(root, names)


def parquet(root: Path) -> Path:
    (root / "data").mkdir(parents=True)
    table().to_parquet(root / "data" / "test-00000-of-00001.parquet")
    return root


def bare_parquet(root: Path) -> Path:
    """As other tools write it: a struct of bytes and path, and integers."""
    root.mkdir()
    cells = [{"bytes": png(picture(index)), "path": None} for index in range(6)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {"img": pa.array(cells, kind), "fine_label": pa.array(LABELS, pa.int64())}
    pq.write_table(pa.table(columns), root / "test.parquet")
    return root


def saved(root: Path) -> Path:
    table().save_to_disk(str(root))
    return root


def saved_splits(root: Path) -> Path:
    datasets.DatasetDict(test=table(), train=table().select([0])).save_to_disk(str(root))
    return root


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., ImageSet]:
    def load(root: Path, **options: Any) -> ImageSet:
        return load_images(str(root), cache_dir=tmp_path / "cache", **options)

    return load


Load = Callable[..., ImageSet]


@pytest.mark.parametrize("make", [classes_in_folders, parquet, bare_parquet, saved, saved_splits])
def test_sources(tmp_path: Path, load: Load, make: Callable[[Path], Path]) -> None:
    images = load(make(tmp_path / "set"))
    assert torch.equal(images.images, torch.stack([pixels(picture(index)) for index in range(6)]))
    assert images.labels.tolist() == LABELS
    assert images.classes == (() if make is bare_parquet else CLASSES)
    assert images.name == str(tmp_path / "set")
    assert images.revision is None


def test_neither_folder_nor_id(tmp_path: Path, load: Load) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        load(tmp_path / "missing")
    with pytest.raises(UsageError, match="not a dataset on the Hub"):
        load_images("a b")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="cannot be read as a dataset"):
        load(tmp_path / "empty")


@pytest.mark.parametrize("splits", [(), ("test",), ("train", "test")])
def test_saved_without_rows(tmp_path: Path, load: Load, splits: tuple[str, ...]) -> None:
    empty = table().select([])
    saved = datasets.DatasetDict(dict.fromkeys(splits, empty)) if splits else empty
    saved.save_to_disk(str(tmp_path / "set"))
    with pytest.raises(DataError, match="set is empty, or one of its splits is"):
        load(tmp_path / "set")


# --- splits


def splits(root: Path, *names: str) -> Path:
    files = {
        f"{name}/{CLASSES[index % 3]}/{index}.png": picture(index)
        for position, name in enumerate(names)
        for index in range(6 * position, 6 * position + 6)
    }
    return image_folder(root, files)


@pytest.mark.parametrize(("split", "first"), [("train", 0), ("test", 6)])
def test_the_split_is_chosen(tmp_path: Path, load: Load, split: str, first: int) -> None:
    images = load(splits(tmp_path / "set", "train", "test"), split=split)
    assert images.split == split
    assert torch.equal(images.images[0], pixels(picture(first)))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("train",), "train"),
        (("train", "validation", "test"), "test"),
        (("train", "valid"), "validation"),  # as `datasets` calls it
        (("extra", "val"), "validation"),
    ],
)
def test_the_usual_split(tmp_path: Path, load: Load, names: tuple[str, ...], expected: str) -> None:
    assert load(splits(tmp_path / "set", *names)).split == expected


@pytest.mark.parametrize("name", ["valid", "val"])
def test_the_usual_split_of_a_saved_set(tmp_path: Path, load: Load, name: str) -> None:
    datasets.DatasetDict({"train": table(), name: table()}).save_to_disk(str(tmp_path / "set"))
    assert load(tmp_path / "set").split == name


def test_one_of_several_training_splits_is_not_taken(tmp_path: Path, load: Load) -> None:
    datasets.DatasetDict(train=table(), extra=table()).save_to_disk(str(tmp_path / "set"))
    with pytest.raises(DataError, match="no split 'test' or 'validation' or") as caught:
        load(tmp_path / "set")
    assert caught.value.hint == "choose --split from train, extra"


@pytest.mark.parametrize("split", ["dev", "test"])
def test_a_split_that_was_asked_for_is_not_replaced(tmp_path: Path, load: Load, split: str) -> None:
    for root in (splits(tmp_path / "set", "train"), saved(tmp_path / "saved")):
        with pytest.raises(DataError, match=f"no split '{split}'"):
            load(root, split=split)


def test_an_unknown_split(tmp_path: Path, load: Load) -> None:
    with pytest.raises(DataError, match="no split 'dev'") as caught:
        load(splits(tmp_path / "set", "train", "test"), split="dev")
    assert "train, test" in caught.value.hint


# --- images


def test_a_damaged_image_is_named(tmp_path: Path, load: Load) -> None:
    root = classes_in_folders(tmp_path / "set")
    (root / "bee" / "3.png").write_bytes(png(picture(3))[:80])
    with pytest.raises(DataError, match=r"row 3 \(3.png\) cannot be read"):
        load(root)


def with_path(root: Path, path: str) -> Path:
    """Images that a file names instead of having them."""
    return columns(root, image=[path], label=[0])


def test_images_are_files_of_the_data_set(tmp_path: Path, load: Load) -> None:
    (tmp_path / "private.png").write_bytes(png(picture(1)))
    for number, path in enumerate((str(tmp_path / "private.png"), "../private.png", "/dev/zero")):
        root = with_path(tmp_path / f"set{number}", path)
        with pytest.raises(DataError, match="it names a file outside the data set"):
            load(root, image_column="image")
    inside = with_path(tmp_path / "set", "one.png")
    (inside / "one.png").symlink_to(tmp_path / "private.png")
    assert len(load(inside, image_column="image")) == 1


def test_different_sizes_need_a_size(tmp_path: Path, load: Load) -> None:
    root = image_folder(
        tmp_path / "set", {"ant/0.png": picture(0), "bee/1.png": picture(1, (9, 9))}
    )
    with pytest.raises(DataError, match="2 different sizes"):
        load(root)
    assert load(root, size=(4, 5)).size == (4, 5)


def test_images_are_cut_as_asked(tmp_path: Path, load: Load) -> None:
    how: dict[str, Any] = {"crop_pct": 0.6, "interpolation": "bilinear"}
    model = facts(input_size=(3, 4, 4), **how)
    found = load(classes_in_folders(tmp_path / "set"), model=model).images[0]
    assert torch.equal(found, decode(io.BytesIO(png(picture(0))), size=(4, 4), where="x", **how))
    assert not torch.equal(found, load(tmp_path / "set", size=(4, 4)).images[0])


def test_some_images(tmp_path: Path, load: Load) -> None:
    root = classes_in_folders(tmp_path / "set")
    some = load(root, images=3)
    assert some.labels.tolist() == [0, 1, 2]
    assert torch.equal(some.images, load(root, images=3).images)
    chosen = {load(root, images=3, seed=seed).facts.fingerprint for seed in range(5)}
    assert len(chosen) > 1


# --- columns and labels


def columns(root: Path, **values: list[Any]) -> Path:
    features = {
        name: datasets.Image() if isinstance(column[0], Image.Image) else None
        for name, column in values.items()
    }
    made = datasets.Dataset.from_dict(values)
    for name, kind in features.items():
        made = made.cast_column(name, kind) if kind else made
    root.mkdir()
    made.to_parquet(root / "test.parquet")
    return root


def test_columns_can_be_named(tmp_path: Path, load: Load) -> None:
    one, two = [picture(0), picture(1)], [picture(2), picture(3)]
    root = columns(tmp_path / "set", a=one, b=two, coarse_label=[0, 1], fine_label=[5, 6])
    for options, message in (
        ({}, "has 2 image columns"),
        ({"image_column": "a"}, "has 2 label columns"),
        ({"image_column": "c"}, "has no column 'c'"),
        ({"image_column": "a", "label_column": "a"}, "integer labels, but Image"),
    ):
        with pytest.raises(DataError, match=message):
            load(root, **options)
    found = load(root, image_column="b", label_column="fine_label")
    assert torch.equal(found.images[0], pixels(picture(2)))
    assert found.labels.tolist() == [5, 6]


@pytest.mark.parametrize("name", ["label", "labels"])
def test_a_column_that_is_called_label_comes_first(tmp_path: Path, load: Load, name: str) -> None:
    names = datasets.ClassLabel(names=["good", "bad"])
    made = datasets.Dataset.from_dict(
        {"a": [picture(0), picture(1)], "quality": [0, 1], name: [5, 6], "label_id": [7, 8]}
    )
    made = made.cast_column("a", datasets.Image()).cast_column("quality", names)
    made.save_to_disk(str(tmp_path / "set"))
    found = load(tmp_path / "set")
    assert (found.label_column, found.labels.tolist()) == (name, [5, 6])
    made.remove_columns(name).save_to_disk(str(tmp_path / "other"))
    with pytest.raises(DataError, match="has 2 label columns") as caught:
        load(tmp_path / "other")
    assert caught.value.hint == "choose --label-column from quality, label_id"


def test_no_columns(tmp_path: Path, load: Load) -> None:
    with pytest.raises(DataError, match="has no image column"):
        load(columns(tmp_path / "numbers", x=[1, 2], label=[0, 1]))
    with pytest.raises(DataError, match="has no label column"):
        load(columns(tmp_path / "pictures", a=[picture(0), picture(1)]))


def test_labels_as_text(tmp_path: Path, load: Load) -> None:
    root = columns(tmp_path / "set", a=[picture(0), picture(1)], label=["bee", "ant"])
    with pytest.raises(DataError, match="are text, and not all are names of the model's") as caught:
        load(root, model=facts("ant", "wasp"))
    assert '{"ant": 0, "bee": 1}' in caught.value.hint
    assert load(root, label_map={"bee": 7, "ant": 3}).labels.tolist() == [7, 3]
    named = load(root, model=facts("ANT", "cat", "bee"))
    assert (named.labels.tolist(), named.classes) == ([2, 0], ("ANT", "cat", "bee"))


def test_names_in_a_metadata_file(tmp_path: Path, load: Load) -> None:
    root = image_folder(tmp_path / "set", {"0.png": picture(0), "1.png": picture(1)})
    (root / "metadata.csv").write_text("file_name,label\n0.png,bee\n1.png,ant\n")
    assert load(root, label_map={"bee": 7, "ant": 3}).labels.tolist() == [7, 3]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0.0, 1.0], "column label of .* does not have integer labels, but float64"),
        ([[0], [1]], "column label of .* does not have integer labels, but List"),
        ([0, None], "row 1 of .* has no label in column label"),
        (["ant", None], "row 1 of .* has no label in column label"),
        ([0, 2**31], "label 2147483648 of .* is too large"),
    ],
)
def test_labels_that_are_none(tmp_path: Path, load: Load, labels: list[Any], message: str) -> None:
    root = columns(tmp_path / "set", a=[picture(0), picture(1)], label=labels)
    with pytest.raises(DataError, match=message):
        load(root)


def numbered_folders(root: Path, *names: str) -> Path:
    files = {f"{name}/{index}.png": picture(index) for index, name in enumerate(names)}
    return image_folder(root, files)


def test_class_folders_of_the_models_names(tmp_path: Path, load: Load) -> None:
    found = load(numbered_folders(tmp_path / "set", "ant", "cat"), model=facts("Cat", "bee", "Ant"))
    assert (found.labels.tolist(), found.classes) == ([2, 0], ("Cat", "bee", "Ant"))


def test_class_folders_that_are_numbers(tmp_path: Path, load: Load) -> None:
    """`datasets` sorts them as text: 0, 1, 10, 11, 2."""
    root = numbered_folders(tmp_path / "set", *map(str, range(12)))
    found = load(root)
    assert torch.equal(found.images[found.labels == 2][0], pixels(picture(2)))
    assert found.classes == tuple(map(str, range(12)))
    assert load(root, label_map={"2": 0}).facts.images == 1


@pytest.mark.parametrize("names", [("1", "2"), ("b2", "b10"), ("Bee", "ant")])
def test_class_folders_in_no_certain_order(
    tmp_path: Path, load: Load, names: tuple[str, ...]
) -> None:
    root = numbered_folders(tmp_path / "set", *names)
    with pytest.raises(DataError, match="can be numbered in more than one way") as caught:
        load(root)
    assert "--label-map" in caught.value.hint
    with pytest.raises(DataError, match="'0', which is no class"):
        load(numbered_folders(tmp_path / "numbers", "1", "2"), label_map={"0": 0})
    assert load(root, label_map={names[0]: 5, names[1]: 3}).labels.sum() == 8


def test_stored_labels_are_taken_as_they_are(tmp_path: Path, load: Load) -> None:
    """Whoever saves class folders that `datasets` numbered has these numbers."""
    root = numbered_folders(tmp_path / "set", *map(str, range(12)))
    made = datasets.load_dataset(str(root), cache_dir=str(tmp_path / "other"), split="train")
    made.save_to_disk(str(tmp_path / "saved"))
    assert load(tmp_path / "saved").classes[2] == "10"


@pytest.mark.parametrize("keys", [("cat", "ant"), ("2", "0")])
def test_label_map(tmp_path: Path, load: Load, keys: tuple[str, str]) -> None:
    found = load(classes_in_folders(tmp_path / "set"), label_map={keys[0]: 7, keys[1]: 3})
    assert found.labels.tolist() == [3, 3, 7, 7]
    assert torch.equal(found.images[2], pixels(picture(4)))
    assert found.classes == ()


def test_label_map_that_does_not_fit(tmp_path: Path, load: Load) -> None:
    root = classes_in_folders(tmp_path / "set")
    with pytest.raises(DataError, match="'dog', which is no class") as caught:
        load(root, label_map={"dog": 0})
    assert "ant, bee, cat" in caught.value.hint
    with pytest.raises(DataError, match="no images"):
        load(root, label_map={"9": 0})
