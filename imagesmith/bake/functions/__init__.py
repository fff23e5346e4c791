"""The functions that bake files may call, by topic; `table` has them all by name."""
