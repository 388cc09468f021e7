-- With it go the triggers on the tables that were watched.
DROP FUNCTION {trigger_fired}() CASCADE;
DROP FUNCTION {trigger_install}(text);
DROP FUNCTION {trigger_remove}(bigint, text[]);
DROP TABLE {triggers};
