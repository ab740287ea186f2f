"""The two roads: an architecture that is built, and one that only the platform can run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from octavo.errors import DeviceError, ModelError
from octavo.fit import Window
from octavo.models.decoder import Limits
from octavo.models.family import Family
from octavo.roads import Bound, GraphRoad, Road, Site, road, weight_bytes
from octavo.testing.loaded import byte_tokenizer
from octavo.testing.random_weights import RandomWeights
from octavo.testing.toys import llama, recurrent, windows
from octavo.weights.find import Checkpoint
from octavo_platforms import bind, discover
from octavo_platforms.capabilities import DeviceSettings, PlatformInfo
from octavo_platforms.errors import CannotLoad, CannotStart
from octavo_platforms.foreign import ForeignAttention, ForeignModel, ForeignSpec
from octavo_platforms.hooks import hookimpl
from octavo_platforms.loaded import Platform
from octavo_platforms.platform import Program, Unsupported
from octavo_platforms.recipes import Take
from octavo_platforms.specs import CompileSpec

HERE = __name__.partition(".")[0]
LIMITS = Limits(max_step_tokens=8, max_requests=2, max_blocks=4, block_size=16)
OWN = {"architectures": ["OwnForCausalLM"], "dtype": "float16"}


class Foreign:
    """A platform that runs one architecture with code of its own."""

    def __init__(self, error: Exception) -> None:
        self.specs: list[CompileSpec] = []
        self._error = error

    @hookimpl
    def platform_info(self) -> PlatformInfo:
        return PlatformInfo(name="acme", device="none", vendor="none", dtypes=("float16",))

    @hookimpl
    def bind_model(self, spec: ForeignSpec) -> ForeignModel | Unsupported:
        if spec.config != OWN:
            return Unsupported("it runs OwnForCausalLM alone")
        return ForeignModel(
            name="OwnForCausalLM",
            words="acme's own code",
            vocab_size=8,
            max_context_tokens=64,
            num_weights=100,
            attention=ForeignAttention(
                layers=3, num_heads=6, num_kv_heads=2, head_width=4, scale=0.25
            ),
            load=self._load,
        )

    def _load(self, spec: CompileSpec) -> Program:
        self.specs.append(spec)
        raise self._error


def site_of(plugin: object | None = None) -> Site:
    """Open the oracle, and put a plugin's hooks there instead where one is given."""
    oracle = discover.load("oracle")
    context = oracle.open_device((0,), DeviceSettings())
    platform = oracle if plugin is None else Platform(plugin)
    return Site(platform, context, oracle.make_memory(context))


def checkpoint(**config: object) -> Checkpoint:
    return Checkpoint(
        name="own",
        path=Path("own"),
        format="safetensors",
        config=config,
        generation={},
        source=RandomWeights(llama.program(llama.spec())),
        recipe=Take,
        tokenizer=byte_tokenizer,
    )


def test_what_is_built_goes_as_a_graph_whatever_the_platform_offers() -> None:
    config = {"architectures": ["LlamaForCausalLM"], "vocab_size": 11, "hidden_size": 8}
    sizes = {"intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    rest = {"rms_norm_eps": 1e-5, "max_position_embeddings": 32}
    taken = road(checkpoint(**config, **sizes, **rest))(site_of(Foreign(CannotLoad("never"))))
    assert taken.words == "as the graph of the family 'llama'"
    assert taken.vocab_size == 11


def foreign_road(plugin: Foreign) -> Road:
    return road(checkpoint(**OWN))(site_of(plugin))


def test_a_foreign_model_is_counted_by_what_its_platform_says() -> None:
    taken = foreign_road(Foreign(CannotLoad("never")))
    assert "without a graph: acme's own code" in taken.words
    assert taken.facts.kv_numbers == 2 * 3 * 2 * 4
    assert (taken.facts.dtype, taken.facts.max_context_tokens) == ("float16", 64)
    assert weight_bytes(taken.facts, "float16") == 200


@pytest.mark.parametrize(
    ("error", "expected"), [(CannotLoad("bent"), ModelError), (CannotStart("bent"), DeviceError)]
)
def test_an_error_while_loading_says_who_can_mend_it(
    error: Exception, expected: type[Exception]
) -> None:
    plugin = Foreign(error)
    taken = foreign_road(plugin)
    program = taken.program(dtype="float16", limits=LIMITS)
    oracle = site_of()
    binding = bind(program, oracle.platform, oracle.context)
    with pytest.raises(expected, match="bent"):
        taken.compiled(Bound(program, binding, {"kv": 5}), report=lambda line: None)
    (spec,) = plugin.specs
    assert (spec.num_blocks, spec.weights, spec.program) == ({"kv": 5}, {}, program)


def test_a_model_that_nobody_can_run_is_refused_with_what_is_built_and_why() -> None:
    open_road = road(checkpoint(architectures=["AlienForCausalLM"]))
    with pytest.raises(ModelError, match=r"AlienForCausalLM\) is not built. Built: Llama"):
        open_road(site_of())
    with pytest.raises(ModelError, match=f"{HERE}: it runs OwnForCausalLM alone"):
        open_road(site_of(Foreign(CannotLoad("never"))))


def test_what_a_family_does_not_have_goes_the_other_road_and_says_why() -> None:
    config = {"architectures": ["LlamaForCausalLM"], "vocab_size": 11, "hidden_size": 8}
    sizes = {"intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    rest = {"rms_norm_eps": 1e-5, "max_position_embeddings": 32, "hidden_act": "mish"}
    open_road = road(checkpoint(**config, **sizes, **rest))
    with pytest.raises(ModelError, match=r"'mish' is not built; known: .* And .*OwnForCausalLM"):
        open_road(site_of(Foreign(CannotLoad("never"))))
    with pytest.raises(ModelError, match="'vocab_size' has to be"):
        road(checkpoint(**{**config, "vocab_size": "11"}, **sizes, **rest))


def test_a_gguf_file_has_no_other_road() -> None:
    other = replace(checkpoint(**OWN), format="gguf")
    with pytest.raises(ModelError, match="is not built"):
        road(other)(site_of(Foreign(CannotLoad("never"))))


def test_a_state_that_is_a_requests_own_counts_for_the_request_and_not_for_its_positions() -> None:
    spec = llama.spec()
    family = Family("hybrid", ("Hybrid",), lambda config: spec, layer=recurrent.layer(ring=3))
    facts = GraphRoad(checkpoint(), family, spec, site_of()).facts
    assert facts.kv_numbers == 2 * spec.layers * spec.kv_heads * spec.head_width
    assert facts.seat_bytes == 3 * recurrent.memory("float32", ring=3).bytes_per_block
    assert facts.snapshot_bytes == recurrent.memory("float32", ring=3).bytes_per_block


def test_layers_with_a_window_are_counted_apart_from_those_that_see_everything() -> None:
    spec = llama.spec()
    family = Family("slides", ("Slides",), lambda config: spec, layer=windows.layer)
    facts = GraphRoad(checkpoint(), family, spec, site_of()).facts
    numbers = 2 * spec.kv_heads * spec.head_width
    assert facts.kv_numbers == numbers
    assert facts.windows == [Window(f"kv_{windows.WINDOW}", windows.WINDOW, numbers)]
