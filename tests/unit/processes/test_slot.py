"""What a process inherits, and what stays of one that has ended."""

from __future__ import annotations

import socket

from gateway.observe.metrics import Counters
from gateway.processes.slot import Slot, environment


def test_a_process_inherits_no_setting_and_no_secret() -> None:
    given = {"PATH": "/bin", "TZ": "UTC", "SCOPEGATE_ADMIN__KEY": "k", "SCOPEGATE_WORKERS": "2", "STRONG": "Bearer x", "OTHER": "a Bearer"}
    kept = environment(given, ["Bearer x", "Bearer"])
    kept.pop("PYTHONPATH", None)  # where the package is, unless it is installed
    assert kept == {"PATH": "/bin", "TZ": "UTC", "OTHER": "a Bearer"}


def slot() -> Slot:
    return Slot("worker 0", "module", socket.socket())


def test_what_a_process_has_counted_stays_and_what_it_had_open_is_closed() -> None:
    place = slot()
    with place.listener:
        for _ in range(2):
            place.last = Counters(connections=5, connections_open=3, streams_open=2, bytes_up=7)
            place.last.requests["/a", "GET", 200, ""] = 4
            place.died(1.0)
    assert place.past == Counters(requests={("/a", "GET", 200, ""): 8}, connections=10, bytes_up=14)
    assert place.last == Counters()


def test_more_than_five_deaths_in_ten_seconds_are_too_many() -> None:
    place = slot()
    with place.listener:
        assert [place.died(second) for second in (0.0, 2.0, 4.0, 6.0, 8.0)] == [False] * 5
        assert place.died(9.9)
        assert not place.died(12.0)
        assert place.died(13.9)
        assert not place.died(30.0)
