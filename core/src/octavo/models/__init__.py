"""Models: each family written once, as a graph, for every device.

    config.json ─family─> spec ─dense, decoder─> program ─naming─> recipes over the checkpoint

What families differ in is data: a config becomes a typed spec (reading, rope, spec), one writer
makes a layer of it (dense, norms) and another puts the embedding, the head and sampling around it
(decoder, choosing). A family's file says what is special about its configs, and what its
checkpoints call their weights (naming); the registry finds it by the architecture's name. No file
here knows a device, a framework or a file format.

To add a family: a file with its spec, a row in the registry, and rows in the table of the parity
tests, which compare it with Hugging Face transformers on tiny random checkpoints.
"""
