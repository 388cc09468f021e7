-- Charge a queue's rate for the jobs that were begun behind its lock.
UPDATE {rates}
   SET tat = tat + %(count)s * rate_limit_window / rate_limit * interval '1 second'
 WHERE queue = %(queue)s
