-- A worker's incarnation begins: its row is its lease, good for `lease` seconds.
INSERT INTO {workers} (id, name, hostname, pid, tags, expires_at)
VALUES (%(id)s, %(name)s, %(hostname)s, %(pid)s, %(tags)s,
        {now}() + %(lease)s * interval '1 second')
