"""Clean images from anything that `datasets` reads. The only module that imports it."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import datasets
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from datasets import Image as ImageFeature
from datasets.data_files import DataFilesDict
from datasets.exceptions import DatasetNotFoundError, DatasetsError
from torch import Tensor

from hfscan.decoding import broken, decode
from hfscan.errors import DataError, HubError
from hfscan.hub.client import hub_cache, hub_errors
from hfscan.hub.reference import Reference, folder_name, parse_reference
from hfscan.hub.revision import pin
from hfscan.labels import MAX_LABEL, by_name, how_to_map, in_one_order, mapped, natural
from hfscan.types import ImageSet, ModelFacts, stratified_order

USUAL_SPLITS = ("test", "validation", "valid", "val")
"""Where no split is named, the first of these that there is, or the only split."""


def quiet_datasets() -> None:
    """No bars and messages of `datasets` on stderr: what it logs as an error it raises as well."""
    datasets.disable_progress_bars()
    logging.getLogger("datasets").setLevel(logging.CRITICAL)


def datasets_cache() -> Path:
    """Where `datasets` keeps what it downloads and prepares."""
    return Path(datasets.config.HF_DATASETS_CACHE)


def load_images(
    source: str,
    *,
    model: ModelFacts | None = None,
    split: str | None = None,
    images: int | None = None,
    seed: int = 0,
    size: tuple[int, int] | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    label_map: Mapping[str, int] | None = None,
    token: str | None = None,
    cache_dir: Path | None = None,
) -> ImageSet:
    """Load labelled images.

    Args:
        source: A dataset id on the Hub (``cifar10`` and ``owner/name@revision`` too), or a folder written
            as one (``./x``): a dataset in files, one saved with ``save_to_disk``, or images in one
            folder per class.
        model: What they are for. Images of another size are resized and cut as it wants them, and where the
            data set has names and no numbers (text, class folders), they become its labels of these names.
        split: Which split; if None ``test``, else ``validation``, else the only one.
        images: At most so many, the classes as equally often as they allow; None for all.
        seed: Which images.
        size: Without a model, height and width to bring the images to; None if they all have the same already.
        image_column: Where the images are, if it is not obvious.
        label_column: Where the labels are, if it is not obvious.
        label_map: Class name or label of the data set -> label of the model; others are left out.
        token: Of the Hub; the saved one if None.
        cache_dir: Of `datasets`; its default if None.

    Raises:
        UsageError: The source is neither an id nor a folder.
        HubError: The dataset cannot be had.
        DataError: There are no images or labels in it, or they cannot be read.
    """
    label_names = model.label_names if model else ()
    crop_pct, interpolation = (model.crop_pct, model.interpolation) if model else (1.0, "bicubic")
    if model:
        size = model.input_size[1], model.input_size[2]
    reference = parse_reference(source, "dataset")
    dataset, name, revision, chosen = _open(reference, split, token, cache_dir)
    image_column = _image_column(dataset.features, image_column, name)
    label_column = _label_column(dataset.features, label_column, name)
    labels, classes = _labels(dataset, label_column, name)
    rows = torch.arange(len(labels))
    if label_map is not None:
        labels, rows = mapped(labels, classes, label_map)
        classes = ()
    elif _is_text(dataset.features[label_column]):
        labels, classes = _of_text(labels, classes, label_names, name)
    elif _are_folders(dataset, classes, reference):
        labels, classes = _of_folders(labels, classes, label_names, name)
    if not len(rows):
        raise DataError(
            f"{name} has no images in split {chosen}"
            + ("" if label_map is None else " of the classes in the label map"),
            "choose another --split, or a larger --label-map",
        )
    if images is not None and images < len(rows):
        kept = stratified_order(labels[rows], seed)[:images].sort().values
        rows = rows[kept]
    pictures = dataset.select_columns([image_column]).cast_column(
        image_column, ImageFeature(decode=False)
    )
    folders = _folders(reference, cache_dir)
    pixels = []
    for row in rows:
        cell = pictures[int(row)][image_column]
        where = f"{name} row {row}"
        if isinstance(cell, dict) and cell.get("path"):
            where += f" ({Path(cell['path']).name:.60})"
        file = _file(cell, folders, where)
        pixels.append(
            decode(file, size=size, crop_pct=crop_pct, interpolation=interpolation, where=where)
        )
    return ImageSet(
        name=name,
        images=_stack(pixels, name),
        labels=labels[rows],
        classes=classes,
        revision=revision,
        split=chosen,
        image_column=image_column,
        label_column=label_column,
        label_map=label_map,
    )


def _open(
    reference: Reference, split: str | None, token: str | None, cache_dir: Path | None
) -> tuple[Dataset, str, str | None, str]:
    """The split, the source's canonical name, its commit sha and the split's name."""
    if reference.folder is not None:
        name = folder_name(reference.folder)
        whole = _open_folder(reference.folder, cache_dir)
        revision = None
    else:
        name, revision = pin(reference, "dataset", token=token, cache_dir=cache_dir)
        whole = _download(name, revision, split, token, cache_dir)
    if isinstance(whole, Dataset):
        whole = DatasetDict({str(whole.split or "all"): whole})
    chosen = _choose(split, list(whole), name)
    return whole[chosen], name, revision, chosen


def _choose(split: str | None, splits: Sequence[str], name: str) -> str:
    """The wanted split, or a usual one; never one for training where there are others."""
    wanted = USUAL_SPLITS if split is None else (split,)
    found = [one for one in wanted if one in splits]
    if split is None and len(splits) == 1:
        found = [str(splits[0])]
    if not found:
        raise DataError(
            f"{name} has no split {' or '.join(f'{one!r:.40}' for one in wanted)}",
            f"choose --split from {', '.join(map(str, splits))}",
        )
    return found[0]


def _download(
    name: str, revision: str, split: str | None, token: str | None, cache_dir: Path | None
) -> DatasetDict:
    """The splits; only the wanted one, where each has Parquet files of its own."""
    with hub_errors(f"datasets/{name}", revision):
        try:
            builder = datasets.load_dataset_builder(
                f"hf://datasets/{name}",  # a folder of that name must not stand in for it
                revision=revision,
                token=token,
                cache_dir=str(_cache_of(split, cache_dir)),
            )
            whole = builder.config.data_files  # None if it comes from the cache
            if whole and _are_parquet(whole):
                chosen = _choose(split, list(whole), name)
                builder.config.data_files = DataFilesDict({chosen: whole[chosen]})
                builder.download_and_prepare(verification_mode="no_checks")  # of all splits
            else:
                builder.download_and_prepare()
            loaded = builder.as_dataset()
        except DatasetNotFoundError as error:
            raise HubError(
                str(error), "accept its conditions on its page, then hf auth login or --token"
            ) from error
        except (
            ValueError,
            TypeError,
            KeyError,
            RuntimeError,
            FileNotFoundError,
            DatasetsError,
        ) as error:
            raise _unreadable(name, error) from error
    _check_commit(loaded, name, revision)
    return loaded


def _cache_of(split: str | None, cache_dir: Path | None) -> Path:
    """A place for each split: `datasets` takes what it finds in its own for all of them."""
    folder = f"split-{quote(split or USUAL_SPLITS[0], safe='')[:80]}"
    return (cache_dir or datasets_cache()) / "hfscan" / folder


def _are_parquet(files: Mapping[str, Sequence[str]]) -> bool:
    """Whether each file says itself which labels it has; folders' names mean nothing alone."""
    return all(file.endswith(".parquet") for split in files.values() for file in split)


