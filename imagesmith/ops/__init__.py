"""The operations that make file systems, one file each."""
