"""Planted bugs: platforms that are the oracle but for one mistake, which the suite must find.

A suite that lets one of them through proves nothing about the platforms it passes.
`planted` has the mistakes, `hunt` lets the cases loose on them.
"""
