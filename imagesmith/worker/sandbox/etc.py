"""The /etc/hosts and /etc/resolv.conf that a step sees.

Spec: BuildKit's executor/oci/hosts.go and resolvconf.go: a step shares the machine's network, so its name
servers stay as they are, those on the loopback address too.
Trust: name servers are the machine's; hosts are the user's own word.
"""

from __future__ import annotations

from pathlib import Path

from imagesmith.interfaces import Mount, RunSpec

__all__ = ["etc_files"]


def etc_files(spec: RunSpec) -> tuple[Mount, Mount]:
    """The two files, as mounts."""
    rows = [("127.0.0.1", f"localhost {spec.hostname}"), ("::1", "localhost ip6-localhost ip6-loopback")]
    rows += [(address, name) for name, address in spec.hosts]
    hosts = "".join(f"{address}\t{names}\n" for address, names in rows).encode()
    return _file("/etc/hosts", hosts), _file("/etc/resolv.conf", _resolvers())


def _file(target: str, data: bytes) -> Mount:
    return Mount(kind="file", target=target, data=data, mode=0o644, readonly=True)


def _resolvers() -> bytes:
    for path in ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"):
        try:
            found = Path(path).read_bytes()
        except OSError:
            continue
        if found.strip():
            return found
    return b"nameserver 8.8.8.8\nnameserver 8.8.4.4\n"  # what Docker gives where the machine has none
