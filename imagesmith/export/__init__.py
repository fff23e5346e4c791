"""What a finished image is turned into: an archive, a folder, a name in the store or in a registry."""
