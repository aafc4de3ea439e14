"""Answers of the REST API. Times are milliseconds since the epoch; shares are between 0 and 1, or null while unknown."""
