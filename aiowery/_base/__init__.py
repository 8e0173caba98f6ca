"""Ground floor: small values and helpers that import nothing else of the library."""
