"""The commands that read and settle ledger entries."""