def _check_commit(loaded: DatasetDict, name: str, revision: str) -> None:
    """Where the Hub does not answer, `datasets` takes any commit that it has in its cache."""
    files = [Path(file["filename"]) for split in loaded.values() for file in split.cache_files]
    if any(revision not in file.parts for file in files):
        raise HubError(
            f"datasets/{name} cannot be had at commit {revision}: the Hub did not answer, and the "
            "cache has another commit",
            "check the network, or pin the one in the cache: owner/name@revision",
        )


def _open_folder(folder: Path, cache_dir: Path | None) -> DatasetDict | Dataset:
    if not os.path.isdir(folder):  # noqa: PTH112 - the other raises for a long name
        raise DataError(
            f"there is no folder {folder_name(folder)}",
            "check the path; a dataset on the Hub is owner/name",
        )
    saved = _is_saved(folder)
    try:
        if saved:
            return datasets.load_from_disk(str(folder))
        return datasets.load_dataset(str(folder.resolve()), cache_dir=_text(cache_dir))
    except Exception as error:  # a damaged file fails anywhere inside pyarrow, PIL or datasets
        if saved and isinstance(error, IndexError):  # there is no first file of rows
            raise DataError(
                f"{folder_name(folder)} is empty, or one of its splits is",
                "save it again, with images in every split",
            ) from error
        raise _unreadable(str(folder), error) from error


