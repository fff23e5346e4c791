"""Steps by the thousand: long stages, chains of stages, wide files; and one numbering of what is shown."""

from __future__ import annotations

import http.server
import itertools
import threading
from pathlib import Path

import pytest

from imagesmith.fs.view import View
from imagesmith.oci.config import chain_id
from imagesmith.oci.digest import Digest
from imagesmith.solve.result import BuiltLayer, Result
from tests.kitchen import Kitchen
from tests.registry.conftest import serve_embedded
from tests.registry.faultproxy import Before, FaultProxy

LONG = "FROM scratch\n" + "".join(f"COPY a /f{n}\n" for n in range(700))
CHAIN = "FROM scratch AS s0\nCOPY a /f\n" + "".join(
    f"FROM s{n} AS s{n + 1}\nCOPY a /g{n}\n" for n in range(250)
)
COPIES = "FROM scratch AS s0\nCOPY a /f\n" + "".join(
    f"FROM scratch AS s{n + 1}\nCOPY --from=s{n} /f /f\n" for n in range(250)
)
WIDE = (
    "".join(f"FROM scratch AS s{n}\nCOPY a /f{n}\n" for n in range(250))
    + "FROM scratch\n"
    + "".join(f"COPY --from=s{n} /f{n} /\n" for n in range(250))
)


@pytest.mark.parametrize(
    ("text", "layers"),
    [(LONG, 700), (CHAIN, 251), (COPIES, 1), (WIDE, 250)],
    ids=["long", "chain", "copies", "wide"],
)
def test_file_of_hundreds_of_steps_is_built_and_found_again(kitchen: Kitchen, text: str, layers: int) -> None:
    kitchen.write({"a": "text"})
    before = threading.active_count()
    first = kitchen.build(text)
    numbers = kitchen.numbers
    assert len(first.image.layers) == layers
    assert len(numbers) == len(set(numbers)) == text.count("COPY")
    again = kitchen.build(text)
    assert kitchen.executed == []
    assert again.digest == first.digest
    assert threading.active_count() == before


def test_chain_of_stages_whose_layers_are_gone_is_made_again(kitchen: Kitchen) -> None:
    """All of it is known and none of it is there: one changed word at the end needs the whole chain."""
    kitchen.write({"a": "text"})
    kitchen.build(COPIES)
    for blob in itertools.chain(
        (kitchen.root / "blobs/sha256").iterdir(), (kitchen.root / "layers").glob("*/*")
    ):
        blob.unlink()
    changed = COPIES.replace("COPY --from=s249 /f /f", "COPY --from=s249 /f /changed")
    built = kitchen.build(changed)
    assert kitchen.names(built) == ["changed"]
    numbers = kitchen.numbers
    assert len(numbers) == len(set(numbers))


def test_long_chain_of_stages_that_is_reached_by_a_trigger_only(kitchen: Kitchen) -> None:
    kitchen.write({"a": "text"})
    text = CHAIN + "FROM scratch AS t\nONBUILD COPY --from=s250 /g249 /x\nFROM t\n"
    assert kitchen.names(kitchen.build(text)) == ["x"]


def test_environment_of_thousands_of_variables_keeps_their_order(kitchen: Kitchen) -> None:
    text = "FROM scratch\n" + "".join(f"ENV V{n % 1500}={n}\n" for n in range(3000)) + "ENV V=x V1=y\n"
    env = kitchen.build(text).image.config.runtime.env
    assert env[1:4] == ("V0=1500", "V1=y", "V2=1502")
    assert env[-2:] == ("V1499=2999", "V=x")


def test_result_is_that_of_its_layers_however_they_were_stacked() -> None:
    class Stored:
        unread = False

        def index(self) -> str:
            return "index"

    ids = [Digest("sha256", f"{n:064x}") for n in range(9)]
    layers = [BuiltLayer(d, None, Stored(), hollow=n == 4) for n, d in enumerate(ids)]  # type: ignore[arg-type]
    result = Result(layers[:3])
    for layer in layers[3:]:
        below, result = result, result.plus(layer)
        assert below.unread() == [one.stored for one in below.layers]
    assert result.layers == tuple(layers)
    assert result.diff_ids == tuple(ids)
    assert result.chain == chain_id(ids)
    assert result.top is layers[-1]
    assert (result.hollow, Result(layers[:4]).hollow) == (True, False)
    assert isinstance(result.view, View)
    assert result.view.layers == ("index",) * 9
    below.was_read()
    assert result.unread() == [layers[-1].stored]


def test_downloads_of_stages_that_need_not_each_other_overlap(kitchen: Kitchen) -> None:
    """Each of three files is sent when all three have been asked for; so are two layers of two images."""
    gate = threading.Barrier(3, timeout=30)

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            gate.wait()
            self.send_response(200)
            self.send_header("Content-Length", "1")
            self.end_headers()
            self.wfile.write(b"x")

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    stages = "".join(f"FROM scratch AS s{n}\nADD {url}/{n} /f{n}\n" for n in range(3))
    built = kitchen.build(f"{stages}FROM s0\nCOPY --from=s1 /f1 /\nCOPY --from=s2 /f2 /\n")
    server.shutdown()
    server.server_close()
    assert kitchen.names(built) == ["f2"]


def test_layers_of_an_image_are_fetched_at_the_same_time(kitchen: Kitchen, tmp_path: Path) -> None:
    gate = threading.Barrier(2, timeout=30)
    (tmp_path / "registry").mkdir()
    kitchen.write({name: name for name in "abcd"})
    with serve_embedded(tmp_path / "registry") as served, FaultProxy(served.host) as proxy:
        for name, texts in (("one", "ab"), ("two", "cd")):
            text = "FROM scratch\n" + "".join(f"COPY {t} /{t}\n" for t in texts)
            kitchen.build(text, tags=[f"{served.host}/{name}:1"], push=True, insecure=True)
        proxy.on("GET", "/blobs/", Before(lambda: None), times=2)  # the configs
        proxy.on("GET", "/blobs/", Before(gate.wait), times=4)
        kitchen.root = tmp_path / "fresh"
        text = f"FROM {proxy.host}/one:1 AS one\nFROM {proxy.host}/two:1\nCOPY --from=one /a /b /\n"
        built = kitchen.build(text, insecure=True)
    assert kitchen.names(built) == ["a", "b"]
