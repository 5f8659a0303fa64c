"""Measurements, each a module with a ``main()``: ``python -m bench`` runs all of them, ``python -m bench.NAME`` one."""
