"""The names of our tables, and how they get into a SQL text."""

import re

import attrs
from psycopg import sql

from chancy_core.errors import InvalidValue

_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]*")
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([a-z_][a-z0-9_]*)\}")


def _identifier(_: object, attribute: "attrs.Attribute[str]", value: str) -> None:
    if len(value) > 20 or not _IDENTIFIER.fullmatch(value):
        raise InvalidValue(f"{attribute.name} {value!r} must match [a-z_][a-z0-9_]*, at most 20")


@attrs.frozen
class Names:
    """Where our tables are: a schema, and a prefix before each name."""

    schema: str = attrs.field(default="public", validator=_identifier)
    prefix: str = attrs.field(default="chancy_", validator=_identifier)

    def render(self, text: str) -> str:
        """Replace `{word}` by the qualified name, `{schema}` by the schema, `{{` `}}` by braces."""

        def replace(found: re.Match[str]) -> str:
            word = found[1]
            if word is None:
                return found[0][0]
            if word == "schema":
                return sql.Identifier(self.schema).as_string(None)
            return sql.Identifier(self.schema, self.prefix + word).as_string(None)

        return _PLACEHOLDER.sub(replace, text)
