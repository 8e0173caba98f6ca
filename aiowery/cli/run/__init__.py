"""The run of requests: batches, single requests, and the files that they write."""
