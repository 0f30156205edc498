"""``python -m hfscan``."""

from __future__ import annotations

from hfscan.cli import main

if __name__ == "__main__":
    main()
