"""An open client: configuration, verbs, and the runtime that connects all parts."""
