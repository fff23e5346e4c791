"""Two sides: whose credentials whom is shown, and copies as a program makes them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.copying.copies import How, copy_image, look
from imagesmith.copying.ends import Ends, open_ends
from imagesmith.copying.many import copies
from imagesmith.copying.patterns import Tags
from imagesmith.copying.tagging import Job, tags_of, with_tags
from imagesmith.embedded.registry import Registry
from imagesmith.errors import NotFound, Unauthorized
from imagesmith.layer.codecs import Codec
from imagesmith.settings import Access, Login
from imagesmith.store.store import Store
from imagesmith.transports.choice import Choice
from imagesmith.transports.names import PlaceName
from tests.registry.conftest import PASSWORD, USER, make_htpasswd
from tests.registry.faultproxy import FaultProxy
from tests.registry.images import make_image, make_index

LOGIN = Login("basic", USER, PASSWORD)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as found:
        make_image(found, "app:1")
        make_image(found, "app:2", layers=({"x": b"y"},))
        make_index(found, "both:1")
        yield found


def place(text: str) -> PlaceName:
    return PlaceName.parse(text)


def test_a_program_copies_tags_and_looks_before(store: Store, registry: str) -> None:
    with open_ends(store) as ends:
        source, target = place("store:app"), place(f"{registry}/t/app")
        jobs = with_tags(ends, source, target, Tags(("*",), ("2",)))
        assert [str(job.target) for job in jobs] == [f"{registry}/t/app:1"]
        [seen] = copies(ends, jobs, dry_run=True)
        assert seen.look is not None
        assert (seen.look.there, seen.look.missing) == (False, 3)
        with pytest.raises(NotFound):
            tags_of(ends, target)
        [made] = copies(ends, jobs)
        assert (made.error, made.descriptor) == (None, seen.descriptor)
        assert look(ends, jobs[0].source, jobs[0].target).there
        assert tags_of(ends, target) == ["1"]


def test_outcomes_come_in_order_and_have_their_errors(store: Store, registry: str) -> None:
    names = ("app:1", "none:1", "both:1", "app:2")
    jobs = [Job(source=place(f"store:{name}"), target=place(f"{registry}/t/{name}")) for name in names]
    with open_ends(store) as ends:
        found = list(copies(ends, jobs, at_once=3))
    assert [str(one.source) for one in found] == [f"store:docker.io/library/{name}" for name in names]
    assert [type(one.error) for one in found] == [type(None), NotFound, type(None), type(None)]


def test_how_says_what_comes_out(store: Store, registry: str) -> None:
    how = How(choice=Choice(), codec=Codec("zstd"))
    with open_ends(store) as ends:
        made = copy_image(ends, place("store:both:1"), place(f"{registry}/t/both:1"), how)
        again = copy_image(ends, place("store:both:1"), place(f"{registry}/t/both:2"), how)
    assert made == again


def test_a_login_is_not_shown_to_a_mirror(store: Store, tmp_path: Path) -> None:
    """The mirror would take the password, and is not given it: the image comes from the registry itself."""
    del store
    htpasswd, conf = make_htpasswd(tmp_path / "htpasswd"), tmp_path / "registries.conf"
    with (
        Registry(tmp_path / "own", htpasswd=htpasswd) as own,
        Registry(tmp_path / "mirror", htpasswd=htpasswd) as closed,
        FaultProxy(closed.host) as mirror,
        FaultProxy(own.host) as asked,
        Store(tmp_path / "other") as other,
    ):
        make_image(other, "app:1")
        with open_ends(other, target=Access(login=LOGIN)) as ends:
            for host in (asked.host, mirror.host):
                copy_image(ends, place("store:app:1"), place(f"{host}/t/app:1"))
        conf.write_text(
            f'[[registry]]\nlocation = "{asked.host}"\ninsecure = true\n'
            f'[[registry.mirror]]\nlocation = "{mirror.host}"\ninsecure = true\n'
        )
        before, got = len(mirror.exchanges), asked.got("/blobs/")
        with open_ends(other, source=Access(login=LOGIN, registries_conf=str(conf))) as ends:
            copy_image(ends, place(f"{asked.host}/t/app:1"), place(f"oci:{tmp_path}/layout"))
        assert len(mirror.exchanges) > before
        assert {e.status for e in mirror.exchanges[before:]} == {401}
        assert asked.got("/blobs/") > got


def test_one_side_is_not_shown_the_others_login(store: Store, tmp_path: Path) -> None:
    with Registry(tmp_path / "closed", htpasswd=make_htpasswd(tmp_path / "htpasswd")) as closed:
        name = place(f"{closed.host}/t/app:1")
        with open_ends(store, source=Access(login=LOGIN)) as ends, pytest.raises(Unauthorized):
            copy_image(ends, place("store:app:1"), name)
        with open_ends(store, target=Access(login=LOGIN)) as ends:
            copy_image(ends, place("store:app:1"), name)
        with open_ends(store, others={closed.host: Access(login=LOGIN)}) as ends:
            assert tags_of(ends, name) == ["1"]
            assert isinstance(ends, Ends)
        with open_ends(store) as ends, pytest.raises(Unauthorized):
            tags_of(ends, name)
