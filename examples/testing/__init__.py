"""An app and its tests: app.py is what is tested, test_app.py how.

python -m pytest examples/testing
"""
