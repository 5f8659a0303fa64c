"""``scopegate`` and ``python -m gateway``."""

from __future__ import annotations

from gateway.cli.main import app


def main() -> None:
    """The command line."""
    app()


if __name__ == "__main__":
    main()
