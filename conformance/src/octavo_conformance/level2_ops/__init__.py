"""Level 2, the ops: each as a program of one node, against the oracle.

A node runs where a model's would: bound, placed, compiled and launched, so that platforms
which compile whole programs are tested as they are used. What states hold is written and
read back by launches of the same program. Positions reach 131071; blocks are permuted;
not-a-number stands wherever a kernel has no business.
"""
