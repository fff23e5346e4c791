"""SOURCE_DATE_EPOCH: from where it comes, and what it changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.errors import DockerfileError
from imagesmith.events import Warned
from tests.kitchen import OLD_S, Kitchen, tar_of
from tests.support import need_program
from tests.web import Web, publish, repository, web

SINCE_2001 = "2001-09-09T01:46:40Z"


@pytest.fixture
def site() -> Iterator[Web]:
    """A web server."""
    with web() as here:
        yield here


def _created(kitchen: Kitchen, text: str, value: str = "", **words: object) -> str:
    args = {"SOURCE_DATE_EPOCH": value} if value else {}
    return kitchen.build(text, build_args=args, **words).image.config.created


def test_build_argument_need_not_be_declared(kitchen: Kitchen) -> None:
    assert _created(kitchen, "FROM scratch\nWORKDIR /w\n", "1000") == "1970-01-01T00:16:40Z"


def test_global_argument_has_a_default(kitchen: Kitchen) -> None:
    text = "ARG SOURCE_DATE_EPOCH=1000\nFROM scratch\nWORKDIR /w\n"
    assert _created(kitchen, text) == "1970-01-01T00:16:40Z"
    assert _created(kitchen, text, "2000") == "1970-01-01T00:33:20Z"


def test_times_of_files_change_only_when_they_are_rewritten(kitchen: Kitchen) -> None:
    kitchen.write({"f": "text"})
    text, args = "FROM scratch\nWORKDIR /w\nCOPY f /f\n", {"SOURCE_DATE_EPOCH": "1000"}
    kept = kitchen.build(text, build_args=args)
    assert kitchen.layer(kept, 0).getmember("w").mtime == 1000
    assert kitchen.layer(kept, 1).getmember("f").mtime == OLD_S
    rewritten = kitchen.build(text, build_args=args, outputs=[_rewriting(kitchen)])
    assert kitchen.layer(rewritten, 1).getmember("f").mtime == 1000


def _rewriting(kitchen: Kitchen) -> str:
    return f"type=oci,dest={kitchen.root.parent / 'out.tar'},rewrite-timestamp=true"


def test_files_older_than_the_epoch_keep_their_times(kitchen: Kitchen) -> None:
    kitchen.write({"f": "text"})
    built = kitchen.build(
        "FROM scratch\nCOPY f /f\n",
        build_args={"SOURCE_DATE_EPOCH": str(OLD_S + 5)},
        outputs=[_rewriting(kitchen)],
    )
    assert kitchen.layer(built).getmember("f").mtime == OLD_S


def test_a_folder_as_context_has_no_time(kitchen: Kitchen) -> None:
    assert _created(kitchen, "FROM scratch\nWORKDIR /w\n", "context") > "2020"


@pytest.mark.slow
def test_a_repository_has_the_time_of_its_commit_and_gives_it_to_its_files(
    kitchen: Kitchen, site: Web, tmp_path: Path
) -> None:
    need_program("git")
    repository(tmp_path / "repo", {"Dockerfile": "FROM scratch\nCOPY f /f\n", "f": "text"})
    address = publish(site, tmp_path / "repo", "r")
    built = kitchen.build(context=address, build_args={"SOURCE_DATE_EPOCH": "context"})
    assert built.image.config.created == SINCE_2001
    assert kitchen.layer(built).getmember("f").mtime == OLD_S


def test_an_archive_has_the_servers_time_or_that_of_its_newest_file(kitchen: Kitchen, site: Web) -> None:
    site.files["c.tar"] = tar_of({"Dockerfile": b"FROM scratch\nCOPY f /f\n", "f": b"text"})
    args = {"SOURCE_DATE_EPOCH": "context"}
    assert kitchen.build(context=site.url("c.tar"), build_args=args).image.config.created == SINCE_2001
    site.headers["c.tar"] = {"Last-Modified": "Thu, 01 Jan 1970 00:16:40 GMT"}
    built = kitchen.build(context=site.url("c.tar"), build_args=args)
    assert built.image.config.created == "1970-01-01T00:16:40Z"


def test_a_named_context_has_a_time(kitchen: Kitchen, site: Web) -> None:
    site.files["one"] = b"text"
    site.headers["one"] = {"Last-Modified": "Thu, 01 Jan 1970 00:16:40 GMT"}
    text = "FROM scratch\nCOPY --from=src context /f\n"
    assert _created(kitchen, text, "src", contexts={"src": site.url("one")}) == "1970-01-01T00:16:40Z"


def test_a_stage_of_one_download_has_a_time(kitchen: Kitchen, site: Web) -> None:
    site.files["f"] = b"text"
    site.headers["f"] = {"Last-Modified": "Thu, 01 Jan 1970 00:16:40 GMT"}
    text = f"FROM scratch AS src\nADD {site.url('f')} /f\nFROM scratch\nCOPY --from=src / /\n"
    assert _created(kitchen, text, "src") == "1970-01-01T00:16:40Z"


@pytest.mark.parametrize("body", ["COPY f /f\n", "WORKDIR /w\n", ""])
def test_any_other_stage_has_none(kitchen: Kitchen, body: str) -> None:
    kitchen.write({"f": "text"})
    with pytest.raises(DockerfileError, match=r"^invalid SOURCE_DATE_EPOCH: src$"):
        _created(kitchen, f"FROM scratch AS src\n{body}FROM scratch\nWORKDIR /w\n", "src")


def test_what_is_no_time_is_refused(kitchen: Kitchen) -> None:
    with pytest.raises(DockerfileError, match=r"^invalid SOURCE_DATE_EPOCH: -5$"):
        _created(kitchen, "FROM scratch\nWORKDIR /w\n", "-5")


def test_history_of_the_base_keeps_its_times(kitchen: Kitchen, tmp_path: Path) -> None:
    kitchen.build("FROM scratch\nWORKDIR /a\n", outputs=[f"type=oci,tar=false,dest={tmp_path / 'base'}"])
    built = kitchen.build(
        "FROM base\nWORKDIR /b\n",
        contexts={"base": f"oci-layout://{tmp_path / 'base'}"},
        build_args={"SOURCE_DATE_EPOCH": "1000"},
    )
    old, new = built.image.config.history
    assert (old.created > "2020", new.created) == (True, "1970-01-01T00:16:40Z")


def test_rewriting_without_an_epoch_is_warned_of(kitchen: Kitchen) -> None:
    kitchen.build("FROM scratch\nWORKDIR /w\n", outputs=[_rewriting(kitchen)])
    told = [e.text for e in kitchen.events if isinstance(e, Warned)]
    assert told == ["rewrite-timestamp is specified, but no source-date-epoch was found"]
