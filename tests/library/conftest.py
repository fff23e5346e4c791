"""The demo's base image is at hand in these tests."""

from tests.e2e.conftest import base_image

__all__ = ["base_image"]
