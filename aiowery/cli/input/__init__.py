"""The input of a run: prompt files, request options, the table of request types."""
