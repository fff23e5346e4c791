"""Where RUN steps run: the ways of keeping a step apart from the machine, chosen by what works."""
