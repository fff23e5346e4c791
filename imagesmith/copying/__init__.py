"""Copies as users ask for them: two sides, many tags, lists, other compressions, artifacts."""
