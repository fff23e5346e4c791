"""From a parsed Dockerfile to an image: stages, steps, cache, execution, commit."""
