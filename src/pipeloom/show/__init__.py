"""What people see: the console, the live screen, the report page and its pictures."""
