"""``scopegate`` and ``python -m gateway``."""

from __future__ import annotations

import sys


def main() -> None:
    """The command line."""
    try:
        from gateway.cli.main import app  # noqa: PLC0415 - loading takes a second; Ctrl-C in it must not show where it was

        app()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
