"""One ledger record per submission: its steps, its cost, and the claims on batch entries."""
