"""What the commands share; one subject a module."""
