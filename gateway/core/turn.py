"""What comes in one turn of the event loop is taken together: a step is done for all of it before the next step is begun.

A request goes through more code and data than a processor core keeps close at hand. Taken one by one, requests drive each other's next step out of
its caches; taken together, each step is loaded once for all of them. Nothing waits: the turn that is under way ends with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Turn(Generic[T]):
    """``call_soon`` is the loop's; ``work`` is given all that was added since the last time, in order, and must not raise."""

    __slots__ = ("_call_soon", "_items", "_work")

    def __init__(self, call_soon: Callable[[Callable[[], object]], object], work: Callable[[Sequence[T]], None]) -> None:
        self._call_soon = call_soon
        self._work = work
        self._items: list[T] = []

    def add(self, item: T) -> None:
        """Take an item with the others of this turn."""
        self._items.append(item)
        if len(self._items) == 1:
            self._call_soon(self.run)

    def run(self) -> None:
        """Do the work now, if there is any."""
        if self._items:
            items, self._items = self._items, []
            self._work(items)
