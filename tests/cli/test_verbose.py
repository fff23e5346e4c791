"""`-v`: a line a request, and none that would be a secret in the log of a CI."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Mapping
from pathlib import Path

from imagesmith.oci.digest import digest_bytes
from tests.registry.scripted import Asked, Scripted
from tests.support import IMAGESMITH

DATA = b"bytes of a blob"


def test_requests_are_told_in_a_line_each_without_secrets(tmp_path: Path) -> None:
    def storage(_: Asked) -> tuple[int, Mapping[str, str], bytes]:
        return 200, {}, DATA

    with Scripted(storage) as bucket:

        def registry(asked: Asked) -> tuple[int, Mapping[str, str], bytes]:
            if asked.target.startswith("/token"):
                return 200, {"Content-Type": "application/json"}, b'{"token": "TOKEN-SECRET"}'
            if "authorization" not in asked.headers:
                realm = f'Bearer realm="http://{server.host}/token",service="r",scope="repository:a:pull"'
                return 401, {"WWW-Authenticate": realm}, b""
            where = f"http://{bucket.host}/x?X-Amz-Signature=SIGNED-SECRET&X-Amz-Credential=KEY-SECRET"
            return 307, {"Location": where}, b""

        with Scripted(registry) as server:
            auth = base64.b64encode(b"user:PASSWORD-SECRET").decode()
            (tmp_path / "config.json").write_text(f'{{"auths": {{"{server.host}": {{"auth": "{auth}"}}}}}}')
            done = subprocess.run(
                [*IMAGESMITH, "-v", "blob", "get", f"{server.host}/a", str(digest_bytes(DATA))],
                env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path)},
                capture_output=True,
                timeout=60,
                check=True,
            )
            asked = len(server.asked) + len(bucket.asked) + 1  # the look at the scheme
    assert done.stdout == DATA
    lines = [line for line in done.stderr.decode().splitlines() if " http:" in line]
    assert len(lines) == asked >= 5
    assert all(line.split(" (")[0].endswith(("200", "401", "307")) for line in lines)
    assert "SECRET" not in done.stderr.decode()
    assert auth not in done.stderr.decode()
    assert "scope=repository:a:pull" in done.stderr.decode()
