"""Graphs of models: written once by a model definition, rewritten by passes, counted, shown.

    models/<family>.py ──builder──> ProgramDef ──passes──> ProgramDef ──bind──> a platform

A feature that changes what is computed (merged projections, fused ops) is a pass here and
lives nowhere else. Everything is data: no pass opens a device or reads a weight. To test a
pass, run the program before and after it on the oracle platform.
"""
