"""``python -m gateway.processes.management``: the management port. Started by the supervisor alone."""

from __future__ import annotations

from gateway.app.management import ManagementApp
from gateway.core.policy import Policy
from gateway.management.server import check_server
from gateway.processes.child import ControlLink, StartParts, main
from gateway.processes.control import Changed, Start
from gateway.processes.listening import CannotServe


def compose(_: Start, parts: StartParts, policy: Policy, link: ControlLink) -> ManagementApp:
    """The management application. CannotServe where aiohttp's server must not be used."""
    if parts.admin_key is None:
        raise CannotServe("the management process got no admin key: report this")
    why = check_server()
    if why:
        raise CannotServe(why)
    return ManagementApp(parts.settings, policy, parts.store, parts.admin_key, link.overview, lambda: link.send(Changed()))


if __name__ == "__main__":
    main(compose)
