"""What every test shares: how long it may take, what it may skip, how hypothesis runs, a world of its own."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.patience import pytest_runtest_call, pytest_runtest_setup, pytest_runtest_teardown
from tests.skips import pytest_make_collect_report, pytest_runtest_makereport

__all__ = [
    "pytest_make_collect_report", "pytest_runtest_call", "pytest_runtest_makereport", "pytest_runtest_setup",
    "pytest_runtest_teardown",
]  # fmt: skip

settings.register_profile("home", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("home"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "home")


@pytest.fixture(autouse=True)
def own_world(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep a test away from the store, the credentials and the settings of whoever runs it."""
    home = tmp_path_factory.getbasetemp() / "home"
    home.mkdir(exist_ok=True)
    monkeypatch.setenv("HOME", str(home))
    for name in ("IMAGESMITH_ROOT", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "DOCKER_CONFIG",
                 "REGISTRY_AUTH_FILE", "IMAGESMITH_CONFIG", "SOURCE_DATE_EPOCH",
                 "BUILDKIT_DOCKERFILE_CHECK"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
