"""What the pipeline asks of the world, as protocols: blobs, events, status, jobs."""
