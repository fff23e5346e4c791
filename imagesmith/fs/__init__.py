"""File systems as values: entries, views of stacked layers, and safe access below a root."""
