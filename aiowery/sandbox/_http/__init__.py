"""The sandbox's HTTP application: requests, responses, files, counters."""
