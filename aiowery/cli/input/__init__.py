"""What a run is asked to do: prompt files, request options, the table of request types."""
