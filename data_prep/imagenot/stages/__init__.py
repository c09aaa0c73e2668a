"""The stages of a build, in order: classes, match, score, select, download, clean, write.

Each has ``run``; those that go by shards have ``shards`` too.
"""
