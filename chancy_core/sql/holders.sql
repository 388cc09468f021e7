-- Which live job holds each of these unique keys.
SELECT unique_key, id FROM {jobs} WHERE unique_key = ANY(ARRAY(SELECT unnest(%(keys)s::text[])))
