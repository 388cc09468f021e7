"""PostgreSQL for asyncio and trio: psycopg 3, waiting through anyio. Knows nothing of jobs."""
