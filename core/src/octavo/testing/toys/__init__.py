"""Toys: models small enough to run on the oracle, each written as real models are.

A toy is a spec or a few lines of graph, at most 80 lines, with random weights; what it
proves is said in its file.
"""
