"""Tests of the provider BetterWaifu."""
