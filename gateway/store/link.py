"""A process's link to the store: one connection (RESP3) for look-ups, pushes and heartbeat, read by callbacks.

One connection, because on one a reply can't overtake the push that makes it stale: Redis writes both in the order in which it ran what
they speak of. Replies are matched to questions by their order. Whoever asks is called back inside the read, before the next push is
looked at, so that nothing lies between an answer and what is done with it.

A Channel connects and greets; from then on its transport is ours.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import hiredis

from gateway.ports import StoreUnavailable
from gateway.store.channel import Command
from gateway.store.connection import StoreOptions, connect, unavailable

RECONNECT_S: Final = 0.1

_T = TypeVar("_T")
Replies = list[Any]
Answered = Callable[[Replies | StoreUnavailable], None]


def settle(future: asyncio.Future[_T], found: _T | StoreUnavailable) -> None:
    """Give a callback's answer to whoever awaits it, if he still does."""
    if future.done():
        return
    if isinstance(found, StoreUnavailable):
        future.set_exception(found)
    else:
        future.set_result(found)


class _Question:
    """What waits for its replies. An error reply stands in its place, as hiredis.ReplyError."""

    __slots__ = ("answered", "deadline", "replies", "wanted")

    def __init__(self, wanted: int, deadline: float, answered: Answered) -> None:
        self.wanted = wanted
        self.deadline = deadline
        self.answered = answered
        self.replies: Replies = []


