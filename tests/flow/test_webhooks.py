"""Webhooks to a receiver on loopback: from a gateway that runs, and from the sender alone where names must lead astray."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.management import webhook
from gateway.management.webhook import WebhookSender
from gateway.settings import NoticeSettings, Secret
from tests.harness.certificates import authority, issue
from tests.harness.gateway import GatewayProcess, Made
from tests.harness.receiver import SECRET, Receiver
from tests.harness.upstream import ScriptedUpstream
from tests.harness.waiting import eventually

DAY_MS = 86_400_000


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def telling(upstream: ScriptedUpstream, receiver: Receiver, **environ: str) -> GatewayProcess:
    notices = {"url": receiver.url, "secret_env": "NOTICES_SECRET", "allow_private": True}
    return GatewayProcess(upstream.url, settings={"notices": notices}, environ={"NOTICES_SECRET": SECRET, **environ})


def ends_in(gateway: GatewayProcess, token: Made, in_ms: int) -> None:
    """Let the token expire then, for the notices too."""
    gateway.expire(token.id, in_ms)
    with gateway.store() as store:
        store.zadd("sg:ends", {token.id: str(store.hget(f"sg:info:{{{token.id}}}", "expires_at"))})


def test_a_receiver_is_told_of_a_coming_end_of_the_end_and_of_reuse_signed(receiver: Receiver, shared_upstream: ScriptedUpstream) -> None:
    with telling(shared_upstream, receiver) as gateway:
        token = gateway.make("worklogs", owner="ana", expires_in_days=30)
        other = gateway.make("worklogs")
        ends_in(gateway, token, 3 * DAY_MS)
        (coming,) = eventually(lambda: receiver.of("token.expiring"), "the notice of the coming end")
        assert (coming.event["data"]["days_left"], coming.event["data"]["token"]["owner"]) == (3, "ana")
        ends_in(gateway, token, 0)
        (ended,) = eventually(lambda: receiver.of("token.expired"), "the notice of the end")
        assert ended.event["data"]["token"]["state"] == "expired"
        gateway.api("DELETE", f"/tokens/{other.id}")
        for _ in range(3):
            assert gateway.ask("GET", "/4/worklogs/1", token=other.secret).status == 401
        (reused,) = eventually(lambda: receiver.of("token.reuse"), "the notice of reuse")
        assert {name: reused.event["data"][name] for name in ("from", "kind")} == {"from": "127.0.0.1", "kind": "revoked"}
        assert reused.event["data"]["token"]["id"] == other.id
        told = str(receiver.deliveries) + gateway.log()
        assert token.secret not in told
        assert other.secret not in told
        assert SECRET not in told
        for pid in gateway.children():
            assert SECRET.encode() not in Path(f"/proc/{pid}/environ").read_bytes()


def test_what_was_due_when_the_process_was_killed_is_sent_by_its_successor(receiver: Receiver, shared_upstream: ScriptedUpstream) -> None:
    """The receiver holds the first delivery until its sender has been killed. Seen to fail with a notice taken out of the queue when it is claimed."""
    receiver.hold = threading.Event()
    with telling(shared_upstream, receiver) as gateway:
        token = gateway.make("worklogs", expires_in_days=30)
        ends_in(gateway, token, 3 * DAY_MS)
        eventually(lambda: receiver.deliveries, "the first delivery")
        (sender,) = gateway.management()
        os.kill(sender, signal.SIGKILL)
        receiver.hold.set()
        receiver.hold = None
        eventually(lambda: gateway.management() not in ([], [sender]), "another management process")
        with gateway.store() as store:
            assert store.zcard("sg:notice:due") == 1
            store.zadd("sg:notice:due", {store.zrange("sg:notice:due", 0, 0)[0]: 1})  # the half minute is over
        eventually(lambda: len(receiver.deliveries) == 2, "the second delivery", 20)
        assert {delivery.id for delivery in receiver.deliveries} == {f"expiry_{token.id}_3"}
        with gateway.store() as store:
            eventually(lambda: store.zcard("sg:notice:due") == 0, "the end of the notice")


@pytest.mark.parametrize("name", ["127.0.0.1", "127.0.0.2"])
def test_a_receiver_by_tls_is_told_if_its_certificate_is_good(name: str, tmp_path: Path, shared_upstream: ScriptedUpstream) -> None:
    """Of the wrong name nothing is told but a fault, and the notice stays in the queue."""
    known = authority(tmp_path)
    with (
        Receiver(issue(known, "receiver", f"IP:{name}")) as receiver,
        telling(shared_upstream, receiver, SSL_CERT_FILE=str(known.certificate)) as gateway,
    ):
        token = gateway.make("worklogs", expires_in_days=30)
        ends_in(gateway, token, 3 * DAY_MS)
        if name in receiver.url:
            (told,) = eventually(lambda: receiver.of("token.expiring"), "the notice by TLS")
            assert told.event["data"]["token"]["id"] == token.id
        else:
            eventually(lambda: "Certificate" in gateway.log(), "the fault in the log")
            assert not receiver.deliveries
            with gateway.store() as store:
                assert store.zcard("sg:notice:due") == 1


def sender(url: str, *, allow_private: bool = False, addresses: list[list[str]] | None = None) -> WebhookSender:
    """A sender whose resolver gives these addresses, one list each time it is asked."""
    answers = iter(addresses or [])

    async def look_up(_host: str, _port: int) -> list[str]:
        return next(answers)

    settings = NoticeSettings(url, Secret(SECRET), allow_private)
    return WebhookSender(settings, look_up) if addresses is not None else WebhookSender(settings)


@pytest.mark.parametrize("status", [200, 202, 204, 299])
async def test_every_2xx_is_taken_as_received(status: int, receiver: Receiver) -> None:
    receiver.answer = lambda _: status
    assert await sender(receiver.url, allow_private=True)("m", {"type": "x"}) == ""


@pytest.mark.parametrize("status", [302, 400, 410, 500])
async def test_any_other_status_is_a_failure_and_no_redirect_is_followed(status: int, receiver: Receiver) -> None:
    """Seen to fail with allow_redirects."""
    receiver.answer = lambda _: status
    assert await sender(receiver.url, allow_private=True)("m", {"type": "x"}) == f"127.0.0.1 answered {status}"
    assert receiver.paths == ["/hook"]


async def test_a_receiver_that_hangs_is_given_up_in_time(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "SEND_S", 0.2)
    receiver.hold = threading.Event()
    assert await sender(receiver.url, allow_private=True)("m", {"type": "x"}) == "127.0.0.1 did not answer within 0.2 s"


async def test_an_answer_without_end_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen to fail with a read of the answer's body."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        gone = threading.Event()

        def flood() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                end = time.monotonic() + 20
                try:
                    while time.monotonic() < end:
                        connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
                except OSError:
                    gone.set()

        thread = threading.Thread(target=flood, daemon=True)
        thread.start()
        assert await sender(f"http://127.0.0.1:{listener.getsockname()[1]}/", allow_private=True)("m", {"type": "x"}) == ""
        assert gone.wait(20)
        thread.join(20)


@pytest.mark.parametrize("url", ["https://127.0.0.1:1/", "https://[::1]:1/", "https://169.254.169.254/latest", "https://[::ffff:10.0.0.1]/"])
async def test_an_address_that_is_not_public_is_not_called(url: str) -> None:
    """Seen to fail without the look at literal addresses, which no resolver sees."""
    why = await sender(url)("m", {"type": "x"})
    assert why.endswith("must not be called: its address is not one of the public internet")


async def test_a_name_that_leads_to_a_private_address_is_not_called(receiver: Receiver) -> None:
    port = receiver.url.split(":")[2].split("/")[0]
    send = sender(f"https://rebinding.test:{port}/hook", addresses=[["127.0.0.1"]])
    assert await send("m", {"type": "x"}) == "rebinding.test must not be called: its address is not one of the public internet"
    assert receiver.paths == []


async def test_a_name_is_resolved_once_for_a_message_and_what_was_checked_is_what_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: public when it is checked, loopback afterwards. Each message asks the resolver exactly once, and connects to that answer."""
    asked: list[object] = []
    loop_connect = socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", lambda self, to: (asked.append(to), loop_connect(self, to))[1])
    dialled: list[str] = []

    async def connect(addr_infos: list[tuple[object, ...]], **_: object) -> socket.socket:
        dialled.extend(str(info[4][0]) for info in addr_infos)  # type: ignore[index]
        raise OSError("nothing is dialled in a test")

    monkeypatch.setattr("aiohappyeyeballs.start_connection", connect)
    send = sender("https://rebinding.test/hook", addresses=[["1.1.1.1"], ["127.0.0.1"]])
    assert "can't be reached" in await send("m", {"type": "x"})
    assert dialled == ["1.1.1.1"]
    assert "must not be called" in await send("m", {"type": "x"})
    assert dialled == ["1.1.1.1"]


async def test_without_tls_nothing_leaves_the_machine() -> None:
    send = sender("http://localhost:1/", allow_private=True, addresses=[["10.0.0.1"]])
    assert "must not be called" in await send("m", {"type": "x"})
