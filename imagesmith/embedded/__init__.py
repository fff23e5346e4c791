"""A small OCI registry that serves a folder: for tests, demonstrations, air-gapped work and as a cache.

Why: it stands beside the builder and shares no code with the client, so that the two can test each other.
"""
