"""The embedded server: one a folder, locks that live as long as the server, and plain lines for what goes wrong."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.ports import StoreUnavailable
from gateway.store import embedded
from gateway.store.connection import StoreOptions
from gateway.store.embedded import LONGEST_PATH, EmbeddedStore, find_server, socket_path
from gateway.store.server import Store
from gateway.store.token_store import RedisTokenStore
from gateway.store.wire import ask

ROOT = Path(__file__).parents[2]


@contextmanager
def started(data_dir: Path, program: Path | None = None) -> Iterator[EmbeddedStore]:
    server = EmbeddedStore(data_dir, server=program)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def until(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 15
    while not what():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@contextmanager
def gateway_process(data_dir: Path, method: str = "start", wait: str = "sys.stdin.read()") -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Another process that manages the folder; itself and its server's pid."""
    program = f"""
        import sys
        from pathlib import Path
        from gateway.store.embedded import EmbeddedStore
        server = EmbeddedStore(Path(sys.argv[1]))
        server.{method}()
        print(server.pid or 0, flush=True)
        {wait}
        server.stop()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(data_dir)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdin
    try:
        yield process, int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


def test_server_listens_on_a_private_socket_and_nowhere_else(tmp_path: Path) -> None:
    with started(tmp_path / "a" / "data") as server:
        assert server.data_dir.stat().st_mode & 0o777 == 0o700
        assert server.socket.stat().st_mode & 0o777 == 0o700
        assert server.url == f"unix://{server.socket}"
        assert ask(server.socket, "CONFIG", "GET", "port", timeout_s=5) == b"*2"
        inodes = {str(entry.readlink()) for entry in Path(f"/proc/{server.pid}/fd").iterdir() if entry.is_symlink()}
        for table in ("tcp", "tcp6"):
            listening = [line.split()[9] for line in Path(f"/proc/{server.pid}/net/{table}").read_text().splitlines()[1:] if line.split()[3] == "0A"]
            assert not {f"socket:[{inode}]" for inode in listening} & inodes


def test_server_has_its_own_session_and_none_of_our_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCOPEGATE_ADMIN__KEY", "not-for-the-server")
    wrapper = tmp_path / "wrapper"  # the server itself writes its title over its environment
    wrapper.write_text(f'#!/bin/sh\nenv > {tmp_path}/environment\nexec {find_server()} "$@"\n')
    wrapper.chmod(0o700)
    with started(tmp_path / "data", wrapper) as server:
        assert server.pid
        assert os.getsid(server.pid) == server.pid != os.getsid(0)
    environment = (tmp_path / "environment").read_text()
    assert "PATH=" in environment
    assert "not-for-the-server" not in environment


def test_files_of_the_server_are_for_their_owner_alone(tmp_path: Path) -> None:
    with started(tmp_path / "data") as server:
        found = [path for path in server.data_dir.rglob("*") if path.is_file()]
        assert {path.name for path in found} >= {"owner.lock", "store.lock", "store.log"}
        assert all(not path.stat().st_mode & 0o077 for path in found)


@pytest.mark.parametrize(("fsync", "said"), [("everysec", "everysec"), ("always", "always")])
def test_server_keeps_an_append_only_file_and_evicts_nothing(tmp_path: Path, fsync: str, said: str) -> None:
    server = EmbeddedStore(tmp_path, fsync=fsync)
    server.start()
    arguments = Path(f"/proc/{server.pid}/cmdline").read_bytes()  # set by us, or rewritten by the server as its title

    async def facts() -> dict[str, str]:
        store = Store(StoreOptions(server.url, tmp_path, timeout_s=5, embedded=True))
        await store.start()
        async with store.session() as (session, _):
            replies = await session.ask(*(("CONFIG", "GET", name) for name in ("appendonly", "appendfsync", "maxmemory-policy", "save")))
        await store.close()
        return {name.decode(): value.decode() for name, value in replies}

    assert asyncio.run(facts()) == {"appendonly": "yes", "appendfsync": said, "maxmemory-policy": "noeviction", "save": ""}
    assert arguments
    server.stop()


def test_second_gateway_on_one_folder_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with gateway_process(tmp_path) as (process, pid):
        with pytest.raises(StoreUnavailable, match=rf"another scopegate \(process {process.pid}\) uses {tmp_path}"):
            EmbeddedStore(tmp_path).start(wait_s=0.2)
        assert alive(pid)
        assert ask(socket_path(tmp_path), "PING", timeout_s=5) == b"+PONG"


def test_second_gateway_waits_for_the_first_to_leave(tmp_path: Path) -> None:
    with gateway_process(tmp_path) as (process, pid):
        assert process.stdin
        threading.Timer(0.3, process.stdin.close).start()
        second = EmbeddedStore(tmp_path)
        second.start(wait_s=15)
        assert second.pid != pid
        assert not alive(pid)
        second.stop()


def test_orphaned_server_is_asked_to_end_and_replaced_with_all_its_data(tmp_path: Path) -> None:
    with gateway_process(tmp_path) as (process, pid):
        assert ask(socket_path(tmp_path), "SET", "kept", "yes", timeout_s=5) == b"+OK"
        process.kill()
        process.wait()
        assert alive(pid)
        with started(tmp_path) as server:
            assert server.pid != pid
            assert not alive(pid)
            assert ask(server.socket, "STRLEN", "kept", timeout_s=5) == b":3"


def test_orphaned_server_without_its_socket_is_found_by_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with gateway_process(tmp_path) as (process, pid):
        process.kill()
        process.wait()
        socket_path(tmp_path).unlink()
        monkeypatch.setattr(embedded, "_STOP_S", 1.0)
        with started(tmp_path) as server:
            until(lambda: not alive(pid))
            assert server.pid != pid


def test_frozen_orphan_is_told_and_never_doubled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_STOP_S", 0.2)
    with gateway_process(tmp_path) as (process, pid):
        process.kill()
        process.wait()
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(StoreUnavailable, match=rf"nobody manages \(process {pid}\) holds {tmp_path}"):
            EmbeddedStore(tmp_path).start()
        os.kill(pid, signal.SIGCONT)  # the SIGTERM that waited ends it now
        until(lambda: not alive(pid))
    with started(tmp_path):
        pass


def test_recorded_pid_that_is_another_process_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock is held by a process that is not the recorded one: nobody is ended on a guess."""
    monkeypatch.setattr(embedded, "_STOP_S", 0.2)
    bystander = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    (tmp_path / "store.lock").write_text(f"{bystander.pid}\n")
    hold = f"import fcntl, sys; f = open({str(tmp_path / 'store.lock')!r}); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
    holder = subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout
    holder.stdout.readline()
    with pytest.raises(StoreUnavailable, match="does not end: end it"):
        EmbeddedStore(tmp_path).start()
    for process in (bystander, holder):
        assert process.poll() is None
        process.communicate()


