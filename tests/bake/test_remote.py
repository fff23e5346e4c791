"""Definitions from elsewhere: repositories, archives, files; where the contexts of their targets are."""

from __future__ import annotations

import io
import os
import socket
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from imagesmith.bake.files import names_there, read_definition
from imagesmith.bake.places import Source, Span
from imagesmith.bake.reading import Folder
from imagesmith.bake.remote import Remote, is_remote, split_arguments
from imagesmith.bake.target import Setting, Target
from imagesmith.context.git import context_ref
from imagesmith.errors import ContextError, DefinitionError, UsageError
from imagesmith.store.store import Store
from tests.gitserver import GitServer, git_server
from tests.web import Web, git, repository, web

pytestmark = pytest.mark.slow

HCL = 'target "a" {}\n'


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store of the test's own."""
    with Store(tmp_path / "store") as found:
        yield found


@pytest.fixture
def site() -> Iterator[Web]:
    """A server of files."""
    with web() as here:
        yield here


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    """A server of a repository with a definition at its top, and one in `sub`."""
    with git_server(tmp_path / "srv") as here:
        files = {
            "docker-bake.hcl": HCL,
            "app/Dockerfile": "FROM scratch\n",
            "sub/compose.yaml": "services: {}\n",
        }
        repository(here.root / "r", {**files, "sub/Dockerfile.x": "FROM scratch\n"})
        os.symlink("/etc", here.root / "r/sub/etc")
        git(here.root / "r", "add", "-A")
        git(here.root / "r", "commit", "-qm", "a link")
        yield here


def _target(**attributes: Setting) -> Target:
    given = {name.replace("_", "-"): value for name, value in attributes.items()}
    return Target(name="a", attributes=given, span=Span(Source("docker-bake.hcl", HCL), 8, 9))


def _context(remote: Remote, context: str) -> str:
    return str(remote.resolved(_target(context=context)).attributes["context"])


def _archive(files: Mapping[str, str], mode: str = "w:gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:  # type: ignore[call-overload]
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            if text.startswith("->"):
                entry.type, entry.linkname = tarfile.SYMTYPE, text[2:]
                tar.addfile(entry)
                continue
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    return out.getvalue()


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ([], ("", "cwd://", [])),
        (["a", "b"], ("", "cwd://", ["a", "b"])),
        (["https://h/r.git", "a"], ("https://h/r.git", "cwd://", ["a"])),
        (["git@h:r", "https://h/c.tar", "a"], ("git@h:r", "https://h/c.tar", ["a"])),
        (["github.com/o/r"], ("github.com/o/r", "cwd://", [])),
        (["a", "https://h/r.git"], ("", "cwd://", ["a", "https://h/r.git"])),
    ],
)
def test_words_of_the_command(words: list[str], wanted: tuple[str, str, list[str]]) -> None:
    assert split_arguments(words) == wanted
    assert is_remote("https://h/r.git?nonsense=1")


def test_contexts_of_a_repository_are_at_the_commit_that_was_read(server: GitServer, store: Store) -> None:
    commit = git(server.root / "r", "rev-parse", "HEAD")
    with Remote(server.url("r") + "#main", store, {}) as remote:
        assert names_there(remote.folder) == ("docker-bake.hcl",)
        (server.root / "r/docker-bake.hcl").write_text("no")
        git(server.root / "r", "commit", "-qam", "two")
        for context, folder in (
            (".", ""),
            ("app", "app"),
            ("./app/", "app"),
            ("/app", "app"),
            ("a b%", "a b%"),
        ):
            ref = context_ref(_context(remote, context))
            assert ref is not None
            assert (ref.remote, ref.ref, ref.subdir) == (server.url("r"), "main", folder)
            assert (ref.checksum, ref.fetch_by_commit) == (commit, True)
        left = _target(contexts={"t": "target:b", "i": "docker-image://x", "l": "cwd://lib", "d": "app"})
        contexts = remote.resolved(left).attributes["contexts"]
        assert isinstance(contexts, dict)
        assert contexts.pop("d") == _context(remote, "app")
        assert contexts == {"t": "target:b", "i": "docker-image://x", "l": "lib"}
        with Remote(_context(remote, "app"), store, {}) as again:
            assert again.folder.exists("Dockerfile")
            assert again.ref is not None
            assert again.ref.checksum == commit
    assert not os.path.exists(remote.folder.path)


def test_folder_of_a_repository_is_its_top(server: GitServer, store: Store) -> None:
    with Remote(server.url("r") + "#v1:sub", store, {}) as remote:
        assert names_there(remote.folder) == ("compose.yaml",)
        ref = context_ref(_context(remote, "x"))
        assert ref is not None
        assert ref.subdir == "sub/x"
        assert remote.folder.read("compose.yaml").text == "services: {}\n"


