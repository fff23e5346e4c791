"""Whose certificates are taken, and what is said of those that are not."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from imagesmith.context import http
from imagesmith.errors import ContextError, NetworkFault, RegistryError
from imagesmith.registry import tls
from imagesmith.registry.endpoint import Endpoint, default_endpoint
from imagesmith.registry.faults import Fault, Untrusted
from imagesmith.registry.transport import Transport
from imagesmith.store.store import Store
from imagesmith.values import replace
from tests.registry.scripted import Scripted
from tests.support import need_program

_KEY = "-config openssl.cnf -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"


class Authority:
    """A company's authority, as many are: without key usage and identifiers, as Go and curl take them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "ca.pem"
        (folder / "openssl.cnf").write_text("[req]\ndistinguished_name=dn\n[dn]\n")
        self._openssl(
            f"req -x509 {_KEY} -keyout ca.key -days 2 -subj /CN=Company -out ca.pem"
            " -addext basicConstraints=critical,CA:TRUE"
        )

    def _openssl(self, words: str) -> None:
        command = [need_program("openssl"), *words.split()]
        subprocess.run(command, cwd=self.folder, capture_output=True, check=True)

    def signs(self, name: str = "IP:127.0.0.1", days: int = 2) -> ssl.SSLContext:
        """A server's context, with a certificate for a name."""
        (self.folder / "more").write_text(f"subjectAltName={name}\n")
        self._openssl(f"req {_KEY} -keyout key.pem -subj /CN=server -out request.pem")
        self._openssl(
            "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial"
            f" -days {days} -extfile more -out cert.pem"
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "cert.pem", self.folder / "key.pem")
        return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture(autouse=True)
def as_python_3_13(monkeypatch: pytest.MonkeyPatch) -> None:
    """The flags that contexts have from Python 3.13 on."""
    make = ssl.create_default_context

    def strict(*words: object, **more: object) -> ssl.SSLContext:
        context = make(*words, **more)  # type: ignore[arg-type]
        context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)


@contextmanager
def transport(context: ssl.SSLContext | None, ca: str = "") -> Iterator[tuple[str, Transport]]:
    with Scripted(lambda _: (200, {}, b"{}"), tls=context) as server:
        endpoint = Endpoint(host=server.host, ca=(ca,) if ca else ())
        with closing(Transport(endpoint, wait=lambda _: None)) as made:
            yield server.host, made


def ask(made: Transport) -> int:
    return made.send("GET", f"{made.base()}/").status


def test_company_authority_is_taken(authority: Authority) -> None:
    with transport(authority.signs(), str(authority.file)) as (_, made):
        assert ask(made) == 200


def test_all_else_is_still_checked() -> None:
    context = tls.context_for(Endpoint(host="r.example"), foreign=False)
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN
    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("name", "days", "known", "said", "hint"),
    [
        ("IP:127.0.0.1", -1, True, "it has expired", "clock"),
        ("DNS:other.example", 2, True, "it is for another name than 127.0.0.1", "use the name"),
        ("IP:10.0.0.1", 2, True, "it is for another name than 127.0.0.1", "use the name"),
        ("IP:127.0.0.1", 2, False, "its issuer is not known here", "certs.d/{host}/ca.crt"),
    ],
    ids=["expired", "name", "address", "issuer"],
)
def test_what_is_wrong_is_told_apart(
    authority: Authority, name: str, days: int, known: bool, said: str, hint: str
) -> None:
    context = authority.signs(name, days)
    with transport(context, str(authority.file) if known else "") as (host, made):
        with pytest.raises(Fault, match="certificate cannot be verified: ") as caught:
            ask(made)
        assert said in caught.value.message
        assert hint.format(host=host) in caught.value.hint
        assert "_ssl.c" not in caught.value.message
        assert caught.value.tries == 1


def test_certificate_is_told_at_once_where_plain_http_is_reset(authority: Authority) -> None:
    waits: list[float] = []
    with Scripted(lambda _: (200, {}, b"{}"), tls=authority.signs()) as server:
        home = default_endpoint(server.host)
        assert home.schemes == ("http", "https")
        with closing(Transport(home, wait=waits.append)) as made, pytest.raises(Fault, match="certificate"):
            made.base()
        assert waits == []
        with closing(Transport(replace(home, ca=(str(authority.file),)))) as made:
            assert made.base() == f"https://{server.host}/v2"


def test_plain_http_is_told_with_its_flag() -> None:
    with transport(None) as (host, made):
        with pytest.raises(NetworkFault, match="does not speak TLS") as caught:
            ask(made)
        assert f"--insecure-registry {host}" in caught.value.hint
        assert "_ssl.c" not in caught.value.message


def test_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("nothing")
    for name in ("ca.crt", "missing.crt"):
        with transport(None, str(tmp_path / name)) as (_, made), pytest.raises(RegistryError) as caught:
            ask(made)
        assert name in caught.value.message
        assert "_ssl.c" not in caught.value.message
        assert "Errno" not in caught.value.message


def test_files_of_add_are_fetched_from_a_company_too(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with (
        Scripted(lambda _: (200, {}, b"data"), tls=authority.signs()) as server,
        Store(tmp_path / "store") as store,
    ):
        assert http.fetch_url(f"https://{server.host}/file", store).size == 4
        monkeypatch.delenv("SSL_CERT_FILE")
        with pytest.raises(ContextError, match="its issuer is not known here"):
            http.fetch_url(f"https://{server.host}/other", store)


def test_scheme_in_capitals_is_checked_as_well(authority: Authority) -> None:
    with transport(authority.signs()) as (host, t), pytest.raises(Untrusted, match="cannot be verified"):
        t.send("GET", f"HTTPS://{host}/v2/")
