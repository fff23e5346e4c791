"""What a build made, and images made of images."""
