"""Measurements. ``python -m bench`` compares the gateway with others, ``python -m bench.footprint`` looks at memory and revocation, and
``python -m bench.stages`` and ``python -m bench.lookup`` take it apart.

How to run and read them: docs/bench.md.
"""
