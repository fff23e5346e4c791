"""Steps are executed once, or found in a cache; their layers are written."""
