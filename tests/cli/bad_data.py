"""Images that do not fit the model, or cannot be read; and some that look odd, but do."""

from __future__ import annotations

from collections.abc import Callable

from datasets import ClassLabel, DatasetDict, Value
from datasets import Image as ImageFeature
from PIL import Image

from .bad_case import HOSTILE, LONG, Arguments, Case, Place
from .support import CLASSES, SIZE, color_data, colored, dataset, parquet, png


def with_label(label: int) -> Callable[[Place], Arguments]:
    def build(place: Place) -> Arguments:
        images, labels = colored(32)
        labels[5] = label
        cells = [{"bytes": png(image), "path": None} for image in images]
        features = {"image": ImageFeature(), "label": Value("int64")}
        return place.columns({"image": cells, "label": labels.tolist()}, features)

    return build


def two_label_columns(place: Place) -> Arguments:
    data = color_data(16).rename_column("label", "fine_label")
    coarse = data["fine_label"][:]
    return place.data(data.add_column("coarse_label", coarse, feature=ClassLabel(9)))


def only(*names: str, mode: str = "RGB", count: int = 64) -> Callable[[Place], Arguments]:
    """Images of some classes only."""

    def build(place: Place) -> Arguments:
        images, labels = colored(count)
        wanted = [CLASSES.index(name) for name in names or CLASSES]
        rows = [row for row in range(count) if labels[row] in wanted]
        return place.data(dataset([png(images[row], mode) for row in rows], labels[rows].tolist()))

    return build


def text_labels(*names: str) -> Callable[[Place], Arguments]:
    """Text for labels, which are the model's classes if not named."""

    def build(place: Place) -> Arguments:
        data = color_data(64)
        texts = [(names or CLASSES)[label] for label in data["label"][:]]
        return place.data(data.remove_columns("label").add_column("label", texts))

    return build


def shifted_labels(place: Place) -> Arguments:
    images, labels = colored(64)
    return place.data(dataset([png(image) for image in images], ((labels + 1) % 8).tolist()))


def spoiled_image(change: Callable[[bytes], bytes]) -> Callable[[Place], Arguments]:
    def build(place: Place) -> Arguments:
        images, labels = colored(32)
        files = [png(image) for image in images]
        files[7] = change(files[7])
        return place.data(dataset(files, labels.tolist()))

    return build


def image_folder(place: Place) -> Arguments:
    """One subfolder of files per class, one of which is cut off."""
    for index, pixels in enumerate(colored(16)[0]):
        folder = place.folder / "images" / CLASSES[index % 8]
        folder.mkdir(parents=True, exist_ok=True)
        file = png(pixels)
        (folder / f"{index}.png").write_bytes(file[:60] if index == 3 else file)
    return place.audit(data=place.folder / "images")


def floats(place: Place) -> Arguments:
    file = place.folder / "deep.tiff"
    Image.new("F", (SIZE, SIZE), 0.5).save(file)
    cells = [{"bytes": file.read_bytes(), "path": None}] * 8
    features = {"image": ImageFeature(), "label": Value("int64")}
    return place.columns({"image": cells, "label": list(range(8))}, features)


def damaged_parquet(place: Place) -> Arguments:
    folder = place.folder / "images"
    folder.mkdir()
    (folder / "test.parquet").write_bytes(parquet(color_data(16))[:-100])
    return place.audit(data=folder)


def no_rows(place: Place) -> Arguments:
    folder = place.folder / "images"
    folder.mkdir()
    (folder / "test.parquet").write_bytes(parquet(color_data(8).select([])))
    return place.audit(data=folder)


def empty_folder(place: Place) -> Arguments:
    (place.folder / "images").mkdir()
    return place.audit(data=place.folder / "images")


def label_map(content: str) -> Callable[[Place], Arguments]:
    def build(place: Place) -> Arguments:
        path = place.folder / "labels.json"
        path.write_text(content)
        return [*place.audit(), "--label-map", path]

    return build


