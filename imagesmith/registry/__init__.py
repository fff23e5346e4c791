"""Registries: HTTP, tokens, the distribution API, uploads, and transfers between places."""
