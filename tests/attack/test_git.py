"""Attacks by repositories, their servers and Dockerfiles: what is the user's stays unread, unsent and unsaid.

Every test puts a canary where the attack aims at: a repository of this machine, keys and passwords of the
user's own git, a program that tells of being started.
"""

from __future__ import annotations

import base64
import os
import shlex
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.context.git import GitRef
from imagesmith.context.gitfetch import fetch_git
from imagesmith.context.gitrun import Access
from imagesmith.context.secrets import git_access
from imagesmith.errors import ContextError, UsageError
from imagesmith.request import BuildRequest
from tests.gitserver import GitServer, git_server
from tests.kitchen import Kitchen, kitchen
from tests.support import need_program
from tests.web import git, repository

__all__ = ["kitchen"]
pytestmark = pytest.mark.slow

SECRET = "hunter2-canary"
LOGIN = f"basic {base64.b64encode(f'x-access-token:{SECRET}'.encode()).decode()}"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    """A server with one repository, `r`."""
    with git_server(tmp_path / "srv") as here:
        repository(here.root / "r", {"f": "text", "Dockerfile": "FROM scratch\nCOPY f /\n"})
        yield here


@pytest.fixture
def spies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in which every program that the user's git could start tells its words and its environment."""
    need_program("git")
    told, folder = tmp_path / "told", tmp_path / "spies"
    folder.mkdir()
    told.touch()
    for name in ("ssh", "askpass", "helper", "hook", "proxy"):
        path = folder / name
        path.write_text(f'#!/bin/sh\n{{ echo {name} "$@"; env; }} >> {shlex.quote(str(told))}\nexit 1\n')
        path.chmod(0o755)
    home = Path(os.environ["HOME"])
    (home / ".ssh").mkdir(exist_ok=True)
    (home / ".ssh/config").write_text(f"Host *\n  ProxyCommand {folder}/proxy\n")
    (home / ".gitconfig").write_text(
        f"[credential]\n\thelper = {folder}/helper\n[core]\n\tsshCommand = {folder}/ssh own\n"
        f"\thooksPath = {folder}\n\tfsmonitor = {folder}/hook\n\tautocrlf = true\n"
        f'[filter "lfs"]\n\tsmudge = {folder}/hook\n\tprocess = {folder}/hook\n\trequired = true\n'
    )
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    for name, value in {
        "GIT_SSH_COMMAND": f"{folder}/ssh env",
        "GIT_SSH": str(folder / "ssh"),
        "GIT_ASKPASS": str(folder / "askpass"),
        "SSH_ASKPASS": str(folder / "askpass"),
        "GIT_PROXY_COMMAND": str(folder / "proxy"),
        "SSH_AUTH_SOCK": str(tmp_path / "agent"),
    }.items():
        monkeypatch.setenv(name, value)
    return told


@pytest.fixture
def own_logins(server: GitServer) -> str:
    """The user's netrc and stored credentials know the server; the header that they would send."""
    home = Path(os.environ["HOME"])
    host = server.address.split("/")[2]
    (home / ".netrc").write_text(f"machine 127.0.0.1 login me password {SECRET}\n")
    (home / ".netrc").chmod(0o600)
    (home / ".git-credentials").write_text(f"http://me:{SECRET}@{host}\n")
    (home / ".gitconfig").write_text("[credential]\n\thelper = store\n")
    return f"Basic {base64.b64encode(f'me:{SECRET}'.encode()).decode()}"


def _submodule(
    repo: Path, url: str, *more: str, name: str = "sm", path: str = "sm", commit: str = "a" * 40
) -> None:
    """Give a repository a submodule as its author wrote it, whatever git would think of it."""
    lines = [f'[submodule "{name}"]', f"\tpath = {path}", f"\turl = {url}", *(f"\t{m}" for m in more)]
    (repo / ".gitmodules").write_text("\n".join(lines) + "\n")
    git(repo, "update-index", "--add", "--cacheinfo", f"160000,{commit},sm")
    git(repo, "add", ".gitmodules")
    git(repo, "commit", "-qm", "submodule")


