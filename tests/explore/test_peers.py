"""Layers that skopeo made zstd:chunked are read by their tables, and tell what the same layers whole do."""

from __future__ import annotations

import subprocess
from pathlib import Path

from imagesmith.embedded.registry import Registry
from imagesmith.explore.files import list_files, open_files, read_file
from imagesmith.explore.model import explore
from imagesmith.oci.names import ImageRef
from imagesmith.settings import Access
from imagesmith.store.store import Store
from imagesmith.transports.stored import StorePlace
from imagesmith.transports.transfer import Session
from tests.explore.conftest import HERE
from tests.explore.test_files import LAYERS
from tests.registry.images import make_image
from tests.support import need_program


def test_layers_of_skopeo_are_read_in_parts(store: Store, tmp_path: Path) -> None:
    skopeo = need_program("skopeo")
    place = StorePlace(store, root=make_image(store, layers=LAYERS))
    with Registry(tmp_path / "registry") as registry, Store(tmp_path / "far") as far:
        with Session(store, access=Access(insecure=True)) as session:
            session.copy(place, session.repository(ImageRef.parse(f"{registry.host}/a:1")))
        subprocess.run(
            [skopeo, "copy", "--insecure-policy", "--src-tls-verify=false", "--dest-tls-verify=false",
             "--dest-compress-format", "zstd:chunked", f"docker://{registry.host}/a:1",
             f"docker://{registry.host}/b:1"],
            check=True, capture_output=True, timeout=60,
        )  # fmt: skip
        with Session(far, access=Access(insecure=True)) as session:
            files = open_files(session.repository(ImageRef.parse(f"{registry.host}/b:1")), far, HERE)
            whole = open_files(place, store, HERE)
            assert list(list_files(files, recursive=True)) == list(list_files(whole, recursive=True))
            assert read_file(files, "/etc/os") == b"one"
            assert read_file(files, "/big") == b"b" * 5000
            assert files.in_parts == {1, 2, 3}
            ours, theirs = explore(whole), explore(files)
            assert (theirs.unpacked, theirs.shown, theirs.hidden) == (ours.unpacked, ours.shown, ours.hidden)
