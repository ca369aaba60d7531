"""medvouch vouches for medical gateways: what a device is, what it runs, how it got there and who answers for it."""

__version__ = "0.1.0"