def _is_saved(folder: Path) -> bool:
    """Whether ``save_to_disk`` wrote it."""
    return (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file()


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _unreadable(name: str, error: Exception) -> DataError:
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    detail = " ".join(str(cause).split())[:160]
    return DataError(
        f"{name} cannot be read as a dataset ({type(cause).__name__}: {detail})",
        "it must be a Hub dataset, Parquet files, or images in one folder per class",
    )


def _image_column(features: Features, wanted: str | None, name: str) -> str:
    images = [column for column, kind in features.items() if isinstance(kind, ImageFeature)]
    raw = [column for column, kind in features.items() if _is_raw_image(kind)]
    column = _only(images or raw, wanted, list(features), name, "image")
    kind = features[column]
    if column not in images + raw and not (isinstance(kind, Value) and kind.dtype in FILES):
        raise DataError(
            f"column {column} of {name} does not have images", "name another with --image-column"
        )
    return column


FILES = ("binary", "large_binary", "string", "large_string")
"""Types of a column of image files, or of their paths."""


def _is_raw_image(kind: object) -> bool:
    """Image files as Parquet without the `datasets` metadata stores them."""
    return isinstance(kind, Mapping) and {"bytes", "path"} <= set(kind)


def _label_column(features: Features, wanted: str | None, name: str) -> str:
    exact = [column for column in features if column in ("label", "labels")]
    likely = [
        column
        for column, kind in features.items()
        if isinstance(kind, ClassLabel)
        or (isinstance(kind, Value) and "label" in column.lower() and "int" in kind.dtype)
    ]
    found = exact if len(exact) == 1 else likely
    return _only(found, wanted, list(features), name, "label")


def _only(
    found: Sequence[str], wanted: str | None, columns: Sequence[str], name: str, what: str
) -> str:
    if wanted is not None:
        if wanted not in columns:
            raise DataError(
                f"{name} has no column {wanted!r:.60}", f"its columns are {', '.join(columns)}"
            )
        return wanted
    if not found:
        raise DataError(
            f"{name} has no {what} column (columns: {', '.join(columns)})",
            f"name it with --{what}-column"
            + ("; a folder of images needs one subfolder per class" if what == "label" else ""),
        )
    if len(found) > 1:
        raise DataError(
            f"{name} has {len(found)} {what} columns",
            f"choose --{what}-column from {', '.join(found)}",
        )
    return found[0]


def _labels(dataset: Dataset, column: str, name: str) -> tuple[Tensor, tuple[str, ...]]:
    """Labels, and the names of the classes; text becomes its place in alphabetical order."""
    kind = dataset.features[column]
    dtype = kind.dtype if isinstance(kind, ClassLabel | Value) else type(kind).__name__
    if not _is_text(kind) and not dtype.startswith(("int", "uint", "bool")):
        raise DataError(
            f"column {column} of {name} does not have integer labels, but {dtype}",
            "name another one with --label-column, or convert it",
        )
    values = dataset[column][:]
    if None in values:
        raise DataError(
            f"row {values.index(None)} of {name} has no label in column {column}",
            "remove it from the data set, or label it",
        )
    classes = tuple(kind.names) if isinstance(kind, ClassLabel) else ()
    if _is_text(kind):
        classes = tuple(sorted(set(values)))
        places = {text: place for place, text in enumerate(classes)}
        values = [places[text] for text in values]
    if max(values, default=0) > MAX_LABEL:
        raise DataError(
            f"label {max(values)} of {name} is too large", "name another column with --label-column"
        )
    return torch.tensor(values, dtype=torch.int64), classes


def _is_text(kind: object) -> bool:
    return isinstance(kind, Value) and kind.dtype in ("string", "large_string")


def _are_folders(dataset: Dataset, classes: Sequence[str], reference: Reference) -> bool:
    """Whether `datasets` numbered class folders, in its own order: nobody else said these numbers."""
    stored = reference.folder is not None and _is_saved(reference.folder)
    own_order = bool(classes) and list(classes) == sorted(classes)
    return dataset.builder_name == "imagefolder" and own_order and not stored


def _of_text(
    labels: Tensor, classes: tuple[str, ...], label_names: Sequence[str], name: str
) -> tuple[Tensor, tuple[str, ...]]:
    """Labels of the model for those of text."""
    found = by_name(classes, label_names)
    if found is None:
        raise DataError(
            f"the labels of {name} are text, and not all are names of the model's classes",
            how_to_map(classes),
        )
    return torch.tensor(found[0])[labels], found[1]


def _of_folders(
    labels: Tensor, classes: tuple[str, ...], label_names: Sequence[str], name: str
) -> tuple[Tensor, tuple[str, ...]]:
    """Labels of the model for class folders; their order counts only where there is just one."""
    found = by_name(classes, label_names)
    if found is not None:
        return torch.tensor(found[0])[labels], found[1]
    if not in_one_order(classes):
        raise DataError(
            f"the class folders of {name} can be numbered in more than one way",
            how_to_map(natural(classes)),
        )
    return labels, classes


def _folders(reference: Reference, cache_dir: Path | None) -> list[Path]:
    """Where the files of a data set are: its folder, or the caches; archives are unpacked there, too."""
    unpacked = Path(datasets.config.EXTRACTED_DATASETS_PATH)
    folders = (reference.folder, cache_dir, hub_cache(), datasets_cache(), unpacked)
    return [_plain(folder.expanduser()) for folder in folders if folder is not None]


def _plain(path: Path) -> Path:
    """Absolute and without ``..``, but with its links: a folder of links is a data set, too."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def _file(cell: Any, folders: Sequence[Path], where: str) -> io.BytesIO | Path:
    """The image file in a cell, which must not name a file of somebody else."""
    try:
        if cell["bytes"] is not None:
            return io.BytesIO(cell["bytes"])
        path = _plain(folders[0] / cell["path"])
    except (TypeError, KeyError, ValueError) as error:
        raise broken(where, "there is none") from error
    if not any(path.is_relative_to(folder) for folder in folders):
        raise broken(where, "it names a file outside the data set")
    return path


def _stack(pixels: Sequence[Tensor], name: str) -> Tensor:
    sizes = {tuple(image.shape) for image in pixels}
    if len(sizes) > 1:
        raise DataError(
            f"the images of {name} have {len(sizes)} different sizes", "pass size=(height, width)"
        )
    return torch.stack(list(pixels))
