"""The shipped Valkey as an operator's own server: on a port, with a user and a password, to be frozen, killed, filled and emptied."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any, Final, NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from gateway.store.embedded import find_server
from tests.harness.redis_server import RedisServer
from tests.harness.waiting import eventually

USER: Final = "gate"
PASSWORD: Final = "s3cret-of-the-store"
_FILLERS: Final = 900


class Kept(NamedTuple):
    """One key as DUMP gives it."""

    name: bytes
    left_ms: int
    value: bytes


class ValkeyServer(RedisServer):
    """``settings`` as of RedisServer. The gateway is ``USER`` there, the test the default user."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        super().__init__(folder, appendonly="yes", enable_debug_command="no", **settings)
        self.settings["user"] = [USER, "on", f">{PASSWORD}", "~*", "&*", "+@all"]

    @staticmethod
    def program() -> str:
        return str(find_server())

    def url(self, port: int | None = None) -> str:
        """For ``store.url``; ``port`` is that of a relay before it."""
        return f"redis://{USER}:{PASSWORD}@127.0.0.1:{port or self.port}/0"

    def client(self, *, text: bool = False) -> redis.Redis:
        """A connection past the gateway, with replies as bytes or as text. It tries nothing twice."""
        return redis.Redis(port=self.port, socket_timeout=10, retry=Retry(NoBackoff(), 0), decode_responses=text)

    def freeze(self) -> None:
        """It keeps its connections, and answers nobody."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        pid = self.process.pid
        eventually(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", "a frozen server")

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def stop(self, by: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.thaw()
        super().stop(by)

    def kill(self) -> None:
        if self.process is not None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
            self.process = None

    def answers(self) -> bool:
        """Whether it does what it is asked."""
        try:
            with self.client() as client:
                return client.get("no:such:key") is None
        except redis.RedisError:
            return False

    def load_slowly(self) -> None:
        """Start it anew on data that take ten seconds to load: it answers LOADING meanwhile."""
        with self.client() as client:
            for number in range(_FILLERS):
                client.set(f"filler:{number}", os.urandom(1024))
            client.bgrewriteaof()
            under_way = ("aof_rewrite_in_progress", "aof_rewrite_scheduled")
            eventually(lambda: not any(client.info("persistence")[key] for key in under_way), "all data in one piece")
        self.kill()
        kept = self.settings
        self.settings = {**kept, "key-load-delay": 10_000, "loading-process-events-interval-bytes": 1024}
        self.start()
        self.settings = kept

    def finish_loading(self) -> None:
        with self.client() as client:
            client.config_set("key-load-delay", "0")
            eventually(self.answers, "a server that has loaded its data")
            client.delete(*(f"filler:{number}" for number in range(_FILLERS)))

    def dump(self) -> list[Kept]:
        """All that is in it."""
        with self.client() as client:
            kept = []
            for name in client.scan_iter(count=1000):
                value = client.dump(name)
                if value is not None:
                    kept.append(Kept(name, max(0, int(client.pttl(name))), value))
            return kept

    def restore(self, kept: list[Kept]) -> None:
        """Put it back."""
        with self.client() as client, client.pipeline() as pipe:
            for each in kept:
                pipe.restore(each.name, each.left_ms, each.value, replace=True)
            pipe.execute()
