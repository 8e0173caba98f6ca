"""The sandbox's WeryAI: state, routes and responses."""
