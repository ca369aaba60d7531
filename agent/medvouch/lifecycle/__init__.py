"""States of a device's life, its owners and its trust."""
