"""The commands that read ledger entries and resolve doubts."""
