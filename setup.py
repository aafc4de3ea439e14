"""Compiles the codec where there is a compiler; without one, Python does the same (below_sdk/native.py)."""

from setuptools import Extension, setup

BELOW_SDK = "dedup_service/adapters/eventhubs/below_sdk"
NATIVE = Extension(f"{BELOW_SDK.replace('/', '.')}._native", [f"{BELOW_SDK}/native.c"], optional=True)

setup(ext_modules=[NATIVE])
