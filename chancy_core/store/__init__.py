"""The only code that knows our tables and columns.

`statements` makes SQL statements as values, `rows` reads what comes back, and `store` runs them on
a pool and knows what to do when a commit is in doubt or a value is refused. Only `store` loads the
database driver.
"""
