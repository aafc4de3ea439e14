"""What the service needs from outside, by peer and in the order of use. Each docstring states guarantee, failure and
idempotence.

All of them raise UnavailableError when they can't be used right now; the caller slows down and tries again.
"""
