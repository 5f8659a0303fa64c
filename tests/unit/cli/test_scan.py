"""``scopegate scan`` as a process: what it reads, what it tells, what it ends."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.core.token_text import make_text, make_token
from tests.harness.gateway import ROOT, GatewayProcess

TOKEN = make_token("sgt", os.urandom)
OTHER = make_token("sgt", os.urandom)


def scan(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SCOPEGATE_", "GIT_"))}
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "scan", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT), **environ},
        timeout=60,
        check=False,
    )
    assert TOKEN.text not in done.stdout + done.stderr
    assert OTHER.text not in done.stdout + done.stderr
    return done


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, env={"PATH": os.environ["PATH"], "HOME": str(folder)})


def test_real_tokens_are_told_by_file_and_line_and_made_up_ones_are_not(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "deploy.sh").write_text(f"#!/bin/sh\ncurl -H 'Authorization: Bearer {TOKEN.text}'\n")
    (tmp_path / "src" / "image.bin").write_bytes(b"\x00\xff\n" * 5 + OTHER.text.encode() + b"\x00")
    (tmp_path / "example.md").write_text("sgt_" + "A" * 12 + "_" + "B" * 38)
    done = scan(tmp_path, ".")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines() == [f"src/deploy.sh:2: sgt_{TOKEN.id}_…", f"src/image.bin:6: sgt_{OTHER.id}_…"]


def test_a_clean_folder_is_0_and_what_cannot_be_read_is_2_and_told(tmp_path: Path) -> None:
    (tmp_path / "clean").write_text("nothing")
    assert scan(tmp_path, ".").returncode == 0
    done = scan(tmp_path, ".", "gone")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "gone: it can't be read (no such file or directory)\n"


def test_links_are_not_followed_and_pipes_not_opened(tmp_path: Path) -> None:
    """Seen to fail (it hangs) with every name opened."""
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    for folder in (outside, inside):
        folder.mkdir()
    (outside / "secret").write_text(TOKEN.text)
    (inside / "round").symlink_to(inside)
    (inside / "file").symlink_to(outside / "secret")
    os.mkfifo(inside / "pipe")
    assert scan(tmp_path, "inside").returncode == 0
    (tmp_path / "named").symlink_to(outside / "secret")
    assert scan(tmp_path, "named").returncode == 1  # a link that is named is meant


def test_what_is_piped_in_is_read_and_another_pipe_that_is_named_is_told(tmp_path: Path) -> None:
    """Seen to fail with a silent 0: a false all-clear."""
    for command in ("echo $TOKEN | {} -", "echo $TOKEN | {} /dev/stdin", "{} <(echo $TOKEN)", "{} - < file"):
        (tmp_path / "file").write_text(f"{TOKEN.text}\n")
        shell = ["bash", "-c", command.format(f"{sys.executable} -m gateway scan")]
        done = subprocess.run(
            shell, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT), "TOKEN": TOKEN.text}, timeout=60, check=False
        )
        assert (done.returncode, done.stdout.endswith(f":1: sgt_{TOKEN.id}_…\n")) == (1, True), (command, done)
    os.mkfifo(tmp_path / "pipe")
    done = scan(tmp_path, "pipe")
    assert (done.returncode, done.stderr) == (2, "pipe: it can't be read (it is a pipe or a device: name a file, or - for what is piped in)\n")


def test_a_text_in_utf_16_is_read_as_what_it_says(tmp_path: Path) -> None:
    for coding in ("utf-16", "utf-16-be"):
        (tmp_path / coding).write_text(f"one\ntwo {TOKEN.text}\n", coding)
    assert scan(tmp_path, ".").stdout.splitlines() == [f"{coding}:2: sgt_{TOKEN.id}_…" for coding in ("utf-16", "utf-16-be")]


def test_a_huge_file_is_read_piece_by_piece(tmp_path: Path) -> None:
    """512 MiB with a limit on memory that it would not fit into. Seen to fail with the file read whole."""
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate(512 * 1024 * 1024)
        file.seek(300 * 1024 * 1024)
        file.write(TOKEN.text.encode())
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "scan", "huge"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (400 * 1024 * 1024,) * 2),
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, f"huge:1: sgt_{TOKEN.id}_…\n"), done.stderr


def test_a_history_is_read_whole_with_commit_and_path(tmp_path: Path) -> None:
    """What was taken out again, what no branch holds any more, and what a message says."""
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "a b.env").write_text(f"x\nTOKEN={TOKEN.text}\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    first = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()
    (tmp_path / "a b.env").write_text("x\n")
    git(tmp_path, "commit", "-qam", "taken out")
    (tmp_path / "copy").write_text(f"x\nTOKEN={TOKEN.text}\n")  # the same content: one object, told once
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "and in again")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", f"leak\n\n{OTHER.text}")
    message = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()
    git(tmp_path, "reset", "-q", "--hard", "HEAD~3")
    git(tmp_path, "reflog", "expire", "--expire=now", "--all")
    (tmp_path / "a b.env").unlink()
    assert scan(tmp_path, ".").returncode == 0
    done = scan(tmp_path, "--git", ".", "--json", GIT_DIR="/nowhere")
    assert done.returncode == 1, done.stderr
    found = {fact["token_id"]: fact for fact in json.loads(done.stdout)["found"]}
    assert len(json.loads(done.stdout)["found"]) == 2
    assert (found[TOKEN.id]["path"], found[TOKEN.id]["line"], found[TOKEN.id]["commit"]) == ("a b.env", 2, first)
    assert (found[OTHER.id]["path"], found[OTHER.id]["commit"]) == ("(commit message)", message)


def test_what_can_be_read_of_a_broken_history_counts(tmp_path: Path) -> None:
    """Seen to fail with all findings thrown away."""
    git(tmp_path, "init", "-q", "-b", "main")
    for number in range(3):
        (tmp_path / "env").write_text(f"{number} {TOKEN.text}\n")
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "-q", "-m", str(number))
    blob = subprocess.run(["git", "rev-parse", "HEAD:env"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()
    (tmp_path / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    done = scan(tmp_path, "--git", ".", "--json")
    told = json.loads(done.stdout)
    assert done.returncode == 1
    assert len(told["found"]) == 2
    assert told["unreadable"] == [".: git can't read a part of its history (git fsck tells which): what it could read was looked at"]


def test_a_folder_without_a_history_is_told(tmp_path: Path) -> None:
    done = scan(tmp_path, "--git", ".", GIT_CEILING_DIRECTORIES=str(tmp_path))
    assert (done.returncode, done.stderr) == (2, ".: git can't read its history: is it a repository of your own?\n")


@pytest.mark.parametrize("prefix", ["S", "sgt_", "9ab"])
def test_a_prefix_that_none_can_have_is_refused(prefix: str, tmp_path: Path) -> None:
    done = scan(tmp_path, ".", "--prefix", prefix)
    assert (done.returncode, done.stderr) == (2, "--prefix: write 2 to 16 small letters and digits, a letter first\n")


def test_revoke_ends_what_is_truly_a_tokens_secret_and_nothing_else(tmp_path: Path) -> None:
    """A text with a true token's id and another secret ends nothing. Seen to fail without the look at the digest."""
    with GatewayProcess("http://127.0.0.1:9") as gateway:
        leaked, safe, renewed = gateway.make("worklogs"), gateway.make("worklogs"), gateway.make("worklogs")
        gateway.api("POST", f"/tokens/{renewed.id}/regenerate")
        forged = make_text("sgt", safe.id, os.urandom)
        (tmp_path / "notes").write_text(f"{leaked.secret}\n{forged}\n{renewed.secret}\n{TOKEN.text}")
        told: dict[str, Any] = {}
        for _ in range(2):
            done = gateway.cli("scan", str(tmp_path / "notes"), "--revoke", "--json")
            assert done.returncode == 1, done.stderr
            told = {fact["token_id"]: fact["outcome"] for fact in json.loads(done.stdout)["found"]}
            states = {token.id: gateway.api("GET", f"/tokens/{token.id}")["token"]["state"] for token in (leaked, safe, renewed)}
            assert states == {leaked.id: "revoked", safe.id: "active", renewed.id: "active"}
        assert told == {
            leaked.id: "already revoked",
            safe.id: "not a secret of this store's tokens",
            renewed.id: "already regenerated: this secret works no longer",
            TOKEN.id: "not a secret of this store's tokens",
        }