def _fetch(server: GitServer, tmp_path: Path, access: Access | None = None, after: str = "") -> Path:
    ref = GitRef.parse(server.url("r") + after)
    got = fetch_git(ref, tmp_path / "work", keep_git_dir=True, checksum="", access=access)
    got.tree.close()
    return got.tree.root


# --- repositories of this machine --------------------------------------------------------------


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("form", ["file://{}", "{}", "../../../secret", "file://localhost{}"])
def test_a_submodule_does_not_read_a_repository_of_this_machine(
    server: GitServer, tmp_path: Path, form: str, own: bool
) -> None:
    commit = repository(tmp_path / "secret", {"canary": SECRET})
    _submodule(server.root / "r", form.format(tmp_path / "secret"), commit=commit)
    with pytest.raises(ContextError):
        _fetch(server, tmp_path, Access(own=own))
    assert not list((tmp_path / "work").rglob("canary"))


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c touch% {canary}",
        "--upload-pack=touch {canary}",
        "-u./x",
        "fd::17",
        "ssh://-oProxyCommand=touch%20{canary}/x",
        "-oProxyCommand=touch@h:x",
        "https://h/x%0a.git",
    ],
)
def test_an_address_of_a_submodule_starts_no_program(
    server: GitServer, tmp_path: Path, url: str, own: bool
) -> None:
    canary = tmp_path / "canary"
    _submodule(server.root / "r", url.format(canary=canary))
    with pytest.raises(ContextError):
        _fetch(server, tmp_path, Access(own=own, agent=str(tmp_path / "agent")))
    assert not canary.exists()


@pytest.mark.parametrize(
    ("name", "path", "more"),
    [
        ("../../../canary", "sm", ()),
        ("sm", "-x", ()),
        ("sm", "sm", ("update = !touch {canary}",)),
        ("sm", "sm", ("branch = --upload-pack=touch {canary}",)),
        ("sm", '"sm\\r"', ()),
        ("a\\nb", "sm", ()),
    ],
)
def test_a_submodule_of_a_bad_name_leads_nowhere(
    server: GitServer, tmp_path: Path, name: str, path: str, more: tuple[str, ...]
) -> None:
    canary = tmp_path / "canary"
    commit = repository(server.root / "s", {"s": "s"})
    more = tuple(m.format(canary=canary) for m in more)
    _submodule(server.root / "r", server.url("s"), *more, name=name, path=path, commit=commit)
    try:
        root = _fetch(server, tmp_path)
    except ContextError:
        root = tmp_path / "work"
    assert not canary.exists()
    assert not [p for p in tmp_path.rglob("canary*") if root not in p.parents]


def test_gitmodules_that_is_a_link_is_not_followed(server: GitServer, tmp_path: Path) -> None:
    commit = repository(server.root / "s", {"canary": SECRET})
    told = tmp_path / "gitmodules"
    told.write_text(f'[submodule "sm"]\n\tpath = sm\n\turl = {server.url("s")}\n')
    stream = f"""commit refs/heads/main
committer a <a@e> 1 +0000
data 1
x
M 160000 {commit} sm
M 120000 inline .gitmodules
data {len(str(told))}
{told}
"""
    git(server.root / "r", "fast-import", "--quiet", "--force", stdin=stream.encode())
    with pytest.raises(ContextError):
        _fetch(server, tmp_path)
    assert not list((tmp_path / "work").rglob("canary"))


@pytest.mark.parametrize(
    "remote",
    ["--upload-pack=touch {canary}", "ext::sh -c touch% {canary}", "file://{repo}", "{repo}", "fd::0"],
)
@pytest.mark.parametrize("own", [False, True])
def test_an_address_is_never_an_option_a_command_or_a_path(
    server: GitServer, tmp_path: Path, remote: str, own: bool
) -> None:
    canary = tmp_path / "canary"
    ref = GitRef(remote=remote.format(canary=canary, repo=server.root / "r"))
    for given in (ref, GitRef(remote=ref.remote, ref="a" * 40)):
        with pytest.raises(ContextError):
            fetch_git(given, tmp_path / "work", keep_git_dir=False, checksum="", access=Access(own=own))
    assert not canary.exists()


