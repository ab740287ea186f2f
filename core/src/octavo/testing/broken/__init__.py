"""Broken checkpoints, as data: what can be wrong with a file, and what is said of it.

`files` writes the checkpoints of a toy, `cases` lists the ways of breaking them, `loaded` has them
loaded, and `page` writes all of it down for people. To test a message, add a case: the test goes
through the list, and the page in docs/ is held against it.
"""
