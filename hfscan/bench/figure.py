"""Empty figures and how they are written; matplotlib is an extra: ``pip install '.[plot]'`` in a clone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hfscan.errors import DataError, UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def write_figure(figure: Figure, path: Path) -> Path:
    """Write a figure in the format of the path's ending.

    Raises:
        DataError: It cannot be written.
    """
    import matplotlib

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with matplotlib.rc_context({"svg.hashsalt": "hfscan"}):
            date = {"Date": None} if path.suffix == ".svg" else {}  # the same bytes each time
            figure.savefig(path, metadata=date, dpi=150)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror or error})", "choose another folder"
        ) from error
    return path


def new_figure(columns: int, *, height: float = 3.6) -> tuple[Figure, list[Axes]]:
    """An empty figure with axes side by side; no window system is touched."""
    try:
        from matplotlib.figure import Figure as New
    except ImportError as error:
        raise UsageError(
            "figures need matplotlib, which is not installed",
            "in your clone of hfscan: pip install '.[plot]'",
        ) from error
    figure = New(figsize=(4.2 * columns, height), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)
    return figure, list(axes[0])
