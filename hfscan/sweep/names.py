"""Names of files for references of any shape."""

from __future__ import annotations

import hashlib
import re

SUFFIXES = {"json": ".json", "html": ".html", "markdown": ".md"}
"""Format -> ending."""


def report_name(model: str, report_format: str) -> str:
    """A file name that says which model it is about, and belongs to no other one.

    Args:
        model: Its reference.
        report_format: Key of `SUFFIXES`.
    """
    readable = re.sub(r"[^A-Za-z0-9._-]+", "__", model).strip("._-")[:80]
    digest = hashlib.sha256(model.encode()).hexdigest()[:8]
    return f"{readable or 'model'}-{digest}{SUFFIXES[report_format]}"
