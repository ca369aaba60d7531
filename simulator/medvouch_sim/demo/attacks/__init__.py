"""The attacks and faults of the demo.

Each acts on bytes, TPM commands, disks or sockets, and is expected to meet one code or to end in one way.
"""
