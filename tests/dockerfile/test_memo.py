"""The first pass over a Dockerfile is remembered: what comes back is what would be parsed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from imagesmith.dockerfile.parse import parse
from imagesmith.errors import DockerfileError
from tests.support import IMAGESMITH

TEXT = """# escape=`
ARG V=1
FROM --platform=$BUILDPLATFORM busybox:$V AS one
ENV a=1 b="two words"
ENV old way
LABEL "quoted key"='x'
RUN --mount=type=cache,target=/c <<A cat && `
    echo done
body
A
COPY --chown=1:2 ["a b", "/c"]
HEALTHCHECK --retries=3 CMD curl x
ONBUILD RUN echo x
CMD ["sh"]
"""


class Memo(dict[str, str]):
    def parsed(self, key: str) -> str:
        return self.get(key, "")

    def put_parsed(self, key: str, text: str) -> None:
        self[key] = text


def test_a_remembered_file_is_the_parsed_one() -> None:
    memo, data = Memo(), TEXT.encode()
    first = parse(data, "Dockerfile", memo)
    assert len(memo) == 1
    assert parse(data, "Dockerfile", memo) == first == parse(data)


def test_another_file_is_another_key() -> None:
    memo = Memo()
    parse(b"FROM a\n", "Dockerfile", memo)
    assert parse(b"FROM b\n", "Dockerfile", memo).stages[0].base.image == "b"
    assert len(memo) == 2


@given(st.binary(max_size=200))
def test_any_bytes_say_the_same_with_and_without_a_memo(data: bytes) -> None:
    memo = Memo()
    for _ in range(2):
        assert said(data, memo) == said(data, None)


def said(data: bytes, memo: Memo | None) -> object:
    try:
        return parse(data, "Dockerfile", memo)
    except DockerfileError as e:
        return e.message, e.first


def test_a_build_of_a_known_file_does_without_the_grammar(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    words = [*IMAGESMITH[1:], "build", "-q", "--root", str(tmp_path / "store"), str(tmp_path)]
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    again = subprocess.run(
        [sys.executable, "-X", "importtime", *words], check=True, capture_output=True, text=True
    )
    loaded = {line.rpartition("|")[2].strip() for line in again.stderr.splitlines()}
    assert "imagesmith.solve.solver" in loaded
    assert loaded & {"lark", "httpx", "zstandard", "deflate"} == set()
