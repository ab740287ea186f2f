"""Ranks: one engine on several processes, and several engines that step together.

A rank is a process with its own share of a model on its own devices. What travels to it is not
a batch but what changed since the step before:

    scheduler ─> Step ─> Scribe ─> StepNote ═══ wire ═══> Replica ─> Step ─> Batch ─> launch
                                                                             (equal to the bit)

The leader (`leader`) owns the requests and starts the workers (`worker`); each worker keeps
seats, tables and a batch of its own, so a note is as long as what changed (`note`, `replica`).
Whether the ranks share features (`graph.passes.shard`) or follow one another as stages
(`graph.passes.stages`) makes no difference here: every rank hears every note, one answers.
Engines that share experts (`graph.passes.spread`), but no requests, have no leader: they agree on
each launch (`lockstep`, `waves`).

Nothing here waits without end: a worker that ends, or reports an error, ends the leader's step
with an error that names it; a leader that ends takes its workers along. Test all of it with real
processes; notes and replicas alone with random walks of a scheduler.

Knows no device and no framework: a worker builds its program by the name of a function.
"""
