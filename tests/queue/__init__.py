"""Tests of the submission queue, its state file and the circuit breaker."""
