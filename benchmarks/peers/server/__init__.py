"""The fake server: one state with all tasks, and an adapter for each protocol."""
