DROP FUNCTION {push_packed}(jsonb[], uuid[]);
DROP FUNCTION {new_id}();
