"""What everything stands on: checks, threads, trees, tables, files, linear algebra."""
