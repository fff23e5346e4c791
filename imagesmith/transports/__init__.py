"""An image somewhere: a registry, the store, a layout, an archive; and copies between any two."""
