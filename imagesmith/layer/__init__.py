"""Layers as tar streams: written as BuildKit writes them, read as if every one were hostile."""