def test_a_redirect_does_not_lead_to_this_machine(server: GitServer, tmp_path: Path) -> None:
    repository(tmp_path / "secret", {"canary": SECRET})
    server.moved["/r/.git"] = f"file://{tmp_path}/secret/.git"
    with pytest.raises(ContextError):
        _fetch(server, tmp_path)


def test_a_repository_around_the_store_is_not_read(
    server: GitServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "-q")
    git(tmp_path, "config", f"url.{server.address}nowhere.insteadOf", server.address)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    assert (_fetch(server, tmp_path) / "f").read_text() == "text"
    assert (_fetch(server, tmp_path, Access(own=True)) / "f").read_text() == "text"


# --- what is the user's ------------------------------------------------------------------------


@pytest.mark.usefixtures("own_logins")
def test_add_sends_no_login_of_the_users(
    server: GitServer, kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.header = "something"
    for n, (key, value) in enumerate(
        {"http.extraHeader": f"Authorization: {SECRET}", "credential.helper": "store"}.items()
    ):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{n}", key)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{n}", value)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "2")
    with pytest.raises(ContextError, match="git ls-remote failed") as e:
        kitchen.build(f"FROM scratch\nADD {server.url('r')} /\n")
    assert "GIT_AUTH_TOKEN" in e.value.hint
    assert {header for _, header in server.asked} == {""}


def test_a_context_may_use_the_users_logins(server: GitServer, kitchen: Kitchen, own_logins: str) -> None:
    server.header = own_logins
    kitchen.build(context=server.url("r"))
    kitchen.build("FROM scratch\nCOPY --from=src f /\n", contexts={"src": server.url("r")})
    with pytest.raises(ContextError):
        kitchen.build(f"FROM scratch\nADD {server.url('r')} /\n")
    assert {header for _, header in server.asked} == {"", own_logins}


@pytest.mark.parametrize("address", ["ssh://git@127.0.0.1:1/r", "git@127.0.0.1:r", "git@localhost:r#main"])
def test_add_over_ssh_needs_an_agent_that_was_given(kitchen: Kitchen, spies: Path, address: str) -> None:
    with pytest.raises(ContextError, match='no SSH key "default" forwarded from the client'):
        kitchen.build(f"FROM scratch\nADD {address} /\n")
    assert spies.read_text() == ""


def test_a_submodule_over_ssh_needs_an_agent_that_was_given(
    server: GitServer, kitchen: Kitchen, spies: Path
) -> None:
    _submodule(server.root / "r", "git@127.0.0.1:x")
    with pytest.raises(ContextError, match='no SSH key "default" forwarded from the client'):
        kitchen.build(f"FROM scratch\nADD {server.url('r')} /\n")
    assert spies.read_text() == ""


def test_add_over_ssh_uses_the_given_agent_and_nothing_else(spies: Path, tmp_path: Path) -> None:
    ref = GitRef.parse("git@127.0.0.1:r")
    access = git_access(BuildRequest(ssh={"default": str(tmp_path / "given")}), ref, own=False)
    with pytest.raises(ContextError):
        fetch_git(ref, tmp_path / "work", keep_git_dir=False, checksum="", access=access)
    told = spies.read_text()
    lines = told.splitlines()
    assert f"SSH_AUTH_SOCK={tmp_path}/given" in lines
    assert [line.split()[0] for line in lines if not line.count("=")] in ([], ["ssh"])
    words = next(line for line in lines if line.startswith("ssh "))
    for option in ("-F /dev/null", "IdentityFile=none", "ForwardAgent=no", "BatchMode=yes"):
        assert option in words
    assert not words.startswith(("ssh own", "ssh env"))
    assert not [line for line in lines if line.startswith(("HOME=/t", "SSH_ASKPASS", "GIT_ASKPASS"))]


