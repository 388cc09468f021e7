"""The plugins that chancy ships, each found by its entry point like anybody's."""
