"""Algorithms, signers, X.509 profiles and the checking of TPM-signed structures."""