def test_nothing_of_the_users_configuration_makes_files(
    server: GitServer, tmp_path: Path, spies: Path
) -> None:
    repo = server.root / "r"
    (repo / ".gitattributes").write_text("*.big filter=lfs\n*.txt text\n")
    (repo / "a.big").write_text("version https://git-lfs\n")
    (repo / "b.txt").write_text("one\ntwo\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "attributes")
    commit = git(repo, "rev-parse", "HEAD")
    repository(server.root / "top", {"f": "top"})
    _submodule(server.root / "top", "../../r/.git", commit=commit)
    for access in (Access(), Access(own=True)):
        ref = GitRef.parse(server.url("top"))
        got = fetch_git(ref, tmp_path / "work", keep_git_dir=False, checksum="", access=access)
        assert (got.tree.root / "sm/a.big").read_text() == "version https://git-lfs\n"
        assert (got.tree.root / "sm/b.txt").read_bytes() == b"one\ntwo\n"
        got.tree.close()
    assert spies.read_text() == ""


# --- secrets -----------------------------------------------------------------------------------


def _everything_below(folder: Path) -> bytes:
    return b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file() and not p.is_symlink())


@pytest.mark.parametrize(
    ("names", "header"),
    [
        (("GIT_AUTH_TOKEN",), LOGIN),
        (("GIT_AUTH_HEADER",), SECRET),
        (("GIT_AUTH_HEADER", "GIT_AUTH_TOKEN"), SECRET),
        (("GIT_AUTH_HEADER", "GIT_AUTH_TOKEN.{host}"), LOGIN),
        (("GIT_AUTH_TOKEN.{host}", "GIT_AUTH_HEADER.{host}"), SECRET),
    ],
)
@pytest.mark.parametrize("way", ["add", "context"])
def test_secrets_give_the_header_and_are_nowhere_else(
    server: GitServer, kitchen: Kitchen, tmp_path: Path, names: tuple[str, ...], header: str, way: str
) -> None:
    host = server.address.split("/")[2]
    (tmp_path / "token").write_text(f"{SECRET}\n")
    secrets = tuple(f"id={n.format(host=host)},src={tmp_path}/token" for n in names)
    server.header = header
    if way == "add":
        text = f"FROM scratch\nADD --keep-git-dir=true {server.url('r')} /\n"
        built = kitchen.build(text, secrets=secrets)
    else:
        context = server.url("r") + "?keep-git-dir=1"
        built = kitchen.build(context=context, secrets=secrets)
    assert {h for _, h in server.asked} == {header}
    with kitchen.layer(built) as layer:
        for member in layer:
            data = layer.extractfile(member) if member.isfile() else None
            assert data is None or SECRET.encode() not in data.read()
    assert SECRET.encode() not in _everything_below(kitchen.root)
    assert header.encode() not in _everything_below(kitchen.root)
    assert SECRET not in repr(kitchen.events)


def test_a_token_is_for_its_repository_alone(server: GitServer, tmp_path: Path) -> None:
    with git_server(tmp_path / "other") as other:
        commit = repository(other.root / "s", {"s": "s"})
        _submodule(server.root / "r", other.url("s"), commit=commit)
        assert (_fetch(server, tmp_path, Access(header=LOGIN)) / "sm/s").exists()
        assert {h for _, h in other.asked} == {""}
        assert {h for _, h in server.asked} == {LOGIN}


def test_a_token_follows_no_redirect(server: GitServer, tmp_path: Path) -> None:
    with git_server(tmp_path / "other") as other:
        repository(other.root / "r", {"f": "other"})
        server.moved["/r/.git"] = other.url("r")
        with pytest.raises(ContextError) as e:
            _fetch(server, tmp_path, Access(header=LOGIN))
        assert "redirect" in e.value.hint
        assert other.asked == []
        assert (_fetch(server, tmp_path) / "f").read_text() == "other"


def test_a_login_in_the_address_is_sent_and_not_kept(server: GitServer, tmp_path: Path) -> None:
    address = server.url("r").replace("http://", f"http://me:{SECRET}@")
    ref = GitRef.parse(address)
    assert SECRET not in ref.remote
    server.header = f"basic {base64.b64encode(f'me:{SECRET}'.encode()).decode()}"
    access = Access(header=server.header)
    got = fetch_git(ref, tmp_path / "work", keep_git_dir=True, checksum="", access=access)
    got.tree.close()
    assert git(got.tree.root, "remote", "get-url", "origin") == server.url("r")
    assert SECRET.encode() not in _everything_below(tmp_path / "work")


