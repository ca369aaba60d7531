"""The only core that joins others: a bundle of one device's whole life, verified offline."""
