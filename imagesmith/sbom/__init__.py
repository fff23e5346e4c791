"""What software an image holds, read from its layers, and which layer brought each part."""
