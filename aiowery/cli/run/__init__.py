"""Running requests from the command line: batch and single runs, manifest, saved files, signals."""
