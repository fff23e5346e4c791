"""The kitchen is at hand in these tests, and the builds on top of busybox of tests/ops."""

from tests.kitchen import kitchen
from tests.ops.conftest import build, context, store

__all__ = ["build", "context", "kitchen", "store"]
