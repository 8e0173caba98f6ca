"""One ledger record per submission: its steps, what it costs, which entries are ours."""
