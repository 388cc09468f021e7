-- Store many jobs at once, in line in the order in which they are given; none has a key or a time.
-- What they are called with comes last: an error of the server's shows how a row begins.
COPY {jobs} (id, queue, func, state, priority, max_attempts, at_most_once, exclusive, keep_result,
             limits, meta, args)
FROM STDIN
