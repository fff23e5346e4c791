"""The local store: an OCI image layout, derived data of layers, and the cache database."""
