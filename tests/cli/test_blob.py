"""blob get, put, head and delete: single blobs of a repository."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.cli.conftest import Run


def test_blob_is_put_read_weighed_and_deleted(run: Run, host: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("hello")
    digest = run("blob", "put", f"{host}/t/b", "f").strip()
    assert digest == f"sha256:{hashlib.sha256(b'hello').hexdigest()}"
    assert run("blob", "put", f"{host}/t/b", stdin=b"hello").strip() == digest
    assert run("blob", "get", f"{host}/t/b", digest) == "hello"
    assert run("blob", "head", f"{host}/t/b@{digest}") == "5\n"
    assert run("blob", "delete", f"{host}/t/b", digest) == f"deleted {digest}\n"
    assert "no blob" in run("blob", "head", f"{host}/t/b", digest, status=7)


def test_large_blob_arrives_as_it_was(run: Run, host: str, tmp_path: Path) -> None:
    """More than is read at once."""
    data = b"0123456789abcdef" * 50_000
    (tmp_path / "f").write_bytes(data)
    digest = run("blob", "put", f"{host}/t/b", "f").strip()
    assert run("blob", "get", f"{host}/t/b", digest).encode() == data


def test_digest_is_given_once_and_a_file_must_be_there(run: Run, host: str) -> None:
    digest = "sha256:" + "0" * 64
    for words in ([f"{host}/t/b"], [f"{host}/t/b@{digest}", digest]):
        assert "give one digest" in run("blob", "get", *words, status=2)
    assert "cannot read /no/file: No such file" in run("blob", "put", f"{host}/t/b", "/no/file", status=2)
