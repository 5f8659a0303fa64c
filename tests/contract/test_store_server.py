"""What is asked of a server before it is used, how it is reached, and what its errors say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.ports import StoreUnavailable
from gateway.store.connection import FAILURES, StoreOptions, address, check_url, connect, unavailable
from gateway.store.embedded import EmbeddedStore
from gateway.store.server import Store
from gateway.store.token_store import RedisTokenStore
from gateway.store.wire import ask
from tests.harness.valkey_server import PASSWORD as SECRET
from tests.harness.valkey_server import USER, ValkeyServer

PASSWORD = "p%40ss-word-of-the-store"


async def refusal(options: StoreOptions) -> str:
    store = Store(options)
    with pytest.raises(StoreUnavailable) as refused:
        await store.start()
    text = str(refused.value)
    assert "\n" not in text
    assert "p@ss" not in text + repr(options)
    assert PASSWORD not in text + repr(options)
    return text


@asynccontextmanager
async def pretender(info: str | None) -> AsyncIterator[int]:
    """Something that speaks the protocol and answers INFO with this, or says nothing at all; its port."""
    handlers: set[asyncio.Task[None] | None] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.add(asyncio.current_task())
        if info is not None:
            await reader.readuntil(b"INFO\r\n")
            text = f"# Server\r\n{info}\r\n".encode()
            writer.write(b"$%d\r\n%s\r\n" % (len(text), text))
        await reader.read()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.gather(*(handler for handler in handlers if handler))


async def test_nothing_there_is_told_with_the_address(tmp_path: Path) -> None:
    said = await refusal(StoreOptions(f"redis://user:{PASSWORD}@127.0.0.1:1/3", tmp_path))
    assert said == "the store at redis://127.0.0.1:1/3 cannot be reached: nothing listens there; start it, or mend store.url"
    assert "there is no such socket" in await refusal(StoreOptions(f"unix://u:{PASSWORD}@{tmp_path}/none.sock", tmp_path))


async def test_name_that_does_not_resolve_is_told(tmp_path: Path) -> None:
    said = await refusal(StoreOptions(f"redis://:{PASSWORD}@no-such-host.invalid:6379", tmp_path, timeout_s=10))
    assert "redis://no-such-host.invalid:6379" in said


async def test_silent_server_is_told_within_the_limit(tmp_path: Path) -> None:
    async with pretender(None) as port, asyncio.timeout(5):
        said = await refusal(StoreOptions(f"redis://127.0.0.1:{port}", tmp_path, timeout_s=0.2))
    assert "did not answer within 200 ms (store.timeout)" in said


@pytest.mark.parametrize("version", ["redis_version:6.0.16", "redis_version:5.0.7", "redis_version:7.2.4\r\nvalkey_version:7.0.1"])
async def test_server_that_is_too_old_is_refused(tmp_path: Path, version: str) -> None:
    async with pretender(version) as port:
        assert "which is too old: use at least Redis 6.2 or Valkey 7.2" in await refusal(StoreOptions(f"redis://127.0.0.1:{port}", tmp_path, timeout_s=5))


async def test_server_that_loads_its_data_is_refused(tmp_path: Path) -> None:
    async with pretender("redis_version:7.2.4\r\nloading:1") as port:
        assert "still loading" in await refusal(StoreOptions(f"redis://127.0.0.1:{port}", tmp_path, timeout_s=5))


async def test_server_that_asks_for_a_password_is_told_so(own_server: EmbeddedStore, tmp_path: Path) -> None:
    ask(own_server.socket, "CONFIG", "SET", "requirepass", "p@ss-word-of-the-store", timeout_s=5)
    bare = StoreOptions(own_server.url, tmp_path / "d", timeout_s=5)
    assert "asks for a password: put it into store.url" in await refusal(bare)
    assert "refuses the user or the password" in await refusal(replace(bare, url=f"unix://:wrong@{own_server.socket}"))
    store = Store(replace(bare, url=f"unix://:{PASSWORD}@{own_server.socket}?db=2"))
    await store.start()
    assert (await RedisTokenStore(store).fetch("000000000000")).record is None
    await store.close()


async def test_user_password_and_database_are_those_of_the_url(own_server: EmbeddedStore, tmp_path: Path) -> None:
    ask(own_server.socket, "ACL", "SETUSER", "gate", "on", ">p@ss-word-of-the-store", "~sg:*", "+@all", timeout_s=5)
    for url in (f"unix://gate:{PASSWORD}@{own_server.socket}?db=5", f"unix://{own_server.socket}?db=5&username=gate&password={PASSWORD}"):
        store = Store(StoreOptions(url, tmp_path / "d", timeout_s=5))
        await store.start()
        async with store.session() as (session, _):
            assert (await session.ask(("ACL", "WHOAMI"))) == [b"gate"]
            assert b" db=5 " in (await session.ask(("CLIENT", "INFO")))[0]
        await store.close()
    ask(own_server.socket, "ACL", "SETUSER", "gate", "-info", timeout_s=5)
    assert "does not let this user do what the gateway needs" in await refusal(
        StoreOptions(f"unix://gate:{PASSWORD}@{own_server.socket}", tmp_path / "e", timeout_s=5)
    )


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
async def test_user_password_and_database_are_those_of_the_url_by_tcp_too(tmp_path: Path, host: str, protocol: int) -> None:
    with ValkeyServer(tmp_path / "server", bind=["127.0.0.1", "::1"], requirepass="p@ss-word-of-the-store") as server:
        for user, name in ((f"{USER}:{SECRET}", USER), (f":{PASSWORD}", "default")):
            channel = await connect(StoreOptions(f"redis://{user}@{host}:{server.port}/5", tmp_path, timeout_s=5), protocol)
            who, facts = await channel.ask(("ACL", "WHOAMI"), ("CLIENT", "INFO"))
            assert who == name.encode()
            assert b" db=5 " in facts
            assert b" resp=%d " % protocol in facts
            channel.abort()
        for wrong, said in ((f"{USER}:no", "refuses the user or the password of store.url"), (f"{USER}x:{SECRET}", "refuses the user or the password")):
            options = StoreOptions(f"redis://{wrong}@{host}:{server.port}/5", tmp_path, timeout_s=5)
            with pytest.raises(FAILURES) as refused:
                await connect(options, protocol)
            assert said in str(unavailable(refused.value, options))


@pytest.mark.parametrize("protocol", [2, 3])
async def test_database_that_the_server_does_not_have_is_refused(tmp_path: Path, own_server: EmbeddedStore, protocol: int) -> None:
    options = StoreOptions(f"unix://{own_server.socket}?db=99", tmp_path / "d", timeout_s=5)
    with pytest.raises(FAILURES, match="DB index is out of range"):
        await connect(options, protocol)
    assert "refused a command (ERR): look at its log" in await refusal(options)


async def test_socket_with_a_blank_in_its_path_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a b.sock"
    with ValkeyServer(tmp_path / "server", unixsocket=path):
        channel = await connect(StoreOptions(f"unix://{str(path).replace(' ', '%20')}", tmp_path, timeout_s=5))
        assert await channel.ask(("PING",)) == [b"PONG"]
        channel.abort()


@pytest.mark.parametrize("by", ["tcp", "unix"])
async def test_server_with_as_many_clients_as_it_takes_is_told_so_each_time(tmp_path: Path, by: str) -> None:
    path = tmp_path / "s.sock"
    with ValkeyServer(tmp_path / "server", unixsocket=path) as server, server.client() as client:
        client.config_set("maxclients", "1")
        url = server.url() if by == "tcp" else f"unix://{USER}:{SECRET}@{path}"
        for _ in range(20):
            assert "has as many clients as it takes: raise its maxclients" in await refusal(StoreOptions(url, tmp_path / "d", timeout_s=5))


async def test_server_that_evicts_tokens_is_refused_unless_allowed(own_server: EmbeddedStore, tmp_path: Path) -> None:
    options = StoreOptions(own_server.url, tmp_path / "d", timeout_s=5)
    ask(own_server.socket, "CONFIG", "SET", "maxmemory-policy", "volatile-ttl", timeout_s=5)
    for accepted in (options, replace(options, allow_eviction=True)):  # no limit is set yet: nothing is evicted
        store = Store(accepted)
        await store.start()
        await store.close()
    ask(own_server.socket, "CONFIG", "SET", "maxmemory", "100mb", timeout_s=5)
    assert "evicts keys (volatile-ttl)" in await refusal(options)
    store = Store(replace(options, allow_eviction=True))
    await store.start()
    await store.close()


async def test_read_only_replica_is_refused(own_server: EmbeddedStore, tmp_path: Path) -> None:
    options = StoreOptions(own_server.url, tmp_path / "d", timeout_s=5)
    store = Store(options)
    await store.start()  # so that nothing needs to be written at the next start
    await store.close()
    ask(own_server.socket, "REPLICAOF", "127.0.0.1", "1", timeout_s=5)
    assert "read-only replica: name its primary" in await refusal(options)


async def test_first_start_on_an_empty_server_with_a_remembered_id_is_refused(options: StoreOptions) -> None:
    options.data_dir.mkdir()
    (options.data_dir / "store.id").write_text("0" * 32)
    assert "was emptied" in await refusal(options)


@pytest.mark.parametrize("content", ["what", "0" * 31, "0" * 33, "\0"])
async def test_damaged_store_id_is_refused_with_what_to_do(options: StoreOptions, content: str) -> None:
    options.data_dir.mkdir()
    (options.data_dir / "store.id").write_text(content)
    assert "does not hold a store's id: restore it, or run `scopegate store adopt`" in await refusal(options)


async def test_store_id_that_cannot_be_written_is_a_plain_line(options: StoreOptions, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    assert "store.id cannot be" in await refusal(options)


async def test_two_first_starts_at_once_agree_on_the_stores_id(options: StoreOptions, tmp_path: Path) -> None:
    stores = [Store(replace(options, data_dir=tmp_path / str(node))) for node in range(5)]
    await asyncio.gather(*(store.start() for store in stores))
    assert len({store.identity.id for store in stores}) == 1
    for store in stores:
        await store.close()


async def test_store_id_is_for_its_owner_alone(store: Store) -> None:
    assert store.identity.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "url",
    [
        "",
        "redis",
        "http://:SECRET@x",
        "redis+sentinel://:SECRET@x",
        "rediss://:SECRET@h/name",
        "unix://",
        "redis://:SECRET@h:port",
        "redis://:SECRET@h:0x",
        "redis://:SECRET@h/name",
        "redis://h?db=SECRET",
        "redis://:SECRET@h?retry=3",
        "redis://:SECRET@[::1",
        "unix:///s?socket_timeout=1",
        "redis://:SECRET@h:0",
        "redis://:SECRET@h/name?db=1",
        "redis://:SECRET@h?db=name&db=1",
        "redis://:SECRET@h?db=1&db=name",
    ],
)
def test_wrong_url_is_told_without_quoting_it(url: str) -> None:
    fault = check_url(url)
    assert fault is not None
    assert fault.startswith("store.url")
    assert "SECRET" not in fault


@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "redis://h:1/0",
        "redis://:p@h",
        "redis://u:p@[::1]:6379/15",
        "unix:///run/s.sock",
        "unix://u:p@/run/s.sock?db=3",
        "redis://h?db=3",
        "rediss://u:p@h:1/0",
    ],
)
def test_right_url_has_no_fault(url: str) -> None:
    assert check_url(url) is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://u:secret@h:1/2?password=secret", "redis://h:1/2"),
        ("redis://:sec@ret@h", "redis://h"),
        ("unix://u:secret@/run/s.sock?password=secret", "unix:///run/s.sock"),
        ("redis://[::1]:7", "redis://[::1]:7"),
    ],
)
def test_address_is_shown_without_user_and_password(url: str, shown: str) -> None:
    assert address(url) == shown
