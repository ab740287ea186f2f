"""What platforms on XLA share: every op in JAX, and an entry as one compiled program.

    platform = JaxPlatform(name="acme", device="acme", vendor="Acme", overrides=[...])

That object is a whole plugin. Importing this package imports no jax: that happens when a
device is opened, so that listing platforms stays cheap.

The life of a program here, and the rules for whoever overrides a kernel:

    compile    each entry is traced node by node (`entry`) into one function of
               (weights, states, buffers, inputs), which gives (outputs, states, buffers)
    buckets    a launch has one of a few shapes (`ladder`); each is compiled once, before the
               first request, by `warm_up` (`program`)
    launch     states and buffers are donated, so they are changed in place; the call returns
               before the device is done

- A kernel's `run` is traced: it is a pure function of JAX arrays, and no value is known in it.
- A kernel that writes gives a tuple: its outputs, then the new value of each input that it
  writes, in order. A state's value is the tuple of its planes.
- `prepare` is refused: what a kernel needs of a step it derives from its inputs.
- Each layer's planes are arrays of their own: stacked, they cost a second cache.

`platform` is XLA on the host's own processor. It exists to prove the base, and is never chosen
unasked. To test: run the conformance suite on it; a vendor's plugin differs by its kernels.
"""

from octavo_jax.platform import JaxPlatform
from octavo_platforms.ladder import Ladder

platform = JaxPlatform(
    name="jax",
    device="cpu",
    vendor="host",
    host_memory=True,
    tokens=Ladder(least=1, factor=4),
    rows=Ladder(least=1, factor=4),
)

__all__ = ["JaxPlatform", "Ladder", "platform"]