def test_secrets_are_on_no_command_line_and_in_no_message(
    server: GitServer, kitchen: Kitchen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A git that writes down its words stands before the real one."""
    told = tmp_path / "words"
    (tmp_path / "bin").mkdir()
    real = next(Path(p) / "git" for p in os.environ["PATH"].split(":") if (Path(p) / "git").exists())
    (tmp_path / "bin/git").write_text(f'#!/bin/sh\necho "$@" >> {told}\nexec {real} "$@"\n')
    (tmp_path / "bin/git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("TOKEN", SECRET)
    monkeypatch.setenv("GIT_TRACE_CURL", "1")
    monkeypatch.setenv("GIT_CURL_VERBOSE", "1")
    server.header = "never"
    for context in (server.url("r"), server.url("r").replace("http://", f"http://me:{SECRET}@")):
        with pytest.raises(ContextError) as e:
            kitchen.build(context=context, secrets=("id=GIT_AUTH_TOKEN,env=TOKEN",))
        assert SECRET not in f"{e.value.message} {e.value.hint}"
        assert LOGIN not in f"{e.value.message} {e.value.hint}"
    assert "ls-remote" in told.read_text()
    assert SECRET not in told.read_text()
    assert LOGIN not in told.read_text()


def test_a_secret_adds_no_header_of_its_own(
    server: GitServer, kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "x\r\nX-Evil: 1")
    with pytest.raises(UsageError, match="GIT_AUTH_HEADER: a header has no control characters"):
        kitchen.build(context=server.url("r"), secrets=("id=GIT_AUTH_HEADER,env=TOKEN",))


def test_what_one_credential_fetched_is_not_given_to_another(
    server: GitServer, kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", SECRET)
    server.header = LOGIN
    commit = git(server.root / "r", "rev-parse", "HEAD")
    for after in ("", f"#{commit}"):
        text = f"FROM scratch\nADD {server.url('r')}{after} /\n"
        kitchen.build(text, secrets=("id=GIT_AUTH_TOKEN,env=TOKEN",))
        with pytest.raises(ContextError):
            kitchen.build(text)


# --- servers that lie --------------------------------------------------------------------------


def _serve_raw(answer: bytes, times: int) -> tuple[str, threading.Thread]:
    """A server that answers every request with the same bytes, again and again."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    client.recv(1 << 16)
                    try:
                        for _ in range(times):
                            client.sendall(answer)
                    except OSError:
                        pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}/r.git", thread


def test_a_server_that_never_stops_listing_refs_is_cut_off(tmp_path: Path) -> None:
    need_program("git")
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n"
        b"Connection: close\r\n\r\n001e# service=git-upload-pack\n0000"
    )
    row = b"a" * 40 + b" refs/x/%08d/refs/heads/main\n"
    body = b"".join(b"%04x" % (len(row % n) + 4) + row % n for n in range(30_000))
    address, _ = _serve_raw(head + body + b"0000", 1)
    with pytest.raises(ContextError, match="more than a repository can have to say"):
        fetch_git(GitRef.parse(f"{address}#main"), tmp_path / "work", keep_git_dir=False, checksum="")


def test_what_a_server_says_has_no_control_characters(server: GitServer, tmp_path: Path) -> None:
    text = b"\x1b[2J\x07evil\r\n::error::x"
    packet = b"%04x" % (len(text) + 8) + b"ERR " + text
    answer = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n"
        b"Connection: close\r\n\r\n001e# service=git-upload-pack\n0000" + packet
    )
    address, _ = _serve_raw(answer, 1)
    with pytest.raises(ContextError) as e:
        fetch_git(GitRef.parse(address), tmp_path / "work", keep_git_dir=False, checksum="")
    assert "evil" in e.value.message
    assert e.value.message.isprintable()
