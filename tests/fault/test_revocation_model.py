"""G3 on the model of docs/revocation.md: with all rules no schedule breaks it, and without any one of them some schedule does.

Schedules are searched for. Where one that breaks the protocol is too rare for a short search, it is written out as a story, and the
same story must do no harm with all rules in force. In both, the model itself says what is broken, by the same check.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import partial
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.fault.model_of_revocation import LEASE, RATES, Changer, Connection, GoesUpLate, Rules, Worker, World

MOVES = 30
rates = st.sampled_from(RATES)


class Schedule(RuleBasedStateMachine):
    """Picks what happens next, by weight: hypothesis draws the seeds. With a rule for each move, which hypothesis would switch off by
    turns, too few schedules come as far as an answer."""

    protocol = Rules()

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.protocol)

    @initialize(store=rates, first=rates, second=rates)
    def two_workers_know_the_token_and_have_a_lease(self, store: int, first: int, second: int) -> None:
        self.world = world = World(self.protocol, store_rate=store, worker_rates=(first, second))
        world.calm()

    @rule(seed=st.integers(0, 2**64 - 1))
    def thirty_things_happen(self, seed: int) -> None:
        """Often from a calm, and often with one worker held up: it hears nothing, and its clock goes on."""
        random = Random(seed)
        if random.random() < 0.7:
            self.world.calm()
        held = random.choice([None, *self.world.workers])
        for _ in range(MOVES):
            weights, moves = zip(*self.moves(held), strict=True)
            random.choice(random.choices(moves, weights)[0])()
            self.world.try_each_worker()

    def moves(self, held: Worker | None) -> list[tuple[float, Sequence[Callable[[], object]]]]:
        """What can happen now, with how often it should."""
        world = self.world
        store, workers, changers = world.store, world.workers, world.changers
        free = [worker for worker in workers if worker is not held]
        linked = [worker for worker in free if worker.link is not None]
        ages, either, kinds = (0, 1), (False, True), ("end", "repeat", "rename")
        every: list[tuple[float, Sequence[Callable[[], object]]]] = [
            # time
            (0.3, [partial(world.pass_to, world.now + step) for step in (1, 20, LEASE // 4)]),
            (0.3, [partial(world.pass_to, time - early) for time in world.deadlines() for early in (0, 1)]),
            # network and store
            (6, [partial(store.run, connection) for connection in world.askers()]),
            (4, [store.end_cycle] if store.in_cycle else []),
            (8, [partial(reader.hear, connection) for reader, connection in world.readable() if reader is not held]),
            (0.1, [partial(store.close, connection) for connection in store.connections]),
            (0.2, [store.restart]),
            # workers
            (1, [worker.beat for worker in linked]),
            (0.1, [worker.lose_link for worker in linked]),
            (2, [worker.connect for worker in free if worker.link is None]),
            (0.2, [partial(world.add_worker, 1000, worker) for worker in workers] if len(workers) < 3 else []),
            (2, [partial(world.request, worker, max(0, store.record.secret - age), waits=waits) for worker in free for age in ages for waits in either]),
            (3, [worker.handle for worker in free if worker.arrived]),
            (2, [worker.go_on for worker in free if worker.queue]),
            # changers
            (1, [partial(world.change, kind, rate) for kind in kinds for rate in RATES] if world.unanswered() < 2 else []),
            (6, [changer.answer for changer in changers if changer.may_answer]),
        ]
        return [(weight, choices) for weight, choices in every if choices]


def search(rules: Rules, *, examples: int) -> None:
    """Run that many schedules of 150 moves; the first that breaks the invariant raises GoesUpLate."""
    run_state_machine_as_test(
        type("Schedule", (Schedule,), {"protocol": rules}),
        settings=settings(
            max_examples=examples,
            stateful_step_count=5,
            derandomize=True,
            database=None,
            deadline=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )


# -- stories: no time passes but where it is said, and nobody reads but who is named


def run(world: World, *connections: Connection | None) -> None:
    """The store runs one script of each, in one event-loop cycle."""
    for connection in connections:
        assert connection is not None
        if connection.up:
            world.store.run(connection)
    world.store.end_cycle()


def hear(worker: Worker, connection: Connection | None = None) -> None:
    """A worker reads what there is on its link, or on another connection."""
    connection = connection or worker.link
    assert connection is not None
    while connection.down:
        worker.hear(connection)


def hear_one(worker: Worker) -> None:
    assert worker.link is not None
    if worker.link.down:
        worker.hear(worker.link)


def confirm(world: World, worker: Worker) -> None:
    """A worker reads the push, and goes through with its confirmation."""
    for _ in range(3):
        hear(worker)
        run(world, worker.link)


def change(world: World, kind: str = "end") -> Changer:
    """A change that the store has run; nobody has read anything of it."""
    changer = world.change(kind)
    run(world, changer.connections[1])
    return changer


def answer(world: World, changer: Changer) -> None:
    """The changer reads all that it can, and answers if it may. Then requests come."""
    for connection in changer.connections:
        while connection.down:
            changer.hear(connection)
    if changer.may_answer:
        changer.answer()
    world.try_each_worker()


def leased(world: World) -> Worker:
    """A worker with a lease that knows nothing yet, and is just asked for the token."""
    worker = world.workers[0]
    worker.beat()
    world.settle()
    world.request(worker, 0)
    worker.handle()
    return worker


def an_old_reply_comes_after_the_push(world: World) -> None:
    worker = leased(world)
    run(world, worker.side)
    ending = change(world)
    confirm(world, worker)
    hear(worker, worker.side)
    answer(world, ending)


def the_word_for_an_earlier_change_is_on_its_way(world: World) -> None:
    world.calm()
    worker = world.workers[0]
    change(world, "rename")
    hear(worker)
    run(world, worker.link)
    hear(worker)  # its word is sent
    world.request(worker, 0)
    worker.handle()
    ending = world.change("end")
    run(world, worker.link)
    run(world, worker.link)
    hear(worker)  # knows what the rename left
    run(world, ending.connections[1])
    answer(world, ending)


def a_look_up_is_under_way_when_a_push_comes(world: World) -> None:
    worker = leased(world)
    change(world, "rename")
    hear(worker)  # asks so as to confirm, behind the look-up
    run(world, worker.link)
    hear(worker)  # knows what the rename left
    ending = change(world)
    run(world, worker.link)
    answer(world, ending)


def a_reply_stands_before_the_push_of_its_cycle(world: World) -> None:
    worker = leased(world)
    change(world, "rename")
    hear(worker)
    run(world, worker.link)  # the look-up
    ending = world.change("end")
    run(world, ending.connections[1], worker.link)
    hear_one(worker)  # knows what the rename left
    hear_one(worker)  # has read the version of the end; the push comes behind it
    run(world, worker.link)
    answer(world, ending)


def the_answer_to_a_heartbeat_is_read_a_lease_later(world: World) -> None:
    world.calm()
    worker = world.workers[0]
    worker.beat()
    run(world, worker.link)
    ending = change(world)
    answer(world, ending)
    world.now += LEASE
    hear_one(worker)
    answer(world, ending)


def a_lapsed_worker_beats_in_the_cycle_of_a_change(world: World) -> None:
    world.calm()
    worker = world.workers[0]
    world.now += LEASE + 1
    worker.beat()
    ending = world.change("end")
    run(world, ending.connections[1], worker.link)
    hear_one(worker)  # its heartbeat is answered; the push comes behind it
    answer(world, ending)


def a_change_is_made_while_the_link_is_lost(world: World) -> None:
    world.calm()
    worker = world.workers[0]
    worker.lose_link()
    ending = change(world)
    worker.connect()
    answer(world, ending)
    world.now += LEASE
    worker.beat()
    run(world, worker.link)
    hear(worker)
    answer(world, ending)


def a_successor_confirms_beside_its_predecessor(world: World) -> None:
    world.calm()
    successor = world.add_worker(predecessor=world.workers[0])
    successor.connect()
    ending = change(world)
    confirm(world, successor)
    answer(world, ending)


STORIES: dict[str, Callable[[World], None]] = {
    "look_ups_on_link": an_old_reply_comes_after_the_push,
    "version": the_word_for_an_earlier_change_is_on_its_way,
    "confirm_what_was_read": a_look_up_is_under_way_when_a_push_comes,
    "drop_again_when_read": a_reply_stands_before_the_push_of_its_cycle,
    "lease_from_sending": the_answer_to_a_heartbeat_is_read_a_lease_later,
    "drop_all_when_lapsed": a_lapsed_worker_beats_in_the_cycle_of_a_change,
    "drop_all_when_link_is_lost": a_change_is_made_while_the_link_is_lost,
    "own_name": a_successor_confirms_beside_its_predecessor,
}
SEARCHED = sorted({rule.name for rule in fields(Rules)} - STORIES.keys())


def without(rule: str) -> Rules:
    return replace(Rules(), **{rule: False})


def test_no_schedule_lets_an_ended_secret_through_after_the_answer() -> None:
    search(Rules(), examples=2000)


@pytest.mark.parametrize("rule", SEARCHED)
def test_a_search_finds_what_breaks_without_the_rule(rule: str) -> None:
    with pytest.raises(GoesUpLate):
        search(without(rule), examples=1000)


@pytest.mark.parametrize("rule", STORIES)
def test_a_story_breaks_the_protocol_without_the_rule(rule: str) -> None:
    with pytest.raises(GoesUpLate):
        STORIES[rule](World(without(rule)))


@pytest.mark.parametrize("rule", STORIES)
def test_the_same_story_does_no_harm_with_all_rules(rule: str) -> None:
    world = World(Rules())
    STORIES[rule](world)
    world.calm()
    world.try_each_worker()


def test_a_change_is_answered_as_soon_as_all_have_confirmed_and_the_present_secret_works_on() -> None:
    world = World(Rules(), worker_rates=(1000, 1000))
    world.calm()
    world.now += LEASE // 4
    world.calm()
    before = world.now
    ending = change(world)
    confirm(world, world.workers[0])
    answer(world, ending)
    assert not ending.answered
    confirm(world, world.workers[1])
    answer(world, ending)
    assert ending.answered
    assert world.ended == {0}
    assert world.now == before
    went_up = world.went_up
    world.calm()
    assert world.went_up == went_up + 2


def test_a_change_is_answered_after_one_lease_without_a_worker_that_is_cut_off() -> None:
    world = World(Rules(), worker_rates=(976,))
    world.calm()
    ending = change(world)
    answer(world, ending)
    world.now += LEASE - 1
    answer(world, ending)
    assert not ending.answered
    world.now += 1
    answer(world, ending)
    assert ending.answered