class Link(asyncio.Protocol):
    """Asks the store, and hears from it. ``greeting`` is sent first on each new connection; ``on_push`` gets each push,
    ``on_up`` is called when a connection is ready, ``on_down`` when it is lost: all without waiting."""

    def __init__(self, options: StoreOptions, greeting: Sequence[Command] = ()) -> None:
        self.greeting = greeting
        self.on_push: Callable[[list[Any]], None] = lambda _: None
        self.on_up: Callable[[], None] = lambda: None
        self.on_down: Callable[[], None] = lambda: None
        self._options = options
        self._transport: asyncio.Transport | None = None
        self._reader = hiredis.Reader()
        self._unsent: list[bytes] = []
        self._questions: deque[_Question] = deque()
        self._connecting: asyncio.Task[None] | None = None
        self._failed: StoreUnavailable | None = None
        self._failed_at = float("-inf")
        self._watch: asyncio.TimerHandle | None = None
        self._flushing = False
        self._closed = False

    @property
    def up(self) -> bool:
        return self._transport is not None

    @property
    def alive(self) -> bool:
        """Whether it is up or about to be."""
        return self._transport is not None or self._connecting is not None

    def keep_up(self) -> None:
        """Connect if the link is down and the last failure is a while ago. Called now and then by who needs its pushes."""
        loop = asyncio.get_running_loop()
        if self._transport is None and self._connecting is None and not self._closed and loop.time() - self._failed_at >= RECONNECT_S:
            self._connecting = loop.create_task(self._connect())

    def call(self, commands: Sequence[Command], answered: Answered) -> None:
        """Ask; ``answered`` is called with the replies in their order, or with why there are none. Questions of one loop turn go out together."""
        loop = asyncio.get_running_loop()
        if self._closed:
            answered(StoreUnavailable("the connection to the store is closed"))
            return
        now = loop.time()
        if self._transport is None:
            if self._connecting is None and self._failed is not None and now - self._failed_at < RECONNECT_S:
                answered(StoreUnavailable(str(self._failed)))
                return
            self.keep_up()
        self._unsent += map(hiredis.pack_command, commands)
        self._questions.append(_Question(len(commands), now + self._options.timeout_s, answered))
        if self._watch is None:
            self._watch = loop.call_at(self._questions[0].deadline, self._look_at_clock)
        if not self._flushing and self._transport is not None:
            self._flushing = True
            loop.call_soon(self._flush)

    def tell(self, command: Command) -> None:
        """Send a command that is answered by a push (SUBSCRIBE), where the link is up."""
        if self._transport is not None:
            self._transport.write(hiredis.pack_command(command))

    def ask(self, commands: Sequence[Command]) -> asyncio.Future[Replies]:
        """As ``call``, for a coroutine. The future may raise StoreUnavailable."""
        answer: asyncio.Future[Replies] = asyncio.get_running_loop().create_future()
        self.call(commands, partial(settle, answer))
        return answer

    def give_up(self, why: StoreUnavailable) -> None:
        """End this connection, since what it tells can't be trusted; what waits gets ``why``. Another is made as after any loss."""
        self._fail(why)

    async def close(self) -> None:
        """End the connection; what waits gets StoreUnavailable."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        self._fail(StoreUnavailable("the connection to the store is closed"))

    # -- connecting

    async def _connect(self) -> None:
        channel = None
        try:
            async with asyncio.timeout(self._options.timeout_s):
                channel = await connect(self._options, protocol=3)
                replies = await channel.ask(("HELLO",), *self.greeting)
            for reply in replies:
                if isinstance(reply, hiredis.ReplyError):
                    raise reply  # noqa: TRY301 - it goes the way of all other failures
            if replies[0].get(b"role") == b"replica":
                raise hiredis.ReplyError("READONLY")  # noqa: TRY301 - a replica may not hear of the latest changes
            self._transport, self._reader = channel.hand_over(self)
        except BaseException as error:
            if channel is not None:
                channel.abort()
            if not isinstance(error, Exception):
                raise
            # Whatever it is, nobody may wait for ever.
            self._connecting = None
            self._fail(unavailable(error, self._options))
            return
        self._connecting = None
        self._failed = None
        self.on_up()
        self._flush()
        self.data_received(b"")  # a push may have come with the last reply

    def _flush(self) -> None:
        self._flushing = False
        if self._transport is not None and self._unsent:
            unsent, self._unsent = self._unsent, []
            self._transport.write(b"".join(unsent))

    # -- reading

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        try:
            reader.feed(data)
            while self._transport is not None and (reply := reader.gets()) is not False:
                if isinstance(reply, hiredis.PushNotification):
                    self.on_push(reply)
                else:
                    self._take(reply)
        except hiredis.ProtocolError as error:
            self._fail(unavailable(error, self._options))
        except Exception as error:  # noqa: BLE001 - a push that could not be heeded: nothing learnt from this link may be trusted
            self._fail(StoreUnavailable(f"a message of the store could not be handled ({type(error).__name__}): report this"))

    def _take(self, reply: Any) -> None:
        if not self._questions:
            raise hiredis.ProtocolError("a reply that nobody asked for")
        question = self._questions[0]
        question.replies.append(reply)
        if len(question.replies) == question.wanted:
            self._questions.popleft()
            question.answered(question.replies)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._transport = None
            self._fail(unavailable(exc or ConnectionError("closed"), self._options))

    def eof_received(self) -> bool:
        return False

    # -- failing

    def _look_at_clock(self) -> None:
        """A question that is not answered in time ends the link: what comes later could not be told from other answers."""
        self._watch = None
        loop = asyncio.get_running_loop()
        if not self._questions:
            return
        if loop.time() >= self._questions[0].deadline:
            self._fail(unavailable(TimeoutError(), self._options))
        else:
            self._watch = loop.call_at(self._questions[0].deadline, self._look_at_clock)

    def _fail(self, why: StoreUnavailable) -> None:
        self._failed, self._failed_at = why, asyncio.get_running_loop().time()
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        if self._connecting is not None and self._connecting is not asyncio.current_task():
            self._connecting.cancel()
            self._connecting = None
        waiting, self._questions = self._questions, deque()
        self._unsent.clear()
        self.on_down()
        for question in waiting:
            question.answered(StoreUnavailable(str(why)))
