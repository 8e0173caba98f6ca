"""The fake server: one world of tasks, and an adapter for each protocol in which it can be asked for."""
