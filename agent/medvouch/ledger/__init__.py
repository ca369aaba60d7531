"""The evidence chain of one device: statements, their Merkle tree, checkpoints and proofs."""
