"""A model of revocation: the protocol of docs/revocation.md, small enough to be searched.

One token, a store, workers and changers. Nothing happens by itself: whoever drives the model says which message is read next, when a
clock goes on, when a connection is cut. So every delay, and every pause of a process (SIGSTOP), is only an order in which somebody is
not picked for a while; loss is a connection that is cut, since TCP loses nothing else.

The store is the strict part. It runs one script at a time, and keeps the order on each connection. As Redis does, it sends the pushes
of a change only at the end of its event-loop cycle: replies of the same cycle stand before them. A restart keeps the record (a change
is answered after WAITAOF) and forgets who was registered, which is the worst that a crash can do.

``Rules`` takes the protocol's rules out, one by one. ``GoesUpLate`` is raised where a request goes upstream that must not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple

LEASE: Final = 1000
BELIEVED: Final = 950  # how long a worker believes of it
RATES: Final = (976, 1000, 1024)  # ticks of a clock in 1000 of real time: 950 of the slowest are less than 1000 of the fastest


@dataclass(frozen=True, slots=True)
class Rules:
    """What the protocol asks for. Each can be taken out."""

    look_ups_on_link: bool = True  # else on a second connection, whose replies are cached whenever they come
    version: bool = True  # else any word from a worker counts as its confirmation
    confirm_what_was_read: bool = True  # else a script confirms the version that the store has when it runs
    drop_again_when_read: bool = True  # else what was dropped at the push is all that is dropped
    lease_from_sending: bool = True  # else from the receipt of the heartbeat's answer
    lease_read_at_each_decision: bool = True  # else only when the heartbeat is due
    margin: bool = True  # else a worker believes the whole lease
    drop_all_when_lapsed: bool = True  # else a worker whose registration had lapsed keeps what it knows
    drop_all_when_link_is_lost: bool = True
    decide_again: bool = True  # else the verdict before a wait counts after it
    repeat_waits: bool = True  # else a change that was made already is answered at once
    young_store_waits: bool = True  # else a store that has just started is believed to know all workers
    own_name: bool = True  # else a successor has the name of the worker before it


class GoesUpLate(AssertionError):
    """A request that began to be decided after the answer of a change went upstream with the secret that the change had ended."""


class Record(NamedTuple):
    version: int
    secret: int  # secrets are counted; a regenerate, suspend or revoke ends the present one and all before


class Changed(NamedTuple):
    record: Record
    workers: frozenset[str]
    young: bool  # the store has not been up for a lease


@dataclass(slots=True)
class Request:
    secret: int
    late: bool  # it arrived, or its last wait ended, after its secret's end was answered
    waits: bool  # no upstream connection is free


@dataclass(slots=True, eq=False)
class Connection:
    """Two queues, each in order. What is in ``up`` has been sent, what is in ``down`` can be read."""

    pushed: Callable[[], None] | None = None  # tracks the live key
    up: deque[tuple[Callable[[], Any], Callable[[Any], None]]] = field(default_factory=deque)
    cycle: list[Callable[[], None]] = field(default_factory=list)  # replies of this cycle
    down: deque[Callable[[], None]] = field(default_factory=deque)
    open: bool = True  # at the store

    def ask(self, question: Callable[[], Any], answered: Callable[[Any], None] = lambda _: None) -> None:
        self.up.append((question, answered))


class Clock:
    """Counts from 0, a little too fast or too slow."""

    def __init__(self, world: World, rate: int) -> None:
        self._world = world
        self._rate = rate

    def read(self) -> int:
        return self._world.now * self._rate // 1000

    def when(self, reading: int) -> int:
        """The real time at which it will show this."""
        return -(-reading * 1000 // self._rate)


class Store:
    """Runs what it is asked, one after the other, in cycles."""

    def __init__(self, world: World, rate: int) -> None:
        self.clock = Clock(world, rate)
        self.record = Record(1, 0)
        self.connections: list[Connection] = []
        self._rules = world.rules
        self._until: dict[str, int] = {}
        self._started = -2 * LEASE
        self._touched = False
        self._listening: list[tuple[Connection, Changer]] = []

    def connect(self, pushed: Callable[[], None] | None = None) -> Connection:
        connection = Connection(pushed)
        self.connections.append(connection)
        return connection

    def close(self, connection: Connection) -> None:
        """What was sent can still be read; what was not run never is."""
        connection.open = False
        connection.up.clear()
        connection.cycle.clear()
        self.connections.remove(connection)

    def restart(self) -> None:
        for connection in list(self.connections):
            self.close(connection)
        self._until.clear()
        self._touched = False
        self._started = self.clock.read()

    def run(self, connection: Connection) -> None:
        question, answered = connection.up.popleft()
        connection.cycle.append(partial(answered, question()))

    def end_cycle(self) -> None:
        for connection in self.connections:
            connection.down += connection.cycle
            connection.cycle.clear()
            if self._touched and connection.pushed is not None:
                connection.down.append(connection.pushed)
        self._touched = False

    @property
    def in_cycle(self) -> bool:
        return self._touched or any(connection.cycle for connection in self.connections)

    def registrations(self) -> Iterable[int]:
        return self._until.values()

    # -- scripts

    def heartbeat(self, name: str) -> bool:
        """Registers a worker; whether it was no longer registered."""
        now = self.clock.read()
        lapsed = self._until.get(name, -1) < now
        self._until[name] = now + LEASE
        return lapsed

    def change(self, kind: str) -> Changed:
        """``end`` ends the present secret, ``repeat`` finds that done already, ``rename`` changes something else."""
        version, secret = self.record
        if kind != "repeat":
            self.record = Record(version + 1, secret + (kind == "end"))
        self._touched = True  # a repeat writes the key again, so that it is confirmed again
        now = self.clock.read()
        return Changed(self.record, frozenset(name for name, until in self._until.items() if until >= now), now - self._started <= LEASE)

    def look_up(self) -> Record:
        return self.record

    def publish(self, name: str, version: int) -> None:
        for connection, changer in self._listening:
            if connection.open:
                connection.cycle.append(partial(changer.heard, name, version))

    def confirm(self, name: str) -> None:
        """What the rule confirm_what_was_read replaces."""
        self.publish(name, self.record.version)

    def listen(self, changer: Changer) -> Connection:
        connection = self.connect()
        self._listening.append((connection, changer))
        return connection


class Worker:
    """A data-plane process."""

    def __init__(self, world: World, name: str, rate: int) -> None:
        self.name = name
        self.clock = Clock(world, rate)
        self.link: Connection | None = None
        self.side: Connection | None = None
        self.until = -1
        self.arrived: deque[Request] = deque()
        self.queue: deque[Request] = deque()  # let through, without an upstream connection
        self._world = world
        self._rules = world.rules
        self._known: Record | None = None
        self._trusting = False

    # -- the link

    def connect(self) -> None:
        store = self._world.store
        self.link = store.connect(self._pushed)
        self.side = self.link if self._rules.look_ups_on_link else store.connect()

    def lose_link(self) -> None:
        """By its own limit of time, or since the store closed it. What was sent on it may still be run."""
        self.link = self.side = None
        if self._rules.drop_all_when_link_is_lost:
            self._drop_all()

    def beat(self) -> None:
        assert self.link is not None
        sent = self.clock.read()
        self._trusting = sent < self.until
        self.link.ask(partial(self._world.store.heartbeat, self.name), partial(self._on_link, self.link, partial(self._beaten, sent)))

    def hear(self, connection: Connection) -> None:
        """The next message on a connection, or that it is lost."""
        if connection.down:
            connection.down.popleft()()
        else:
            self.lose_link()

    def _on_link(self, link: Connection, answered: Callable[[Any], None], reply: Any) -> None:
        if link is self.link or link is self.side:
            answered(reply)

    def _beaten(self, sent: int, lapsed: bool) -> None:
        if lapsed and self._rules.drop_all_when_lapsed:
            self._drop_all()
        start = sent if self._rules.lease_from_sending else self.clock.read()
        self.until = start + (BELIEVED if self._rules.margin else LEASE)
        self._trusting = True

    def _pushed(self) -> None:
        assert self.link is not None
        self._known = None
        store, link = self._world.store, self.link
        if self._rules.confirm_what_was_read:
            link.ask(store.look_up, self._read)
        else:
            link.ask(partial(store.confirm, self.name))

    def _read(self, record: Record) -> None:
        """From here on nothing older than this can come: all that was asked before has been answered."""
        assert self.link is not None
        if self._rules.drop_again_when_read:
            self._known = None
        self.link.ask(partial(self._world.store.publish, self.name, record.version))

    def _drop_all(self) -> None:
        self._known = None
        self.until = -1
        self._trusting = False

    # -- requests

    def handle(self) -> None:
        """The request that arrived first."""
        self._decide(self.arrived.popleft())

    def go_on(self) -> None:
        """An upstream connection is free for the first that waits."""
        request = self.queue.popleft()
        request.late = request.secret in self._world.ended
        if self._rules.decide_again:
            self._decide(request)
        else:
            self._world.goes_up(request)

    def _decide(self, request: Request) -> None:
        known = self.at_hand()
        if known is not None:
            self._judge(request, known)
        elif self.side is not None:
            self.side.ask(self._world.store.look_up, partial(self._on_link, self.side, partial(self._found, request)))
        # else 503

    def at_hand(self) -> Record | None:
        """What may be decided by without asking."""
        believes = self.clock.read() < self.until if self._rules.lease_read_at_each_decision else self._trusting
        return self._known if believes else None

    def _found(self, request: Request, record: Record) -> None:
        self._known = record
        self._judge(request, record)

    def _judge(self, request: Request, record: Record) -> None:
        if record.secret != request.secret:
            return  # 401
        if request.waits:
            request.waits = False
            self.queue.append(request)
        else:
            self._world.goes_up(request)


class Changer:
    """Whoever revokes, suspends or regenerates: listens, changes, waits, answers."""

    def __init__(self, world: World, kind: str, rate: int) -> None:
        self.clock = Clock(world, rate)
        self.kind = kind
        self.until = -1
        self.answered = False
        self._world = world
        self._rules = world.rules
        self._changed: Changed | None = None
        self._confirmed: dict[str, int] = {}
        self.connections = [world.store.listen(self), world.store.connect()]
        self.connections[1].ask(partial(world.store.change, kind), self._told)

    def hear(self, connection: Connection) -> None:
        connection.down.popleft()()

    def heard(self, name: str, version: int) -> None:
        self._confirmed[name] = max(version, self._confirmed.get(name, 0))

    def _told(self, changed: Changed) -> None:
        """The lease that it waits runs from the receipt of the store's answer."""
        self._changed = changed
        self.until = self.clock.read() + LEASE

    @property
    def may_answer(self) -> bool:
        changed = self._changed
        if changed is None or self.answered:
            return False
        at_once = self.kind == "rename" or (self.kind == "repeat" and not self._rules.repeat_waits)
        if at_once or self.clock.read() >= self.until:
            return True
        if changed.young and self._rules.young_store_waits:
            return False
        wanted = changed.record.version if self._rules.version else 0
        return all(self._confirmed.get(name, -1) >= wanted for name in changed.workers)

    def answer(self) -> None:
        assert self._changed is not None
        self.answered = True
        if self.kind != "rename":
            self._world.ended.update(range(self._changed.record.secret))


