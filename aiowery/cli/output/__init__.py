"""What the command line shows: progress, tables, gallery, logs."""
