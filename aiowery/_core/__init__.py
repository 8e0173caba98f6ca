"""Values, policies and contracts, without I/O and without an event loop."""
