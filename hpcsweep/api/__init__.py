"""The Python API of docs/python.md, on what ``runs`` does; ``hpcsweep/__init__.py`` has the list of what is public."""