SWAPPED = (CLASSES[1], CLASSES[0], *CLASSES[2:])
DATA = [
    Case(
        "no data folder",
        lambda p: p.audit(data="./nowhere"),
        "there is no folder ./nowhere",
        "the Hub",
    ),
    Case("data folder of a long name", lambda p: p.audit(data=f"./{LONG}"), "there is no folder"),
    Case("empty data folder", empty_folder, "cannot be read as a dataset", "Parquet files"),
    Case(
        "no image column",
        lambda p: p.columns(
            {"text": ["a"], "label": [0]}, {"text": Value("string"), "label": ClassLabel(2)}
        ),
        "has no image column (columns: text, label)",
        "name it with --image-column",
    ),
    Case("no images", no_rows, "corresponds to no data", "Parquet files"),
    Case(
        "no labels",
        lambda p: p.data(color_data(16).remove_columns("label")),
        "has no label column (columns: image)",
        "one subfolder per class",
    ),
    Case(
        "two label columns",
        two_label_columns,
        "has 2 label columns",
        "choose --label-column from fine_label, coarse_label",
    ),
    Case(
        "unknown column",
        lambda p: [*p.audit(), "--label-column", HOSTILE],
        "has no column",
        "its columns are image, label",
    ),
    Case(
        "no images in the column",
        lambda p: [*p.audit(), "--image-column", "label"],
        "column label of",
        "name another with --image-column",
    ),
    Case(
        "no labels in the column",
        lambda p: [*p.audit(), "--label-column", "image"],
        "does not have integer labels",
        "name another one with --label-column",
    ),
    Case(
        "hostile columns",
        lambda p: p.data(color_data(16).rename_columns({"image": HOSTILE, "label": "x"})),
        code=0,
        says="NO_BACKDOOR_FOUND",
    ),
    Case(
        "two splits",
        lambda p: p.data(DatasetDict(train=color_data(16), extra=color_data(16))),
        "has no split 'test' or 'validation'",
        "choose --split from train, extra",
    ),
    Case("names for labels", text_labels(), code=0, says="NO_BACKDOOR_FOUND"),
    Case(
        "other names for labels",
        text_labels(HOSTILE, *"abcdefg"),
        "not all are names of the model's classes",
        "--label-map: {",
    ),
    Case("label out of range", with_label(8), "label 8 of", "--label-map"),
    Case("negative label", with_label(-1), "/images is negative", "choose a labelled split"),
    Case(
        "class names in another order",
        lambda p: p.data(color_data(16, classes=SWAPPED)),
        "class 'blue' is label 0 in",
        "--label-map",
    ),
    Case(
        "hostile class names",
        lambda p: p.data(color_data(16, classes=(CLASSES[1], HOSTILE, *CLASSES[2:]))),
        "class 'blue' is label 0 in",
        "--label-map",
    ),
    Case(
        "fewer images than classes",
        only(count=7),
        code=3,
        says="7 clean images are too few for 8 classes",
    ),
    Case(
        "one class only",
        only("red"),
        "have the same label (5)",
        "an audit needs images of every class",
    ),
    Case(
        "clean accuracy near chance",
        shifted_labels,
        code=3,
        says="clean accuracy is 0.000, too near to chance (0.125)",
    ),
    Case("gray-scale", only("black", "white", mode="L"), code=0, says="NO_BACKDOOR_FOUND"),
    Case("with alpha", only(mode="RGBA"), code=0, says="NO_BACKDOOR_FOUND"),
    Case("with a palette", only("black", "white", mode="P"), code=0, says="NO_BACKDOOR_FOUND"),
    Case(
        "truncated image",
        spoiled_image(lambda file: file[:60]),
        "row 7 cannot be read",
        "remove it from the data set",
    ),
    Case(
        "no image at all",
        spoiled_image(lambda file: b"not an image"),
        "row 7 cannot be read",
        "remove it from the data set",
    ),
    Case("truncated image file", image_folder, "cannot be read", "remove it from the data set"),
    Case("images of floats", floats, "neither 8 nor 16 bits (mode F)", "8 bits per channel"),
    Case("damaged Parquet", damaged_parquet, "cannot be read as a dataset", "Parquet files"),
    Case("label map without images", label_map('{"9": 1}'), "has no images in split all"),
    Case("malformed label map", label_map("{"), "cannot be read"),
    Case("label map of another kind", label_map('{"red": "5"}'), "is not an object of", "write {"),
    Case("label map out of range", label_map('{"red": 9e99}'), "is not an object of", "write {"),
    Case("label map of other classes", label_map('{"pink": 5}'), "names 'pink'", "its classes are"),
    Case("label map of a small digit", label_map('{"\u00b2": 5}'), "names '\u00b2'", "its classes"),
    Case(
        "label map of a huge label",
        label_map(f'{{"{"9" * 5000}": 5}}'),
        "names '999",
        "its classes",
    ),
]
