"""What hfscan has to choose from, read from the registries: names, and one line for each."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping

KINDS = ("detectors", "attacks", "defenses", "formats", "architectures", "tests")


def entries(kind: str) -> dict[str, str]:
    """The entries of a registry.

    Args:
        kind: Of `KINDS`.

    Returns:
        Name -> one line about it: what its docstring says first, where it has no line of its own.
    """
    return {name: summary(entry) for name, entry in _READERS[kind]().items()}


def summary(thing: object) -> str:
    """The first sentence of a docstring, without its last stop; empty where there is none.

    Args:
        thing: A function or a class; of anything else its class counts. A text is a summary already.
    """
    if isinstance(thing, str):
        return thing
    documented = thing if inspect.isroutine(thing) or inspect.isclass(thing) else type(thing)
    paragraph = (inspect.getdoc(documented) or "").strip().partition("\n\n")[0]
    text = " ".join(paragraph.split()).replace("``", "").replace("`", "")
    first, stop, _ = text.partition(". ")
    return first if stop else text.removesuffix(".")


def _detectors() -> Mapping[str, object]:
    from hfscan.detectors import DETECTORS

    return {name: make(0.1, 0) for name, make in DETECTORS.items()}


def _attacks() -> Mapping[str, object]:
    from hfscan.bench.attacks import ATTACKS

    return ATTACKS


def _defenses() -> Mapping[str, object]:
    from hfscan.bench.defenses import DEFENSES

    return DEFENSES


def _formats() -> Mapping[str, object]:
    from hfscan.report import FORMATS

    return FORMATS


def _architectures() -> Mapping[str, object]:
    from hfscan.models.names import architectures

    return architectures()


def _tests() -> Mapping[str, object]:
    from hfscan.model_tests import SUMMARIES, TESTS

    return {name: SUMMARIES[name] for name in TESTS}


_READERS: dict[str, Callable[[], Mapping[str, object]]] = {
    "detectors": _detectors,
    "attacks": _attacks,
    "defenses": _defenses,
    "formats": _formats,
    "architectures": _architectures,
    "tests": _tests,
}
