"""From a Dockerfile to a graph of steps: stages, variables, lints; instructions become ops."""
