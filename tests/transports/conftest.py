"""The kitchen is at hand in these tests, and the registries of tests/registry."""

from tests.kitchen import kitchen
from tests.registry.conftest import (
    docker_registry,
    docker_registry_htpasswd,
    docker_registry_tls,
    embedded_registry,
    other,
    proxy,
    registry,
    registry_certificate,
    registry_htpasswd,
    store,
)  # fmt: skip

__all__ = [
    "docker_registry", "docker_registry_htpasswd", "docker_registry_tls", "embedded_registry", "kitchen",
    "other", "proxy", "registry", "registry_certificate", "registry_htpasswd", "store",
]  # fmt: skip
