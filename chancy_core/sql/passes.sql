-- Whether a job passes a filter: a part of list_jobs, once for each filter of which one is put together.
(%(queue)s::text[] IS NULL OR queue = ANY(%(queue)s::text[]))
   AND (%(func)s::text[] IS NULL OR func = ANY(%(func)s::text[]))
   AND (%(state)s::text[] IS NULL OR state = ANY(%(state)s::text[]))
   AND (%(unique_key)s::text[] IS NULL OR unique_key = ANY(%(unique_key)s::text[]))
   AND (%(retrying)s::boolean IS NULL
        OR (attempts > 0 AND finished_at IS NULL) = %(retrying)s::boolean)
   AND (%(worker)s::uuid IS NULL OR worker = %(worker)s::uuid)
   AND (%(created_after)s::timestamptz IS NULL OR created_at > %(created_after)s::timestamptz)
   AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s::timestamptz)
   AND (%(meta)s::jsonb IS NULL OR meta @> %(meta)s::jsonb)
   AND (%(queue_like)s::text[] IS NULL OR queue ILIKE ANY(%(queue_like)s::text[]))
   AND (%(func_like)s::text[] IS NULL OR func ILIKE ANY(%(func_like)s::text[]))
   AND (%(older_than)s::float8 IS NULL
        OR extract(epoch FROM {now}() - created_at) > %(older_than)s::float8)
   AND (%(scheduled_after)s::timestamptz IS NULL
        OR scheduled_at > %(scheduled_after)s::timestamptz)
   AND (%(scheduled_before)s::timestamptz IS NULL
        OR scheduled_at < %(scheduled_before)s::timestamptz)
   AND (%(priority_from)s::integer IS NULL OR priority >= %(priority_from)s::integer)
   AND (%(priority_to)s::integer IS NULL OR priority <= %(priority_to)s::integer)
   AND (%(attempts_from)s::integer IS NULL OR attempts >= %(attempts_from)s::integer)
   AND (%(attempts_to)s::integer IS NULL OR attempts <= %(attempts_to)s::integer)
