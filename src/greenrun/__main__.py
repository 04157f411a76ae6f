"""`python -m greenrun` is `greenrun`."""

from __future__ import annotations

from greenrun.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
