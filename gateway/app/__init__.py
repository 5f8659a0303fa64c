"""The composition roots: settings -> adapters -> engine -> entry points. They know all parts and decide nothing.

One module a process, so that a worker need not load what only the management port needs.
"""