def test_lock_is_held_as_long_as_the_server_lives(tmp_path: Path) -> None:
    server = EmbeddedStore(tmp_path)
    server.start()
    lock = os.open(tmp_path / "store.lock", os.O_RDWR)
    assert not embedded._try_lock(lock)
    server.stop()
    assert embedded._try_lock(lock)
    os.close(lock)


def test_server_that_dies_is_revived(tmp_path: Path) -> None:
    with started(tmp_path) as server:
        assert not server.revive()
        pid = server.pid
        assert pid
        os.kill(pid, signal.SIGKILL)
        until(server.revive)
        assert server.pid != pid
        assert ask(server.socket, "PING", timeout_s=5) == b"+PONG"


def test_command_uses_the_server_that_runs_and_leaves_it_running(tmp_path: Path) -> None:
    with started(tmp_path) as server:
        command = EmbeddedStore(tmp_path)
        command.borrow()
        assert command.pid is None
        command.stop()
        assert ask(server.socket, "PING", timeout_s=5) == b"+PONG"


def test_command_finds_a_server_that_refuses_writes(tmp_path: Path) -> None:
    """One whose disk is full refuses PING too. Seen to fail with only PONG taken for an answer: the command was told that the store does not answer."""

    def refuse() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(100)
                connection.sendall(b"-MISCONF Errors writing to the AOF file: No space left on device\r\n")

    with started(tmp_path) as server, socket.socket(socket.AF_UNIX) as listener:
        server.socket.unlink()
        listener.bind(str(server.socket))
        listener.listen()
        thread = threading.Thread(target=refuse)
        thread.start()
        try:
            command = EmbeddedStore(tmp_path)
            command.borrow(wait_s=0.5)
            command.stop()
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def test_command_starts_a_server_and_stops_it(tmp_path: Path) -> None:
    command = EmbeddedStore(tmp_path)
    command.borrow()
    pid = command.pid
    assert pid
    command.stop()
    assert not alive(pid)
    assert not command.socket.exists()


