from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.errors import DigestMismatch, InvalidDocument
from imagesmith.oci.digest import Digest, VerifyingReader, digest_bytes


@given(st.binary(max_size=50), st.sampled_from(["sha256", "sha384", "sha512"]))
def test_written_digest_is_read_back(data: bytes, algorithm: str) -> None:
    digest = digest_bytes(data, algorithm)
    assert Digest.parse(str(digest)) == digest


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256",
        "sha256:",
        "md5:" + "a" * 32,
        "sha256:" + "A" * 64,
        "sha256:" + "g" * 64,
        "sha256:" + "a" * 63,
        "sha512:" + "a" * 64,
        "sha256:" + "a" * 65,
    ],
)
def test_what_is_no_digest_is_refused(text: str) -> None:
    with pytest.raises(InvalidDocument):
        Digest.parse(text)


@given(st.binary(max_size=200), st.integers(1, 50))
def test_true_content_passes_in_pieces_of_any_size(data: bytes, size: int) -> None:
    reader = VerifyingReader(io.BytesIO(data), digest_bytes(data), len(data))
    assert b"".join(iter(lambda: reader.read(size), b"")) == data
    reader.finish()


@pytest.mark.parametrize("content", [b"other", b"tru", b"true and more", b""])
def test_false_content_fails(content: bytes) -> None:
    with pytest.raises(DigestMismatch):
        VerifyingReader(io.BytesIO(content), digest_bytes(b"true!"), 5).read()


def test_content_that_is_not_read_to_its_end_fails_at_finish() -> None:
    reader = VerifyingReader(io.BytesIO(b"true"), digest_bytes(b"true"), 4)
    reader.read(2)
    with pytest.raises(DigestMismatch, match="not read to its end"):
        reader.finish()
