"""aiowery side by side with its peers: the same jobs, one fake server that speaks everybody's protocol."""
