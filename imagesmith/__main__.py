"""`python -m imagesmith`."""

from imagesmith.cli.main import run

if __name__ == "__main__":
    run()
