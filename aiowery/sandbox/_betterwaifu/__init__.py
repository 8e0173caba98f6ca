"""The sandbox's BetterWaifu: state and routes."""
