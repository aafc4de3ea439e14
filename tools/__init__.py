"""What writes files of this repository from others, so that they can't drift apart: `make generate`."""
