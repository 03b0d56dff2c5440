"""Methods that are not gradient plus optimizer."""
