"""Models: each family written once, as a graph, for every device.

A checkpoint's config becomes a typed spec (spec), the family's file says what it does to rows
(llama), what families share stands beside it (decoder), and the registry finds the family by
the architecture's name (registry). No file here knows a device, a framework or a file format.
To test a family, compare it with Hugging Face transformers on a tiny random checkpoint.
"""
