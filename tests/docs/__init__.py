"""Tests of the code and links of README and docs."""
