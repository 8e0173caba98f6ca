"""One frozen class per WeryAI endpoint."""
