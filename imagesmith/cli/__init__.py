"""The command line: arguments in, events and errors out. Nothing below this package prints."""
