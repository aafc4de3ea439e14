"""The wire contract that both ends share, as pure code: reading ids, CloudEvents names and source times."""
