"""Memory, revocation and large policies: each part in short, on real processes, and what becomes of its figures."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench import footprint
from bench.footprint import Sizes, Stand, percentile, policy_of, standing
from bench.footprint_report import KINDS, Sitting, found, write
from bench.memory import forget_peak, memory, peak, upload
from bench.plan import FIGURES, Plan
from bench.population import use
from bench.processes import CannotMeasure
from bench.revocation import revokes
from gateway.policy_file.load import parse_policy

CORE = min(os.sched_getaffinity(0))
SHORT = Sizes(tokens=40, body=32 << 20, idle=5, changes=10, revokes=3, beside=3)


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """An upstream and a store with a few tokens, all on one core: what it takes is not looked at here."""
    with standing(tmp_path_factory.mktemp("stand"), (CORE, CORE), Path(sys.executable), 1, SHORT, SHORT.tokens) as stand:
        yield stand


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[ExitStack]:
    monkeypatch.setattr("bench.memory._QUIET_S", 0.0)
    with ExitStack() as stack:
        yield stack


def test_tokens_are_all_at_hand_before_memory_is_looked_at(stand: Stand, stack: ExitStack, tmp_path: Path) -> None:
    values = footprint.tokens(stand, stack, tmp_path)
    assert 20 < values["worker_mb"] <= values["tokens_mb"] < 500
    assert 0 < values["tokens_pss_mb"] <= values["tokens_mb"]


def test_tokens_that_a_worker_does_not_keep_give_no_figure(stand: Stand, stack: ExitStack, tmp_path: Path) -> None:
    with pytest.raises(CannotMeasure, match="of 40 tokens 40 were asked for a second time"):
        footprint.tokens(Forgetful(*stand), stack, tmp_path)


class Forgetful(Stand):
    """Starts gateways that hold fewer records than they are to."""

    def start(self, stack: ExitStack, folder: Path, **variables: str) -> footprint.Scopegate:
        return Stand.start(self, stack, folder, **{**variables, "SCOPEGATE_CACHE__RECORDS": "10"})


def test_a_large_body_passes_both_ways_and_adds_less_than_itself(stand: Stand, stack: ExitStack, tmp_path: Path) -> None:
    values = footprint.bodies(stand, stack, tmp_path)
    assert 0 <= values["up_mb"] < 16
    assert 0 <= values["down_mb"] < 16


def test_idle_connections_have_a_figure(stand: Stand, stack: ExitStack, tmp_path: Path) -> None:
    assert -5 < footprint.idle(stand, stack, tmp_path)["idle_mb"] < 5


def test_every_change_is_heard_of(stand: Stand, stack: ExitStack, tmp_path: Path) -> None:
    values = footprint.push(stand, stack, tmp_path)
    assert 0 < values["push_p50_ms"] <= values["push_p99_ms"] <= values["push_max_ms"] < 5000


def test_revokes_are_confirmed_and_timed_as_long_as_they_may_go_on(stand: Stand, stack: ExitStack, tmp_path: Path) -> None:
    gateway = stand.start(stack, tmp_path)
    made = footprint.populate(stand.options, 4)
    use(gateway.port, made)
    assert len(revokes(gateway, made[:2])) == 2
    left = iter([True, False])
    assert len(revokes(gateway, made[2:], lambda: next(left))) == 1
    with pytest.raises(CannotMeasure, match="the gateway refuses tokens that are good"):
        use(gateway.port, made[:1])


@pytest.mark.parametrize("count", [10, 1000])
def test_a_policy_has_the_routes_that_it_is_to_have(count: int) -> None:
    policy = parse_policy(policy_of(count), "policy.yaml")
    assert len(policy.routes) == count


def test_a_peak_is_of_what_came_since_it_was_forgotten() -> None:
    held = bytearray(64 << 20)
    assert memory(os.getpid()).rss >= 64 << 20
    del held
    forget_peak(os.getpid())
    before = peak(os.getpid())
    held = bytearray(32 << 20)
    assert peak(os.getpid()) - before > 24 << 20
    assert held


def test_a_body_that_nobody_takes_is_no_figure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def close() -> None:
            with server.accept()[0] as peer:
                peer.recv(100)

        closing = threading.Thread(target=close)
        closing.start()
        with pytest.raises((CannotMeasure, OSError)):
            upload(server.getsockname()[1], "no token", 8 << 20)
        closing.join()


@pytest.mark.parametrize(("percent", "value"), [(50, 50), (99, 99), (100, 100)])
def test_a_percentile_is_a_value_that_was_measured(percent: int, value: int) -> None:
    assert percentile(range(100, 0, -1), percent) == value


def test_no_values_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 99)


def sitting(folder: Path, starts: int = 5) -> Sitting:
    plan = Plan(results=folder, starts=starts)
    return Sitting(plan, "2026-11-25", {"processor": "Some CPU"}, {"Python": "CPython"}, [dict.fromkeys(KINDS, 1.0 + number) for number in range(starts)], {})


def test_all_figures_of_five_starts_are_for_showing_and_everything_less_is_a_trial(tmp_path: Path) -> None:
    whole = sitting(tmp_path)
    assert [Path(path).name for path in write(whole)] == ["footprint.md", "footprint.json"]
    for less in (
        sitting(tmp_path, 4),
        whole._replace(rounds=whole.rounds[:4]),
        whole._replace(left_out={"idle": "no"}),
        whole._replace(plan=Plan(results=tmp_path, figures=("idle",))),
    ):
        assert [Path(path).name for path in write(less)] == ["trial.footprint.md", "trial.footprint.json"]


def test_the_table_says_median_range_and_whether_what_was_to_be_reached_holds(tmp_path: Path) -> None:
    told = Path(write(sitting(tmp_path))[0]).read_text("utf-8")
    assert "- processor: Some CPU\n- Python: CPython" in told
    assert "| the same with 100,000 live tokens at hand, RSS | 5 | 3.0 (1.0\u20135.0) MB | 80 MB | holds |" in told
    assert "| p99 | 5 | 3.00 (1.00\u20135.00) ms | 1 ms | **missed** |" in told
    assert all(f"## {title[0].upper()}{title[1:]}" in told for title in FIGURES.values())


def test_what_lies_on_the_line_is_under_it_only_where_it_may(tmp_path: Path) -> None:
    on_the_line = sitting(tmp_path)._replace(rounds=[{"push_p99_ms": 1.0, "routes_ratio": 1.05}])
    told = Path(write(on_the_line)[0]).read_text("utf-8")
    assert "| 1.00 ms | 1 ms | **missed** |" in told
    assert "| 1.05 \u00d7 | 1.05 \u00d7 | holds |" in told


def test_the_data_hold_every_single_value(tmp_path: Path) -> None:
    data = json.loads(Path(write(sitting(tmp_path))[1]).read_text("utf-8"))
    assert [each["idle_mb"] for each in data["rounds"]] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert found(data["rounds"])["idle_mb"].median == 3.0


def test_every_kind_of_value_belongs_to_a_figure_that_is_measured() -> None:
    assert {kind.figure for kind in KINDS.values()} == set(FIGURES) == set(footprint._DONE_BY)
