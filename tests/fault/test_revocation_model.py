"""G3 on the model of docs/revocation.md: with all rules no schedule breaks it, and without any one of them some schedule does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from tests.fault.model_of_revocation import LEASE, RATES, GoesUpLate, Rules, World

T = TypeVar("T")

picks = st.integers(0, 11)
rates = st.sampled_from(RATES)


def one(things: Sequence[T], pick: int) -> T:
    return things[pick % len(things)]


class Schedule(RuleBasedStateMachine):
    """Picks what happens next. It starts with two workers that have a lease and know the token."""

    protocol = Rules()

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.protocol)

    @initialize(store=rates, first=rates, second=rates)
    def begin(self, store: int, first: int, second: int) -> None:
        self.world = world = World(self.protocol, store_rate=store, worker_rates=(first, second))
        for worker in world.workers:
            worker.beat()
            world.request(worker, 0)
            worker.handle()
        world.settle()

    # -- time

    @rule(step=st.sampled_from((1, 20, LEASE // 4)))
    def time_passes(self, step: int) -> None:
        self.world.now += step

    @precondition(lambda self: self.world.deadlines())
    @rule(pick=picks, early=st.booleans())
    def time_passes_to_a_deadline(self, pick: int, early: bool) -> None:
        self.world.now = one(self.world.deadlines(), pick) - early

    # -- network and store

    @precondition(lambda self: self.world.askers())
    @rule(pick=picks, last=st.booleans())
    def the_store_runs_a_script(self, pick: int, last: bool) -> None:
        self.world.store.run(one(self.world.askers(), pick))
        if last:
            self.world.store.end_cycle()

    @precondition(lambda self: self.world.store.in_cycle)
    @rule()
    def the_cycle_ends(self) -> None:
        self.world.store.end_cycle()

    @precondition(lambda self: self.world.readable())
    @rule(pick=picks)
    def somebody_reads(self, pick: int) -> None:
        reader, connection = one(self.world.readable(), pick)
        reader.hear(connection)

    @rule()
    def all_is_quiet(self) -> None:
        self.world.settle()

    @precondition(lambda self: self.world.store.connections)
    @rule(pick=picks)
    def the_store_closes_a_connection(self, pick: int) -> None:
        self.world.store.close(one(self.world.store.connections, pick))

    @rule()
    def the_store_restarts(self) -> None:
        self.world.store.restart()

    # -- workers

    @precondition(lambda self: any(worker.link for worker in self.world.workers))
    @rule(pick=picks)
    def a_worker_beats(self, pick: int) -> None:
        one([worker for worker in self.world.workers if worker.link], pick).beat()

    @precondition(lambda self: any(worker.link for worker in self.world.workers))
    @rule(pick=picks)
    def a_worker_gives_its_link_up(self, pick: int) -> None:
        one([worker for worker in self.world.workers if worker.link], pick).lose_link()

    @precondition(lambda self: any(worker.link is None for worker in self.world.workers))
    @rule(pick=picks)
    def a_worker_connects(self, pick: int) -> None:
        one([worker for worker in self.world.workers if worker.link is None], pick).connect()

    @precondition(lambda self: len(self.world.workers) < 3)
    @rule(pick=picks, rate=rates)
    def a_successor_starts(self, pick: int, rate: int) -> None:
        self.world.add_worker(rate, one(self.world.workers, pick)).connect()

    @rule(pick=picks, age=st.integers(0, 1), waits=st.booleans())
    def a_request_arrives(self, pick: int, age: int, waits: bool) -> None:
        self.world.request(one(self.world.workers, pick), max(0, self.world.store.record.secret - age), waits=waits)

    @precondition(lambda self: any(worker.arrived for worker in self.world.workers))
    @rule(pick=picks)
    def a_worker_handles_a_request(self, pick: int) -> None:
        one([worker for worker in self.world.workers if worker.arrived], pick).handle()

    @precondition(lambda self: any(worker.queue for worker in self.world.workers))
    @rule(pick=picks)
    def an_upstream_connection_is_free(self, pick: int) -> None:
        one([worker for worker in self.world.workers if worker.queue], pick).go_on()

    # -- changers

    @precondition(lambda self: sum(not changer.answered for changer in self.world.changers) < 3)
    @rule(kind=st.sampled_from(("end", "end", "repeat", "rename")), rate=rates)
    def somebody_changes_the_token(self, kind: str, rate: int) -> None:
        self.world.change(kind, rate)

    @precondition(lambda self: any(changer.may_answer for changer in self.world.changers))
    @rule(pick=picks)
    def a_changer_answers(self, pick: int) -> None:
        one([changer for changer in self.world.changers if changer.may_answer], pick).answer()


def search(rules: Rules, examples: int, steps: int) -> None:
    """Run schedules; the first that breaks the invariant raises GoesUpLate."""
    machine = type("Schedule", (Schedule,), {"protocol": rules})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=True,
            database=None,
            deadline=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )
