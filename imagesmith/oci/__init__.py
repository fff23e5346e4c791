"""Pure values of the OCI specifications: no I/O in here."""
