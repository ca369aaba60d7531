"""A whole machine in QEMU: its image, what a boot of it will measure, and boots that are attested."""
