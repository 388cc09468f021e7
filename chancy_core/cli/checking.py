"""`chancy check`: whether anything would keep it from working."""
