"""The kitchen is at hand in these tests."""

from tests.kitchen import kitchen

__all__ = ["kitchen"]
