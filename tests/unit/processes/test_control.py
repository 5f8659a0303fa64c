"""Messages between processes: put together from whatever pieces they come in."""

from __future__ import annotations

import pickle
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.observe.metrics import Counters, Overview, WorkerFacts
from gateway.processes.child import StartParts
from gateway.processes.control import ORDERS, REPORTS, Count, Counts, Drain, Incoming, Prepare, Ready, Start, Swap, Told, packed, receive_order
from gateway.settings.load import load_settings
from gateway.store.connection import StoreOptions

ORDERS_SENT = [Start(b"\0parts", b"policy", "node/1", 20), Prepare(7, b"x" * 3000), Swap(7), Count(8), Drain()]


@given(st.lists(st.integers(1, 500), min_size=1))
def test_messages_come_out_whole_however_they_are_cut(cuts: list[int]) -> None:
    stream = b"".join(map(packed, ORDERS_SENT))
    incoming, out, at = Incoming(), [], 0
    for cut in [*cuts, len(stream)]:
        out += incoming.feed(stream[at : at + cut], ORDERS)
        at += cut
    assert out == ORDERS_SENT


def test_counts_survive_the_way() -> None:
    counters = Counters()
    counters.requests["/a/{id}", "GET", 200, ""] += 3
    counters.connections_open = 2
    (report,) = Incoming().feed(packed(Counts(5, counters)), REPORTS)
    assert report == Counts(5, counters)
    told = Told(Overview(counters, [WorkerFacts(0, True, "abc")], True))
    assert Incoming().feed(packed(told), ORDERS) == [told]


@pytest.mark.parametrize("data", [b"\0\0\0\1\xc1", packed(Ready("hash")), b"\xff\xff\xff\xff", b"\0\0\0\0"])
def test_what_is_no_order_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"too long|malformed|truncated|Invalid value|trailing"):
        Incoming().feed(data, ORDERS)


def test_a_first_order_is_read_and_not_a_byte_more() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(packed(Swap(1)) + b"rest")
        assert receive_order(theirs) == Swap(1)
        assert theirs.recv(10) == b"rest"


@pytest.mark.parametrize("sent", [b"", b"\0\0", packed(Swap(1))[:-1]])
def test_a_supervisor_that_is_gone_is_no_order(sent: bytes) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            ours.sendall(sent)
        assert receive_order(theirs) is None


def test_settings_survive_the_way_and_show_no_secret(tmp_path: Path) -> None:
    config = tmp_path / "gateway.yaml"
    config.write_text(
        "trusted_proxies: [10.0.0.0/8, '2001:db8::/32']\nadmin: {key: an-admin-key-of-more-than-32-characters}\n"
        "upstreams: {api: {url: http://a.example, credentials: {header: X-Key, env: STRONG}}}\n"
    )
    settings = load_settings(config, {"STRONG": "the-strong-one"})
    parts = StartParts(settings, StoreOptions("redis://:pass@h", tmp_path), settings.admin.key)
    assert pickle.loads(pickle.dumps(parts)) == parts
    start = Start(pickle.dumps(parts), b"policy", "node/0", 20)
    assert "strong" not in repr(start)
    assert "strong" not in repr(parts)
    assert "admin-key" not in repr(parts)
    assert "pass" not in repr(parts)
