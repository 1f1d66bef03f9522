"""Where output goes that leaves localpach: folders of this machine, and buckets of S3."""
