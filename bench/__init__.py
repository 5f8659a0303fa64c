"""Measurements. ``python -m bench`` compares the gateway with others; ``python -m bench.stages`` and ``python -m bench.lookup`` take it apart.

How to run and read them: docs/bench.md.
"""