def test_command_stops_its_server_only_when_no_other_command_uses_it(tmp_path: Path) -> None:
    first = EmbeddedStore(tmp_path)
    first.borrow()
    with gateway_process(tmp_path, "borrow", "print(sys.stdin.readline() and server._answers(), flush=True)") as (other, pid):
        assert pid == 0
        ending = threading.Thread(target=first.stop)
        ending.start()
        time.sleep(0.2)  # long enough for a stop that does not wait
        assert other.stdin
        assert other.stdout
        other.stdin.write("now\n")
        other.stdin.flush()
        assert other.stdout.readline() == "True\n"
        ending.join(20)
    assert not first.socket.exists()


def test_commands_at_once_share_one_server_or_follow_each_other(tmp_path: Path) -> None:
    program = """
        import sys
        from pathlib import Path
        from gateway.store.embedded import EmbeddedStore
        from gateway.store.wire import ask
        server = EmbeddedStore(Path(sys.argv[1]))
        server.borrow()
        assert ask(server.socket, "INCR", "count", timeout_s=5)
        server.stop()
    """
    commands = [subprocess.Popen([sys.executable, "-c", textwrap.dedent(program), str(tmp_path)], cwd=ROOT) for _ in range(6)]
    assert [command.wait(60) for command in commands] == [0] * 6
    with started(tmp_path) as server:
        assert ask(server.socket, "INCR", "count", timeout_s=5) == b":7"


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A runtime folder with a short name: that of a test's own folder may be too long for a socket by itself."""
    with tempfile.TemporaryDirectory(prefix="sg") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder)


def test_long_path_gets_a_private_folder_with_a_stable_name(tmp_path: Path, runtime: Path) -> None:
    data_dir = tmp_path / ("long" * 30) / "data"
    with started(data_dir) as server:
        assert len(os.fsencode(server.socket)) <= LONGEST_PATH
        assert server.socket.parent.parent == runtime
        assert server.socket.parent.stat().st_mode & 0o777 == 0o700
        assert socket_path(data_dir) == server.socket
        assert socket_path(tmp_path / ("long" * 30) / "other") != server.socket
        command = EmbeddedStore(data_dir)
        command.borrow()
        assert command.pid is None
        command.stop()
    assert list(runtime.iterdir()) == []


@pytest.mark.parametrize("trap", ["open to others", "a link", "a file"])
def test_folder_for_the_socket_that_is_not_ours_alone_is_refused(tmp_path: Path, runtime: Path, trap: str) -> None:
    data_dir = tmp_path / ("long" * 30)
    folder = socket_path(data_dir).parent
    assert folder.parent == runtime
    if trap == "open to others":
        folder.mkdir()
        folder.chmod(0o755)
    elif trap == "a link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "elsewhere")
    else:
        folder.write_text("")
    with pytest.raises(StoreUnavailable, match=r"not a folder of this user alone|cannot be used for the store's socket"):
        EmbeddedStore(data_dir).start()


def test_stale_socket_is_removed_and_anything_else_in_its_place_is_told(tmp_path: Path) -> None:
    with gateway_process(tmp_path) as (process, pid):
        process.kill()
        os.kill(pid, signal.SIGKILL)
        process.wait()
        until(lambda: not alive(pid))
    assert stat.S_ISSOCK(socket_path(tmp_path).stat().st_mode)
    with started(tmp_path):
        pass
    socket_path(tmp_path).write_text("mine")
    with pytest.raises(StoreUnavailable, match=r"store\.sock is in the way"):
        EmbeddedStore(tmp_path).start()
    assert socket_path(tmp_path).read_text() == "mine"


