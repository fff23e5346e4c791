"""Who says what of an image: keys, signatures, policies; and an image held against what it was built from."""
