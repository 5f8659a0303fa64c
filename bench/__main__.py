"""Run every bench of this folder, one after the other."""

from __future__ import annotations

import importlib
import pkgutil

import bench


def main() -> None:
    for module in sorted(info.name for info in pkgutil.iter_modules(bench.__path__) if not info.name.startswith("_")):
        print(f"== {module}")
        importlib.import_module(f"bench.{module}").main()


if __name__ == "__main__":
    main()
