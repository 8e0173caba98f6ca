"""The programs of the peers, one each, which run in the peer's own environment."""
