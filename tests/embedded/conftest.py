"""A registry in this process, and a client that is nothing but http.client."""

from __future__ import annotations

import hashlib
import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from imagesmith.embedded.registry import Registry


@dataclass
class Reply:
    """An answer that was read to its end."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json()["errors"][0]["code"])


class Client:
    """Requests on one connection that is kept alive, as clients do."""

    def __init__(self, host: str) -> None:
        self.connection = http.client.HTTPConnection(host, timeout=20)

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(
            method, path, body, names, encode_chunked=body is not None and not isinstance(body, bytes)
        )
        answer = self.connection.getresponse()
        return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def blob(self, name: str, data: bytes, algorithm: str = "sha256") -> str:
        digest = digest_of(data, algorithm)
        reply = self("POST", f"/v2/{name}/blobs/uploads/?digest={digest}", data)
        assert reply.status == 201, reply.body
        return digest

    def begin(self, name: str, query: str = "") -> str:
        reply = self("POST", f"/v2/{name}/blobs/uploads/{query}")
        assert reply.status == 202, reply.body
        return reply.headers["location"]

    def manifest(self, name: str, reference: str, document: dict[str, Any], query: str = "") -> Reply:
        raw = json.dumps(document).encode()
        at = reference or digest_of(raw)
        return self("PUT", f"/v2/{name}/manifests/{at}{query}", raw, Content_Type=document["mediaType"])


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "registry") as found:
        yield found


@pytest.fixture
def client(registry: Registry) -> Client:
    return Client(registry.host)
