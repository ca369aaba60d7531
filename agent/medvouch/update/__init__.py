"""What may be installed, and how far an update has come: TUF and SUIT checks, admission, the A/B transition table."""
