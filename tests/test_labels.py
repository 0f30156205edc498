from __future__ import annotations

import json
from pathlib import Path

import pytest
from timm.data.readers.reader_image_folder import find_images_and_targets

from hfscan.errors import DataError
from hfscan.labels import by_name, how_to_map, in_one_order, natural, read_label_map

MODEL = ("Ant", "honey-bee", "cat", "crane", "Crane")


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (("honey bee", "ant"), [1, 0]),
        (("cat",), [2]),
        (("ant", "crane"), None),  # which of the two?
        (("ant", "dog"), None),
        (("0", "1", "10", "2", "3", "4", "5", "6", "7", "8", "9"), [0, 1, 10, *range(2, 10)]),
        (("00", "01"), [0, 1]),
        (("1", "2"), None),
        (("0", "00"), None),
        (("0", "9" * 5000), None),
        (("!", "?"), None),
    ],
)
def test_by_name(names: tuple[str, ...], labels: list[int] | None) -> None:
    found = by_name(names, (*MODEL, "!!"))
    assert (found and found[0]) == labels


def test_by_name_without_names_of_the_model() -> None:
    assert by_name(("ant", "bee"), ()) is None
    assert by_name(("1", "0"), ()) == ([1, 0], ("0", "1"))


@pytest.mark.parametrize(
    "names", [["a1", "a10", "a2"], ["B", "a", "c"], ["2", "10", "1"], ["x2y10", "x2y9", "x10"]]
)
def test_the_order_of_timm(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").touch()
    theirs: dict[str, int] = find_images_and_targets(str(tmp_path))[1]
    assert natural(names) == sorted(theirs, key=lambda name: theirs[name])
    assert not in_one_order(names)


def test_numbers_may_be_labels() -> None:
    assert in_one_order(["a", "b2", "c"])
    assert not in_one_order(["3", "5", "7"])


def test_the_example_of_a_label_map() -> None:
    assert how_to_map(["a", 'b"', "c"]).endswith('with --label-map: {"a": 0, "b\\"": 1}, and so on')


def test_label_map_file(tmp_path: Path) -> None:
    (tmp_path / "map.json").write_text(json.dumps({"cat": 0, "3": 1}))
    assert read_label_map(tmp_path / "map.json") == {"cat": 0, "3": 1}


@pytest.mark.parametrize("text", ["", "[", "[1]", "{}", '{"a": -1}', '{"a": "b"}', '{"a": true}'])
def test_damaged_label_map_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "map.json").write_text(text)
    with pytest.raises(DataError, match="label map"):
        read_label_map(tmp_path / "map.json")


def test_missing_label_map_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_label_map(tmp_path / "map.json")
