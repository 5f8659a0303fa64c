"""The hot path's connection to the store: what is asked while a round trip is under way goes together with the next one.

One round trip at a time keeps replies and questions apart by construction: a caller that is cancelled only gives up its future, the
round trip ends as if nothing had happened. A round trip that fails or takes longer than ``timeout_s`` ends the connection, and all
that waits with it; the next question connects again, 100 ms after the last failure at the earliest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio.connection import AbstractConnection

from gateway.ports import StoreUnavailable
from gateway.store.connection import StoreOptions, connect, unavailable
from gateway.store.session import Command, read_reply

RECONNECT_S: Final = 0.1

Question = tuple[Sequence[Command], "asyncio.Future[list[Any]]", float]


class Link:
    """Asks the store. Replies are as redis-py reads them (bytes, int, list, None); an error reply stands in its place, not raised."""

    def __init__(self, options: StoreOptions) -> None:
        self._options = options
        self._queue: list[Question] = []
        self._task: asyncio.Task[None] | None = None
        self._connection: AbstractConnection | None = None
        self._failed: StoreUnavailable | None = None
        self._failed_at = float("-inf")
        self._closed = False

    def ask(self, commands: Sequence[Command]) -> asyncio.Future[list[Any]]:
        """The replies to ``commands``, in their order. The future may raise StoreUnavailable."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Any]] = loop.create_future()
        now = loop.time()
        if self._closed:
            answer.set_exception(StoreUnavailable("the connection to the store is closed"))
        elif self._failed is not None and now - self._failed_at < RECONNECT_S:
            answer.set_exception(StoreUnavailable(str(self._failed)))
        else:
            self._queue.append((commands, answer, now + self._options.timeout_s))
            if self._task is None:
                self._task = loop.create_task(self._serve())
        return answer

    async def close(self) -> None:
        """End the connection; what waits gets StoreUnavailable."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._drop()

    async def _serve(self) -> None:
        questions: list[Question] = []
        try:
            while self._queue:
                questions, self._queue = self._queue, []
                await self._round(questions)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody may wait for ever
            await self._fail(questions, unavailable(error, self._options))
        except asyncio.CancelledError:
            await self._fail(questions, StoreUnavailable("the connection to the store is closed"))
            raise
        finally:
            # Asked while a broken connection was put away.
            self._task = asyncio.get_running_loop().create_task(self._serve()) if self._queue and not self._closed else None

    async def _round(self, questions: list[Question]) -> None:
        async with asyncio.timeout_at(questions[0][2]):
            if self._connection is None:
                self._connection = await connect(self._options)
                self._failed = None
            connection = self._connection
            await connection.send_packed_command(connection.pack_commands([command for commands, _, _ in questions for command in commands]))
            for commands, answer, _ in questions:
                replies = [await read_reply(connection) for _ in commands]
                if not answer.done():
                    answer.set_result(replies)

    async def _fail(self, questions: list[Question], why: StoreUnavailable) -> None:
        self._failed, self._failed_at = why, asyncio.get_running_loop().time()
        waiting, self._queue = questions + self._queue, []
        for _, answer, _ in waiting:
            if not answer.done():
                answer.set_exception(StoreUnavailable(str(why)))
        await self._drop()

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)
