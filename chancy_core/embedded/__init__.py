"""Start or join a PostgreSQL server that comes out of a wheel. Knows nothing of jobs."""
