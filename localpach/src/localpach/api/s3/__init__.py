"""PFS as object storage, by the S3 API: what Pachyderm calls its S3 gateway."""
