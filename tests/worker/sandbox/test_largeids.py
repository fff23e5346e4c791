"""Which steps are served by the supervisor that tells of ids above those that are lent."""

from __future__ import annotations

import pytest

from imagesmith.interfaces import RunSpec
from imagesmith.worker.sandbox.largeids import needs_all

HELD = (65_536, 70_000)


def needs(text: str = "true", env: tuple[tuple[str, str], ...] = (), **more: object) -> bool:
    return needs_all(RunSpec(argv=("/bin/sh", "-c", text), env=env, **more), HELD)  # type: ignore[arg-type]


def test_ids_of_the_step_and_of_files_count() -> None:
    assert not needs(uid=65_535, gid=69_999, groups=(5, 69_999), largest_id=65_535)
    assert needs(uid=65_536)
    assert needs(gid=70_000)
    assert needs(groups=(5, 70_000))
    assert needs(largest_id=65_536)


@pytest.mark.parametrize("text", [
    "touch /f && chown 3000000:2500000000 /f", "chown :70000 f", "chgrp 70000 f", "useradd -u100000 u",
    "useradd --uid=100000 u", "adduser -D -u 65536 u", "install -o 100000 a b",
    "python -c 'os.setuid(100000)'", "chroot --userspec=100000:5 / id", "setpriv --reuid 100000 id",
])  # fmt: skip
def test_words_that_give_such_ids_count(text: str) -> None:
    assert needs(text)


@pytest.mark.parametrize("text", [
    "chown 65535:65535 f", "touch -d @1700000000 f", "apt-get install ca-certificates=20230311+deb12u1",
    "chown 5 f-20240101.tar", "chown 5 f; echo 4294967295", "sleep 100000", "chown 5 $SOURCE",
    "chown 5 1234567890123",
])  # fmt: skip
def test_other_words_do_not(text: str) -> None:
    assert not needs(text, (("SOURCE_DATE_EPOCH", "1700000000"), ("SOURCE", "a")))


@pytest.mark.parametrize("text", ["chown $ID f", "chown ${ID}:5 f", "chown ${ID:-5} f"])
def test_variables_that_the_words_name_count(text: str) -> None:
    assert needs(text, (("ID", "100000"),))
    assert not needs(text, (("ID", "1000"), ("OTHER", "100000")))
