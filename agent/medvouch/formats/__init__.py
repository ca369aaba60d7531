"""Bytes to frozen dataclasses and back; no keys, no I/O, no clock."""
