"""Trust in certificates: whom a connection believes, and what is wrong where it does not.

Why: Python 3.13 checks authorities more strictly than Go, curl and OpenSSL do as they come, and so refuses
many a company's own (one without key usage or key identifiers). That one check is left out; dates, names,
signatures and the chain up to a trusted authority are checked as ever.
Trust: the peer's certificate is hostile until it is checked; of what OpenSSL says only its number is used.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from imagesmith.errors import RegistryError

if TYPE_CHECKING:
    from imagesmith.registry.endpoint import Endpoint

__all__ = ["certificate_fault", "context_for", "trusting"]

#: OpenSSL's numbers (x509_vfy.h) of what is told apart.
_EXPIRED, _NOT_YET = 10, 9
_NAMES = frozenset({62, 63, 64})
_ISSUER = frozenset({2, 18, 19, 20, 21, 27})


def trusting() -> ssl.SSLContext:
    """A client's context that believes the system's authorities, or certifi's where it has none."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile or paths.capath:
        context = ssl.create_default_context()
    else:
        import httpx

        context = httpx.create_ssl_context()
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def context_for(endpoint: Endpoint, *, foreign: bool) -> ssl.SSLContext:
    """Trust for an endpoint, or for another host that it redirects to: no client certificate there.

    Raises:
        RegistryError: a file of certificates cannot be used.
    """
    context = trusting()
    if not endpoint.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    for file in endpoint.ca:
        try:
            context.load_verify_locations(cafile=file)
        except (OSError, ssl.SSLError) as e:
            raise RegistryError(f"{file}: cannot be used as a certificate authority: {_said(e)}") from e
    certificate, key = endpoint.client_cert
    if certificate and not foreign:
        try:
            context.load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as e:
            text = f"{certificate}, {key}: not a pair of certificate and key: {_said(e)}"
            raise RegistryError(text) from e
    return context


def _said(e: OSError) -> str:
    """What is wrong with a file, without OpenSSL's place of it."""
    if isinstance(e, ssl.SSLError):
        return (e.reason or "not in PEM form").lower().replace("_", " ")
    return (e.strerror or str(e)).lower()


def certificate_fault(e: ssl.SSLCertVerificationError, host: str) -> tuple[str, str]:
    """What is wrong with a host's certificate, and what to do."""
    number, said = e.verify_code, e.verify_message.rstrip(".")
    said = said[:1].lower() + said[1:] if said[1:2].islower() else said
    if number == _EXPIRED:
        return "it has expired", "the registry needs a new one; is this machine's clock right?"
    if number == _NOT_YET:
        return "it is not valid yet", "is this machine's clock right?"
    if number in _NAMES:
        return (
            f"it is for another name than {host.rpartition(':')[0] or host}",
            "use the name that the certificate has, or let the registry have one for this name",
        )
    if number in _ISSUER:
        return (
            f"its issuer is not known here ({said})",
            f"put its CA into /etc/containers/certs.d/{host}/ca.crt, or give --insecure-registry {host}",
        )
    return said, "see what `openssl s_client -connect` says of it"
