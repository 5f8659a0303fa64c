"""``python -m gateway.processes.worker``: one worker. Started by the supervisor alone."""

from __future__ import annotations

from gateway.app.data_plane import DataPlaneApp
from gateway.core.policy import Policy
from gateway.inbound.parser import check_parser
from gateway.processes.child import ControlLink, StartParts, main
from gateway.processes.control import Start
from gateway.processes.listening import CannotServe


def compose(start: Start, parts: StartParts, policy: Policy, _: ControlLink) -> DataPlaneApp:
    """The data plane. CannotServe where it must not run with this parser."""
    why = check_parser(parts.settings.limits)
    if why:
        raise CannotServe(why)
    try:
        return DataPlaneApp(parts.settings, policy, parts.store, start.worker)
    except OSError as error:
        where = parts.settings.access_log
        raise CannotServe(f"access_log: {where} can't be written ({error.strerror}): name another file, stdout or off") from None


if __name__ == "__main__":
    main(compose)
