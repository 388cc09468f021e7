-- A worker's incarnation begins: its row is its lease, good for `lease` seconds. Its own clock is
-- written as the seconds by which it is ahead of the database's.
INSERT INTO {workers} (id, name, hostname, pid, tags, version, schema_version, settings,
                       clock_offset, expires_at)
VALUES (%(id)s, %(name)s, %(hostname)s, %(pid)s, %(tags)s, %(version)s, %(schema_version)s,
        %(settings)s::jsonb, %(clock)s::float8 - extract(epoch FROM {now}())::float8,
        {now}() + %(lease)s * interval '1 second')
