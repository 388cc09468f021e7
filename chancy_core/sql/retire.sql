-- A worker leaves: its row goes.
DELETE FROM {workers} WHERE id = %(id)s
