"""`make generate`: writes files of this repository that are derived from others, so that they can't drift apart."""
