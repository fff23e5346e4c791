"""Places that hold images beside registries: the store, layouts, archives; and how their names are read."""
