"""Statements about images: which are asked for, what they say, how they are stored and read."""
