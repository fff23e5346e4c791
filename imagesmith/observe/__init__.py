"""What a build tells about itself: why a step ran, and a page with its timeline."""
