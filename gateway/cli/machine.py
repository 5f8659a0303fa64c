"""What the machine must give the gateway: its folder, its key, its ports, its descriptors, its parser. For ``doctor``."""

from __future__ import annotations

import os
import pwd
import resource
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gateway.cli.running import body_at
from gateway.core.finding import Finding, fail, ok, warn
from gateway.inbound.parser import check_parser
from gateway.management.server import check_server
from gateway.policy_file.document import DocumentFault
from gateway.processes.listening import CannotServe, listen
from gateway.settings import Address, Settings
from gateway.settings.admin_key import ensure_admin_key

_MIB: Final = 2**20
_DISK_WARN: Final = 1024 * _MIB
_DISK_FAIL: Final = 100 * _MIB
_OWN_DESCRIPTORS: Final = 64  # store, log, control sockets, what libraries keep open
_FEW_CLIENTS: Final = 1000


def examine_machine(settings: Settings, config: Path, environ: Mapping[str, str]) -> list[Finding]:
    """The findings on everything but store and upstreams. Nothing is changed."""
    return [
        *data_dir(settings.store.data_dir),
        admin_key(settings, config, environ),
        port("listen", settings.listen, "/.scopegate/healthz", b"ok\n"),
        port("admin.listen", settings.admin.listen, "/readyz", b'"policy"'),
        descriptors(settings, resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
        parser(settings),
    ]


def data_dir(path: Path) -> list[Finding]:
    """Can the gateway keep its files there, alone, and is there room?"""
    check = "data_dir"
    try:
        facts = path.stat()
    except FileNotFoundError:
        above = next(folder for folder in path.absolute().parents if folder.exists())
        if os.access(above, os.W_OK | os.X_OK):
            return [ok(check, f"{path} is not there yet: the first start makes it"), disk(above, shutil.disk_usage(above).free)]
        return [fail(check, f"{path} is not there and cannot be made: {above} is not writable", "make it, owned by the gateway's user, mode 0700")]
    except OSError as error:
        return [fail(check, f"{path} cannot be looked at ({os.strerror(error.errno or 0).lower()})", "give the gateway a store.data_dir of its own")]
    if not stat.S_ISDIR(facts.st_mode):
        return [fail(check, f"{path} is no folder", "name a folder in store.data_dir")]
    if facts.st_uid != os.geteuid():
        owner = _user(facts.st_uid)
        return [fail(check, f"{path} belongs to {owner}, and this is {_user(os.geteuid())}", f"run doctor as {owner}, as which the gateway runs")]
    if not os.access(path, os.W_OK | os.X_OK):
        return [fail(check, f"{path} cannot be written", f"chmod 700 {path}")]
    mode = stat.S_IMODE(facts.st_mode)
    if mode & 0o077:
        return [warn(check, f"{path} has mode {mode:04o}: other users may look into it", f"chmod 700 {path}"), disk(path, shutil.disk_usage(path).free)]
    return [ok(check, f"{path} is this user's alone"), disk(path, shutil.disk_usage(path).free)]


def disk(path: Path, free: int) -> Finding:
    """Room for the store's files, in bytes."""
    found = f"{free // _MIB} MiB are free at {path}"
    if free < _DISK_FAIL:
        return fail("disk", found, "free some: a full disk stops every change")
    if free < _DISK_WARN:
        return warn("disk", found, "free some: the store's file grows until it is rewritten")
    return ok("disk", found)


def admin_key(settings: Settings, config: Path, environ: Mapping[str, str]) -> Finding:
    """Who may read the key that may do everything."""
    check = "admin key"
    if settings.admin.key is not None:
        if "SCOPEGATE_ADMIN__KEY" in environ or "SCOPEGATE_ADMIN" in environ:
            return ok(check, "from the environment")
        return _key_file(config, "chmod 600 it, or set SCOPEGATE_ADMIN__KEY instead")
    path = settings.store.data_dir / "admin.key"
    if not path.exists():
        return ok(check, f"none yet: the first start makes {path}")
    try:
        ensure_admin_key(settings)
    except DocumentFault as fault:
        return fail(check, str(fault.faults[0]))
    return _key_file(path, "chmod 600 it")


def port(key: str, address: Address, path: str, mark: bytes) -> Finding:
    """Is the port free, or a gateway's already? A gateway's answer at ``path`` holds ``mark``."""
    if not address.port:
        return ok(key, f"{address}: the system chooses a port")
    try:
        listen(address, key).close()
    except CannotServe as why:
        if mark in body_at(address, path):
            return ok(key, f"{address} is served by a running scopegate")
        return fail(key, str(why))
    return ok(key, f"{address} is free")


def descriptors(settings: Settings, limit: int) -> Finding:
    """How many client connections one worker's limit on open files leaves room for. ``limit`` is that of this shell."""
    check = "descriptors"
    if limit == resource.RLIM_INFINITY:
        return ok(check, "no limit on open files")
    upstream = sum(each.max_connections for each in settings.upstreams.values())
    left = limit - upstream - _OWN_DESCRIPTORS
    found = f"a process may open {limit} files here: {upstream} for upstreams leave {max(left, 0)} for clients"
    if left <= 0:
        return fail(check, found, "raise it (ulimit -n, LimitNOFILE), or lower max_connections")
    if left < _FEW_CLIENTS:
        return warn(check, found, "raise it (ulimit -n, LimitNOFILE)")
    return ok(check, found)


def parser(settings: Settings) -> Finding:
    """Are the C parsers there, and strict?"""
    why = check_parser(settings.limits) or check_server()
    return fail("parser", why) if why else ok("parser", "httptools and aiohttp's C parser, strict")


def _key_file(path: Path, advice: str) -> Finding:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return warn("admin key", f"{path} has mode {mode:04o}: other users may read the key in it", advice)
    return ok("admin key", f"in {path}, mode {mode:04o}")


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
