"""What each instruction does: to the image config, or to the file system."""