def test_torn_end_of_the_append_only_file_is_cut_off(tmp_path: Path) -> None:
    with started(tmp_path) as server:
        ask(server.socket, "SET", "kept", "yes", timeout_s=5)
    (increment,) = (tmp_path / "appendonlydir").glob("*.incr.aof")
    with increment.open("ab") as file:
        file.write(b"*3\r\n$3\r\nSET\r\n$4\r\nto")
    with started(tmp_path) as server:
        assert ask(server.socket, "STRLEN", "kept", timeout_s=5) == b":3"


def test_damaged_append_only_file_is_a_plain_line_and_the_folder_is_left(tmp_path: Path) -> None:
    with started(tmp_path) as server:
        ask(server.socket, "SET", "kept", "yes", timeout_s=5)
    (increment,) = (tmp_path / "appendonlydir").glob("*.incr.aof")
    increment.write_bytes(b"no append-only file\r\n" + increment.read_bytes())
    with pytest.raises(StoreUnavailable) as refused:
        EmbeddedStore(tmp_path).start()
    assert str(refused.value).startswith("the store's server did not start: ")
    assert "store.log" in str(refused.value)
    assert "\n" not in str(refused.value)
    lock = os.open(tmp_path / "owner.lock", os.O_RDWR)
    assert embedded._try_lock(lock)
    os.close(lock)


def test_folder_that_is_a_file_or_missing_program_are_plain_lines(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match=r"cannot be used as store\.data_dir"):
        EmbeddedStore(tmp_path / "file").start()
    with pytest.raises(StoreUnavailable, match="/nowhere/valkey cannot be started: No such file or directory"):
        EmbeddedStore(tmp_path / "data", server=Path("/nowhere/valkey")).start()
    (tmp_path / "data2" / "owner.lock").mkdir(parents=True)
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        EmbeddedStore(tmp_path / "data2").start()


def test_folder_on_a_read_only_device_is_a_plain_line() -> None:
    with pytest.raises(StoreUnavailable, match=r"^/proc/sys/data cannot be used as store\.data_dir: "):
        EmbeddedStore(Path("/proc/sys/data")).start()


def test_disk_that_takes_no_more_is_a_plain_line(tmp_path: Path) -> None:
    """A limit of zero bytes a file stands for it."""
    program = """
        import resource, sys
        from pathlib import Path
        from gateway.ports import StoreUnavailable
        from gateway.store.embedded import EmbeddedStore
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        try:
            EmbeddedStore(Path(sys.argv[1])).start()
        except StoreUnavailable as error:
            print(error)
    """
    told = subprocess.run([sys.executable, "-c", textwrap.dedent(program), str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout == f"{tmp_path} cannot be written: File too large\n"
    assert told.stderr == ""


def test_server_of_the_wheel_is_found() -> None:
    program = find_server()
    assert program.name == "valkey-server"
    assert os.access(program, os.X_OK)


def test_server_on_the_path_is_the_fall_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded.importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StoreUnavailable, match=r"no store server was found: install valkey-server, name one by store\.server"):
        find_server()
    (tmp_path / "redis-server").write_text("#!/bin/sh\n")
    (tmp_path / "redis-server").chmod(0o755)
    assert find_server() == tmp_path / "redis-server"


async def test_everything_answered_is_there_after_a_restart(tmp_path: Path) -> None:
    with started(tmp_path) as server:
        store = Store(StoreOptions(server.url, tmp_path, timeout_s=5, embedded=True))
        await store.start()
        first = store.identity.id
        await store.close()
    with started(tmp_path) as server:
        store = Store(StoreOptions(server.url, tmp_path, timeout_s=5, embedded=True))
        await store.start()
        assert store.identity.id == first
        assert (await RedisTokenStore(store).fetch("000000000000")).record is None
        await store.close()
