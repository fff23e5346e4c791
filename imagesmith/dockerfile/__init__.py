"""From the bytes of a Dockerfile to instructions: lines, grammar, words, checks."""
