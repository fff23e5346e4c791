"""Random policies of containers: they are read as skopeo reads them, and what it copies is copied."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import imagesmith
from imagesmith.errors import Untrusted, UsageError
from tests.kitchen import Kitchen
from tests.registry.conftest import serve_docker
from tests.support import need_program

ACCEPT, REJECT = {"type": "insecureAcceptAnything"}, {"type": "reject"}
PLACES = (
    "docker://{host}/team/app:1", "docker://{host}/team/app", "docker://{host}/team/app@{digest}",
    "docker://{host}/other:1", "oci:{folder}/layout:1", "oci-archive:{folder}/oci.tar",
    "docker-archive:{folder}/docker.tar",
)  # fmt: skip
SCOPES = {
    "docker": (
        "", "{host}", "{host}/team", "{host}/team/app", "{host}/team/app:1", "{host}/team/app:latest",
        "{host}/team/app:2", "{host}/team/app@{digest}", "{host}/te", "{host}/team/", "{host}/other",
        "*.0.0.1", "*.0.1", "*.1", "*.", "*", "127.0.0.1", "docker.io", "team/app",
    ),
    "oci": ("", "/", "{folder}", "{folder}/", "{folder}/layout", "{folder}/layout:1", "{folder}/../x", "rel"),
    "oci-archive": ("", "{folder}", "{folder}/oci.tar", "{folder}/./oci.tar"),
    "docker-archive": ("", "{folder}/docker.tar"),
    "unknown": ("", "anything"),
}  # fmt: skip

DOCKERFILE = "FROM scratch\nCOPY a /\n"

requirements = st.lists(st.sampled_from((ACCEPT, REJECT)), min_size=1, max_size=2)
slips = st.sampled_from(
    ([], [{}], [{"type": "accept"}], [{**REJECT, "why": ""}], [{"type": "signedBy", "keyType": "GPGKeys"}],
     [{"type": "sigstoreSigned"}], [{"type": "sigstoreSigned", "keyPath": "/none", "keyData": "YQ=="}],
     None, {}, "reject", [None], [[ACCEPT]])
)  # fmt: skip


@st.composite
def policies(draw: st.DrawFn) -> str:
    """The text of a policy, with its blanks; one of some twenty lists is a slip of the pen."""

    def some() -> object:
        return draw(slips if draw(st.integers(0, 19)) == 0 else requirements)

    out: dict[str, object] = {"default": some()}
    transports: dict[str, dict[str, object]] = {}
    for name in draw(st.lists(st.sampled_from(sorted(SCOPES)), unique=True)):
        scopes = draw(st.lists(st.sampled_from(SCOPES[name]), unique=True, max_size=5))
        transports[name] = {scope: some() for scope in scopes}
    if transports or draw(st.booleans()):
        out["transports"] = transports
    text = json.dumps(out)
    if draw(st.integers(0, 19)) == 0:  # keys that stand twice, or are not known
        more = draw(st.sampled_from(('"default": [{"type": "reject"}]', '"transports": {}', '"x": 1')))
        text = f"{text[:-1]}, {more}}}"
    return text


class Places:
    """The places of one image, and two who copy from them under a policy."""

    def __init__(self, folder: Path, host: str, digest: str) -> None:
        self.folder, self.blanks = folder, {"host": host, "folder": str(folder), "digest": digest}
        self.policy = folder / "policy.json"

    def filled(self, text: str) -> str:
        for blank, value in self.blanks.items():
            text = text.replace(f"{{{blank}}}", value)
        return text

    def here(self, place: str) -> bool:
        """Whether we copy from a place."""
        try:
            imagesmith.copy(
                place,
                f"oci:{self.folder}/here",
                root=self.folder / "store",
                policy=self.policy,
                insecure=True,
            )
        except (Untrusted, UsageError):
            return False
        return True

    def skopeo(self, place: str) -> bool:
        """Whether skopeo does."""
        words = ["--policy", str(self.policy), "copy", "--src-tls-verify=false", place, "dir:"]
        words[-1] += str(self.folder / "there")
        done = subprocess.run([need_program("skopeo"), *words], capture_output=True, text=True)
        assert not done.returncode or "policy" in done.stderr or "rejected" in done.stderr, done.stderr
        return not done.returncode


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    """One image in a registry under several names, in a layout and in both kinds of archives."""
    need_program("skopeo")
    folder = tmp_path_factory.mktemp("policies").resolve()
    with serve_docker(folder / "registry") as served:
        kitchen = Kitchen(folder)
        kitchen.write({"a": "a"})
        names = [f"{served.host}/{name}" for name in ("team/app:1", "team/app:latest", "other:1")]
        files = (
            f"oci,dest={folder}/oci.tar",
            f"docker,dest={folder}/docker.tar",
            f"oci,tar=false,dest={folder}/layout",
        )
        kitchen.build(DOCKERFILE, tags=["app:1"], outputs=[f"type={file}" for file in files])
        built = kitchen.build(DOCKERFILE, tags=names, push=True, insecure=True)
        yield Places(folder, served.host, str(built.digest))


@pytest.mark.slow
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(policies(), st.sampled_from(PLACES))
def test_we_copy_exactly_what_skopeo_copies(places: Places, policy: str, place: str) -> None:
    filled = places.filled(place)
    places.policy.write_text(places.filled(policy))
    assert places.here(filled) == places.skopeo(filled)
