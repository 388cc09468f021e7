-- All workers that have a row: those alive, those whose lease has run out, those declared dead.
SELECT id, name, hostname, pid, tags, started_at, expires_at, NOT dead AND expires_at >= {now}(),
       version, schema_version, settings::text, clock_offset, running::text, {now}(), faults::text
  FROM {workers} ORDER BY started_at, id