def test_paths_that_leave_what_was_fetched_are_refused(server: GitServer, store: Store) -> None:
    with Remote(server.url("r") + "#main:sub", store, {}) as remote:
        for context in ("..", "../app", "x/../../y", "etc"):
            with pytest.raises(DefinitionError, match=f"^target a: context {context} leads out of ") as e:
                _context(remote, context)
            assert (e.value.file, e.value.line, e.value.column) == ("docker-bake.hcl", 1, 8)
        with pytest.raises(DefinitionError, match="outside of what the definition came with"):
            remote.folder.read("etc/passwd")


def test_own_context_takes_a_dockerfile_of_either_side(server: GitServer, store: Store) -> None:
    with Remote(server.url("r") + "#main:sub", store, {}) as remote:
        found = remote.resolved(_target(context="cwd://", dockerfile="Dockerfile.x")).attributes
        assert found["context"] == "."
        assert Path(str(found["dockerfile"])).read_text() == "FROM scratch\n"
        found = remote.resolved(_target(context="cwd://x/../y", dockerfile="cwd://D")).attributes
        assert (found["context"], found["dockerfile"]) == ("y", os.path.abspath("D"))
        for name, said in (
            ("D", "dockerfile D is not in "),
            ("etc/passwd", "dockerfile etc/passwd leads out of "),
        ):
            with pytest.raises(DefinitionError, match=f"^target a: {said}"):
                remote.resolved(_target(context="cwd://", dockerfile=name))
        inline = remote.resolved(_target(context="cwd://", dockerfile_inline="FROM x")).attributes
        assert "dockerfile" not in inline


def test_token_opens_the_repository_and_is_a_secret_of_its_targets(server: GitServer, store: Store) -> None:
    server.header = "basic eC1hY2Nlc3MtdG9rZW46dA=="  # x-access-token:t
    with pytest.raises(ContextError):
        Remote(server.url("r"), store, {})
    env = {"BUILDX_BAKE_GIT_AUTH_TOKEN": "t", "BUILDX_BAKE_GIT_AUTH_TOKEN.other.example": "o"}
    host = server.address.split("/")[2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BUILDX_BAKE_GIT_AUTH_TOKEN", "t")
        with Remote(server.url("r"), store, env) as remote:
            found = remote.resolved(_target(secret=({"id": "own"},))).attributes
            assert found["secret"] == (
                {"id": "own"},
                {"id": f"GIT_AUTH_TOKEN.{host}", "env": "BUILDX_BAKE_GIT_AUTH_TOKEN"},
            )
            for place in ("cwd://", "https://other.example/r.git"):
                other = _target(context=place, dockerfile_inline="FROM x")
                assert "secret" not in remote.resolved(other).attributes


def test_login_of_the_address_is_that_of_contexts(server: GitServer, store: Store) -> None:
    server.header = "basic dTpwQDE="  # u:p@1
    address = server.url("r").replace("://", "://u:p%401@")
    with Remote(address, store, {}) as remote:
        ref = context_ref(_context(remote, "app"))
        assert ref is not None
        assert (ref.login, ref.remote) == ("u:p@1", server.url("r"))


def test_agent_must_be_a_socket(store: Store, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("")
    with pytest.raises(UsageError, match="BUILDX_BAKE_GIT_SSH must be the socket of an ssh agent"):
        Remote("git@localhost:r", store, {"BUILDX_BAKE_GIT_SSH": str(tmp_path / "key")})
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(tmp_path / "agent"))
        with pytest.raises(ContextError):
            Remote("ssh://localhost:1/r", store, {"BUILDX_BAKE_GIT_SSH": str(tmp_path / "agent")})


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_contexts_of_an_archive_are_unpacked(mode: str, site: Web, store: Store) -> None:
    files = {"docker-bake.hcl": HCL, "app/Dockerfile": "FROM scratch\n", "out": "->/etc", "up": "->../.."}
    site.files["d.tar"] = _archive(files, mode)
    with Remote(site.url("d.tar"), store, {}) as remote:
        assert remote.names == ()
        assert len(read_definition((), local=Folder("/"), remote=remote.folder, env={})) == 1
        assert _context(remote, ".") == remote.folder.path
        assert os.path.exists(os.path.join(_context(remote, "app"), "Dockerfile"))
        for context in ("../x", "out", "up"):
            with pytest.raises(DefinitionError, match="leads out of"):
                _context(remote, context)


def test_file_that_comes_alone_has_contexts_here(site: Web, store: Store) -> None:
    site.files["x/bake.hcl"] = HCL.encode()
    with Remote(site.url("x/bake.hcl?y=1"), store, {}) as remote:
        assert remote.names == ("bake.hcl",)
        assert len(read_definition(remote.names, local=Folder("/"), remote=remote.folder, env={})) == 1
        assert [_context(remote, c) for c in (".", "../x", "cwd://y")] == [".", "../x", "y"]


def test_file_that_comes_alone_is_small(site: Web, store: Store) -> None:
    site.files["b.hcl"] = b"#" * ((2 << 20) + 1)
    with pytest.raises(DefinitionError, match="no archive, and larger than 2 MiB"):
        Remote(site.url("b.hcl"), store, {})
    with pytest.raises(ContextError, match="404"):
        Remote(site.url("none.hcl"), store, {})
    assert list(store.work.glob("context-*")) == []
