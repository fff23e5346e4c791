"""imagesmith: build images from Dockerfiles and speak to OCI registries, without a daemon."""

__version__ = "0.1.0"
