"""Tests of the pooled transport: raw servers on loopback, one fact of the wire each."""
