"""The services that the pipeline needs, as protocols: blobs, events, status, jobs."""
