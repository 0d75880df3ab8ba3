"""The bytes of artifacts: on local disk, or in an S3-compatible bucket. Knows nothing of tasks."""
