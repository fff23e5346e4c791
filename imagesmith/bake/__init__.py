"""Bake and compose files: from their text to the targets that are built."""
