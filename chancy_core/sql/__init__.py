"""The statements, one a file, each with a sentence on what it promises."""
