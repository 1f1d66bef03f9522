"""What a run has made, fetched and shown."""
