"""The sandbox's HTTP application: requests, answers, files, counters."""
