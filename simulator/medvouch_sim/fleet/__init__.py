"""Many gateways at once: a real TPM each, the same agent, a few processes."""
