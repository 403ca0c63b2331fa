"""Everything that is displayed: the console, the live screen, the report page and its pictures."""
