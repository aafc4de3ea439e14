"""What both ends agree on, as pure code: how a reading gets its id, and what it is called on the wire."""
