"""Programs written for Taskcluster, unmodified: only the root URL and the credentials are ours."""
