"""Toys on several ranks: what one process does, and mistakes that it can be told to make.

    together("octavo.testing.ranked:run", ranks=2, device="cpu", ...)

Each process drives its own engine with the same requests, so that what is compared is what
ranks compute together and nothing else. Logits are those after each token of a prompt.

Knows nothing of references; whoever asked holds the results against one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from octavo.graph.passes import sharded
from octavo.graph.passes.rewrite import Copy, each_graph
from octavo.graph.passes.shard import GROUP
from octavo.models.decoder import Limits
from octavo.models.spec import HeadNorms, Norms, NormSpec, Places, Scales
from octavo.sampling import SamplingParams
from octavo.testing.drive import generate, run_on, run_view
from octavo.testing.random_weights import RandomWeights
from octavo.testing.together import Json, Place
from octavo.testing.toys import experts, latent, llama, recurrent, windows
from octavo_platforms import discover
from octavo_platforms.capabilities import DeviceSettings
from octavo_platforms.graph import Graph, GraphWriter
from octavo_platforms.program import ProgramDef, WeightDef
from octavo_platforms.ranks import GroupSpec
from octavo_platforms.recipes import Once

LIMITS = Limits(max_step_tokens=32, max_requests=6, max_blocks=32, block_size=4)
NUM_BLOCKS = 160
CHUNK = 32
TEMPERATURES = (0.0, 1.0)

_SPEC = llama.spec()
_BESIDE = replace(
    _SPEC,
    activation="gelu",
    is_gated=False,
    is_parallel=True,
    mlp_bias=True,
    output_bias=True,
    norm=NormSpec("layer_norm", has_bias=True),
    head_norms=HeadNorms("own head"),
    places=Places(LIMITS.max_blocks * LIMITS.block_size),
)
_AROUND = replace(
    _SPEC,
    activation="relu2",
    norm=NormSpec(offset=1.0),
    norms=Norms(after_attention="after_attention", after_mlp="after_mlp"),
    head_norms=HeadNorms("row"),
    scales=Scales(embedding=3.0, residual=0.7, logits=0.5, attention_cap=2.0, logits_cap=8.0),
)
TOYS: Mapping[str, Callable[[], ProgramDef]] = MappingProxyType(
    {
        "llama": lambda: llama.program(_SPEC, limits=LIMITS),
        "one KV head": lambda: llama.program(replace(_SPEC, kv_heads=1), limits=LIMITS),
        "biased": lambda: llama.program(
            llama.spec(tied_embeddings=False, attention_bias=True), limits=LIMITS
        ),
        "side by side": lambda: llama.program(_BESIDE, limits=LIMITS),
        "norms around": lambda: llama.program(_AROUND, limits=LIMITS),
        "windows": lambda: windows.program(_SPEC, limits=LIMITS),
        "experts": lambda: experts.program(_SPEC, limits=LIMITS),
        "latent": lambda: latent.program(_SPEC, limits=LIMITS),
        "recurrent": lambda: recurrent.program(_SPEC, limits=LIMITS),
    }
)


@dataclass(frozen=True, slots=True)
class Mistake:
    """A way to get the view of a rank wrong."""

    view: Callable[[ProgramDef], ProgramDef] = lambda view: view
    number: Callable[[int], int] = lambda rank: rank


def run(
    place: Place,
    *,
    device: str,
    prompts: Sequence[Sequence[int]],
    max_tokens: int,
    seed: int,
    mistaken: str,
) -> Json:
    """Give each toy's logits after its first prompt, its greedy tokens and then its sampled ones.

    And the logits of one toy with each mistake.
    """
    found: dict[str, Json] = {}
    each = [
        SamplingParams(temperature=temperature, seed=seed, max_tokens=max_tokens)
        for temperature in TEMPERATURES
        for _ in prompts
    ]
    for index, (toy, write) in enumerate(TOYS.items()):
        program = write()
        settings = _settings(place, f"{index}")
        running = run_on(
            discover.load(device),
            program,
            RandomWeights(program),
            num_blocks=NUM_BLOCKS,
            settings=settings,
        )
        engine = running.engine(vocab_size=_SPEC.vocab_size)
        asked = [prompt for _ in TEMPERATURES for prompt in prompts]
        found[toy] = {
            "logits": running.logits(prompts[0], chunk=CHUNK).tolist(),
            "tokens": generate(engine, asked, each),
        }
        running.program.close()
    return {"toys": found, "mistakes": _mistaken(place, device, mistaken, prompts[0])}


def _mistaken(place: Place, device: str, toy: str, prompt: Sequence[int]) -> Json:
    found: dict[str, Json] = {}
    for index, (name, mistake) in enumerate(MISTAKES.items()):
        program = TOYS[toy]()
        ranks = tuple(range(place.ranks))
        right = GroupSpec(name=GROUP, members=ranks, rank=place.rank)
        running = run_view(
            discover.load(device),
            mistake.view(sharded(program, ranks=place.ranks)),
            RandomWeights(program),
            num_blocks=NUM_BLOCKS,
            settings=_settings(place, f"wrong-{index}"),
            groups=[right],
            numbers={GROUP: mistake.number(place.rank)},
        )
        found[name] = running.logits(prompt, chunk=CHUNK).tolist()
        running.program.close()
    return found


def _settings(place: Place, name: str) -> DeviceSettings:
    return DeviceSettings(
        threads=1,
        rank=place.rank,
        ranks=place.ranks,
        rendezvous=f"{place.rendezvous}-{name}",
    )


def _without_last_sum(view: ProgramDef) -> ProgramDef:
    return each_graph(view, _unsummed)


def _unsummed(graph: Graph) -> Graph:
    sums = [node for node in graph.nodes if node.op == "all_reduce"]
    copy = Copy(graph, GraphWriter())
    for node in graph.nodes:
        if node in sums[-1:]:
            copy.at[node.outputs[0]] = copy.at[node.inputs[0]]
        else:
            copy.node(node)
    return copy.finish()


def _with_biases_on_all(view: ProgramDef) -> ProgramDef:
    return replace(view, weights=tuple(_everywhere(weight) for weight in view.weights))


def _everywhere(weight: WeightDef) -> WeightDef:
    recipe = weight.recipe
    return replace(weight, recipe=recipe.part) if isinstance(recipe, Once) else weight


MISTAKES: Mapping[str, Mistake] = MappingProxyType(
    {
        "none": Mistake(),
        "one sum is missing": Mistake(view=_without_last_sum),
        "every rank adds the bias": Mistake(view=_with_biases_on_all),
        "both ranks have the first part": Mistake(number=lambda rank: 0),
    }
)
