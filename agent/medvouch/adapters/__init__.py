"""One adapter per port: TSS TPM, log files, SQLite, paho."""
