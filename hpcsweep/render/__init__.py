"""From settings and points to what is submitted: commands, task records, chunks and job scripts. Pure."""