class World:
    """All of it, and the real time."""

    def __init__(self, rules: Rules, *, store_rate: int = 1000, worker_rates: Iterable[int] = (1000,)) -> None:
        self.rules = rules
        self.now = 0
        self.ended: set[int] = set()  # secrets whose end has been answered
        self.went_up = 0
        self.store = Store(self, store_rate)
        self.workers: list[Worker] = []
        self.changers: list[Changer] = []
        for rate in worker_rates:
            self.add_worker(rate).connect()

    def add_worker(self, rate: int = 1000, predecessor: Worker | None = None) -> Worker:
        """One more, also beside its predecessor, which is still finishing requests."""
        name = predecessor.name if predecessor is not None and not self.rules.own_name else f"worker {len(self.workers)}"
        worker = Worker(self, name, rate)
        self.workers.append(worker)
        return worker

    def change(self, kind: str, rate: int = 1000) -> Changer:
        changer = Changer(self, kind, rate)
        self.changers.append(changer)
        return changer

    def request(self, worker: Worker, secret: int, *, waits: bool = False) -> None:
        """A request arrives at a worker; when it is looked at is another matter."""
        worker.arrived.append(Request(secret, secret in self.ended, waits))

    def goes_up(self, request: Request) -> None:
        """The invariant. A request that arrived before the answer may finish; if it waited, the end of its wait counts."""
        self.went_up += 1
        if request.late:
            raise GoesUpLate(f"secret {request.secret} at {self.now}, though its end had been answered")

    def try_each_worker(self) -> None:
        """A request with an ended secret comes to each worker just now, and is decided if that takes no question."""
        for worker in self.workers:
            known = worker.at_hand()
            if known is not None and known.secret in self.ended:
                self.goes_up(Request(known.secret, late=True, waits=False))

    def pass_to(self, time: int) -> None:
        self.now = max(self.now, time)

    def unanswered(self) -> int:
        return sum(not changer.answered for changer in self.changers)

    def readable(self) -> list[tuple[Worker | Changer, Connection]]:
        """Where somebody can read a message, or the end of the link."""
        found: list[tuple[Worker | Changer, Connection]] = []
        for worker in self.workers:
            connections = {id(link): link for link in (worker.link, worker.side) if link is not None}
            found += [(worker, link) for link in connections.values() if link.down or not link.open]
        for changer in self.changers:
            found += [(changer, connection) for connection in changer.connections if connection.down]
        return found

    def askers(self) -> list[Connection]:
        """Connections with something to run."""
        return [connection for connection in self.store.connections if connection.up]

    def deadlines(self) -> list[int]:
        """Real times to come at which somebody's lease, wait or registration ends."""
        times = [self.store.clock.when(until) for until in self.store.registrations()]
        parties: list[Worker | Changer] = [*self.workers, *self.changers]
        times += [party.clock.when(party.until) for party in parties]
        return sorted({time for time in times if time > self.now})

    def settle(self) -> None:
        """All messages are read at once, in cycles of one script each."""
        while (askers := self.askers()) or self.readable() or self.store.in_cycle:
            if askers:
                self.store.run(askers[0])
            self.store.end_cycle()
            for reader, connection in self.readable():
                reader.hear(connection)

    def calm(self) -> None:
        """Every worker with a link gets a lease and asks for the token, and nothing is left on the way."""
        self.settle()
        for worker in self.workers:
            if worker.link is not None:
                worker.beat()
                self.request(worker, self.store.record.secret)
                while worker.arrived:
                    worker.handle()
        self.settle()
