"""Credentials for registries, read and kept where docker and podman read and keep them."""
