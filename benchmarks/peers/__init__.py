"""Measure aiowery side by side with its peers: the same jobs, and one fake server with the protocols of all peers."""
