"""The output of the command line: progress, tables, gallery, logs."""
