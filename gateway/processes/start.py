"""From settings to a gateway that runs: all that can be wrong is looked at before any process starts.

The order is the cheapest first: policy, the API's description, admin key, ports, the embedded server, the store itself. The store is asked here, once, so
that a worker that is replaced later comes up also while the store is away.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Final, NoReturn

from gateway.flow.reload import load_fitting_policy
from gateway.openapi.document_process import check_document
from gateway.processes.listening import address_of, listen, listen_shared
from gateway.processes.supervisor import Supervisor
from gateway.settings import Address, Settings
from gateway.settings.admin_key import ensure_admin_key
from gateway.settings.fit import what_is_open
from gateway.store.connection import StoreOptions, store_options
from gateway.store.embedded import EmbeddedStore
from gateway.store.server import Store

LOG: Final = logging.getLogger("scopegate")
Ready = Callable[[Address, Address, StoreOptions], None]


class _Stopped(BaseException):
    """SIGTERM came before there was anything to drain."""


def serve(settings: Settings, ready: Ready, *, hangup_ends: bool = False) -> bool:
    """Run the gateway until it is told to stop. ``ready`` is called once requests are taken, with where it listens (data plane, management) and
    how its store is reached; ``hangup_ends``: SIGHUP ends it, instead of loading the policy anew. Whether all ended by itself: False where a
    second signal broke it off.

    DocumentFault, SpecUnusable, CannotServe, StoreUnavailable or OSError with a plain line where it can't start; nothing is left then.
    """
    with contextlib.suppress(_Stopped), _stoppable(), ExitStack() as opened:
        policy = load_fitting_policy(settings)
        if settings.openapi is not None:
            check_document(settings.openapi)
        for line in what_is_open(settings, policy):
            LOG.warning("%s", line)
        admin_key = ensure_admin_key(settings)
        listeners = [opened.enter_context(sock) for sock in listen_shared(settings.listen, "listen", settings.workers)]
        admin = opened.enter_context(listen(settings.admin.listen, "admin.listen"))
        embedded = EmbeddedStore.configured(settings.store, tied=True)
        if embedded is not None:
            opened.enter_context(embedded)
        options = store_options(settings.store, embedded.url if embedded else "", settings.audit.key_file)
        asyncio.run(_check(options))
        addresses = address_of(listeners[0], settings.listen), address_of(admin, settings.admin.listen)
        supervisor = Supervisor(settings, policy, options, admin_key, listeners, admin, embedded)
        return supervisor.run(lambda: ready(*addresses, options), hangup_ends=hangup_ends)
    return True


async def _check(options: StoreOptions) -> None:
    store = Store(options)
    await store.start()
    await store.close()


@contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM stops a start too: as process 1 of a container nobody else would see to that. SIGHUP has nothing to say yet."""
    handlers = {signal.SIGTERM: signal.signal(signal.SIGTERM, _stop), signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_IGN)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    raise _Stopped
