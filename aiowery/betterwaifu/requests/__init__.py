"""One frozen class per BetterWaifu endpoint."""
