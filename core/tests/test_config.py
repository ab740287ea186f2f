"""Settings from the environment, and what they become on a model and a platform."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from octavo.amounts import parse_bytes, show_bytes
from octavo.config import Settings, from_environment
from octavo.errors import FitError, OperatorError
from octavo.fit import Window
from octavo.resolved import ModelFacts, PlatformFacts, resolve

MODEL = ModelFacts(dtype="bfloat16", max_context_tokens=1000, kv_numbers=100, num_weights=10_000)
ROOMY = PlatformFacts(
    name="acme", dtypes=("float32", "bfloat16"), free_bytes=1 << 40, shares_host_memory=False
)


def settings(**chosen: object) -> Settings:
    return replace(from_environment({}), **chosen)  # type: ignore[arg-type]


def test_the_environment_names_the_folders_and_the_key() -> None:
    found = from_environment(
        {"OCTAVO_HOME": "/o", "HF_HOME": "/h", "XDG_CACHE_HOME": "/x", "OCTAVO_API_KEY": "k"}
    )
    assert (found.cache_dir, found.hub_dir, found.api_key) == (Path("/o"), Path("/h/hub"), "k")


def test_the_narrower_variable_wins_over_the_wider_one() -> None:
    assert from_environment({"XDG_CACHE_HOME": "/x"}).cache_dir == Path("/x/octavo")
    assert from_environment({"XDG_CACHE_HOME": "/x"}).hub_dir == Path("/x/huggingface/hub")
    assert from_environment({"HF_HOME": "/h", "HF_HUB_CACHE": "/c"}).hub_dir == Path("/c")


@pytest.mark.parametrize(
    ("text", "count"),
    [("4096", 4096), ("1k", 1024), ("512m", 512 << 20), ("1G", 1 << 30), ("1.5GiB", 3 << 29)],
)
def test_sizes_are_read_with_their_letter(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "g", "1x", "one", "1gg", "inf", "nan"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(OperatorError, match="not a size"):
        parse_bytes(text)


def test_sizes_are_shown_with_their_unit() -> None:
    assert [show_bytes(n) for n in (12, 640 << 10, 3 << 29)] == ["12 bytes", "640 KiB", "1.5 GiB"]


@pytest.mark.parametrize(
    "chosen",
    [
        {"dtype": "int3"},
        {"max_requests": 0},
        {"port": 70_000},
        {"kv_cache_bytes": -1},
        {"scheduling_policy": "lifo"},
        {"watermark": 1.0},
        {"watermark": -0.1},
        {"prefill_interval": 0},
        {"long_prefill_tokens": -1},
        {"long_prefill_tokens": 8, "chunked_prefill": False},
    ],
)
def test_settings_that_nothing_could_mean_are_refused(chosen: dict[str, object]) -> None:
    with pytest.raises(OperatorError):
        settings(**chosen)


def test_the_checkpoints_dtype_is_taken_where_the_platform_has_it() -> None:
    assert resolve(settings(), MODEL, ROOMY).dtype == "bfloat16"
    narrow = replace(ROOMY, dtypes=("float32",))
    resolved = resolve(settings(), MODEL, narrow)
    assert resolved.dtype == "float32"
    assert "bfloat16" in resolved.why["dtype"]


def test_a_dtype_that_the_platform_lacks_is_refused_with_those_it_has() -> None:
    with pytest.raises(OperatorError, match="auto, float32, bfloat16"):
        resolve(settings(dtype="float16"), MODEL, ROOMY)


def test_with_enough_memory_every_request_has_its_whole_context() -> None:
    resolved = resolve(settings(max_requests=4), MODEL, ROOMY)
    assert resolved.max_context_tokens == 1000
    assert resolved.num_blocks == 4 * 63
    assert resolved.kv_cache_bytes == 4 * 63 * 16 * 100 * 2


def test_the_context_shrinks_to_the_cache_where_it_was_not_asked_for() -> None:
    resolved = resolve(settings(kv_cache_bytes=10 * 16 * 200), MODEL, ROOMY)
    assert (resolved.num_blocks, resolved.max_context_tokens) == (10, 160)
    assert "1000" in resolved.why["max_context_tokens"]


def test_an_asked_context_that_does_not_fit_is_refused_with_one_that_does() -> None:
    asked = settings(kv_cache_bytes=10 * 16 * 200, max_context_tokens=500)
    with pytest.raises(FitError, match="--max-model-len 160"):
        resolve(asked, MODEL, ROOMY)


def test_a_context_beyond_the_models_is_refused() -> None:
    with pytest.raises(OperatorError, match="at most 1000"):
        resolve(settings(max_context_tokens=1001), MODEL, ROOMY)


def test_weights_beyond_the_memory_are_refused_with_both_numbers() -> None:
    with pytest.raises(FitError, match=r"19\.5 KiB.*9\.77 KiB"):
        resolve(settings(), MODEL, replace(ROOMY, free_bytes=10_000))


def test_a_cache_beyond_the_memory_is_refused_with_one_that_fits() -> None:
    with pytest.raises(FitError, match="Give at most 30000"):
        resolve(settings(kv_cache_bytes=1 << 20), MODEL, replace(ROOMY, free_bytes=50_000))


def test_a_platform_on_host_memory_leaves_half_of_it() -> None:
    shared = replace(ROOMY, free_bytes=20_000 + 64_000, shares_host_memory=True)
    assert resolve(settings(), MODEL, shared).kv_cache_bytes == 32_000


@pytest.mark.parametrize("requests", [64, None])
def test_a_step_has_a_token_for_each_request_that_may_run(requests: int | None) -> None:
    resolved = resolve(settings(max_requests=requests, max_step_tokens=64), MODEL, ROOMY)
    assert resolved.max_requests == 64
    assert resolve(settings(max_requests=5000), MODEL, ROOMY).max_step_tokens == 5000
    with pytest.raises(OperatorError, match="--max-num-seqs"):
        resolve(settings(max_requests=65, max_step_tokens=64), MODEL, ROOMY)


def test_two_steps_are_in_flight_where_the_platform_takes_two_and_one_where_one_is_asked_for() -> (
    None
):
    def depth(offered: int, asked: int | None = None) -> int:
        takes = replace(ROOMY, max_in_flight=offered)
        return resolve(settings(max_in_flight=asked), MODEL, takes).max_in_flight

    assert [depth(1), depth(2), depth(4), depth(4, 3), depth(2, 1)] == [1, 2, 2, 3, 1]
    with pytest.raises(OperatorError, match=r"--max-in-flight is 3.*Give at most 2"):
        depth(2, 3)


def test_every_number_says_why() -> None:
    why = resolve(settings(), MODEL, ROOMY).why
    assert set(why) == {
        *("dtype", "block_size", "max_requests", "max_step_tokens", "num_blocks"),
        *("max_context_tokens", "max_in_flight"),
    }


def test_what_a_running_request_keeps_is_not_given_to_the_cache() -> None:
    tight = replace(ROOMY, free_bytes=4_000_000)
    plain = resolve(settings(max_requests=40), MODEL, tight)
    beside = resolve(settings(max_requests=40), replace(MODEL, seat_bytes=50_000), tight)
    lost_bytes = plain.kv_cache_bytes - beside.kv_cache_bytes
    assert plain.num_blocks is not None
    block_bytes = plain.kv_cache_bytes // plain.num_blocks
    assert abs(lost_bytes - 0.9 * 40 * 50_000) <= block_bytes
    with pytest.raises(FitError, match="what requests keep"):
        resolve(settings(max_requests=40), replace(MODEL, seat_bytes=100_000), tight)


WINDOWED = replace(MODEL, kv_numbers=20, windows=[Window("kv_64", 64, 80)])


def test_layers_with_windows_leave_room_for_longer_contexts() -> None:
    asked = settings(kv_cache_bytes=400 * 16 * 200, max_requests=8, max_step_tokens=64)
    plain, parted = (resolve(asked, model, ROOMY) for model in (MODEL, WINDOWED))
    assert (plain.num_blocks, plain.num_at_once) == (400, 6)
    assert parted.window_blocks == {"kv_64": 8 * (4 + 2) + 4}
    assert parted.num_at_once == 8
    assert parted.kv_cache_bytes <= 400 * 16 * 200
    assert (plain.window_blocks, plain.num_snapshots) == ({}, 0)


def test_states_are_kept_in_a_part_of_the_cache_unless_prefixes_are_not_remembered() -> None:
    hybrid = replace(MODEL, seat_bytes=1000, snapshot_bytes=1000)
    asked = settings(kv_cache_bytes=1 << 20, max_requests=8)
    assert resolve(asked, hybrid, ROOMY).num_snapshots == 32
    assert resolve(replace(asked, prefix_caching=False), hybrid, ROOMY).num_snapshots == 0
    tight = resolve(replace(asked, kv_cache_bytes=80_000), hybrid, ROOMY)
    assert tight.num_snapshots == 10
    assert tight.kv_cache_bytes <= 80_000


def test_a_window_without_room_for_a_step_is_refused_with_what_would_do() -> None:
    narrow = replace(MODEL, kv_numbers=0, windows=[Window("kv", 64, 100)])
    asked = settings(kv_cache_bytes=10 * 16 * 200, max_requests=2, max_step_tokens=512)
    with pytest.raises(FitError, match="--kv-cache-memory-bytes") as caught:
        resolve(asked, narrow, ROOMY)
    enough = int(str(caught.value).rsplit(maxsplit=1)[1].rstrip("."))
    assert resolve(replace(asked, kv_cache_bytes=enough), narrow, ROOMY).num_at_once >= 1
    assert resolve(replace(asked, max_step_tokens=32), narrow, ROOMY).num_at_once >= 1


def test_a_context_that_does_not_fit_is_refused_with_the_bytes_that_would_do() -> None:
    asked = settings(kv_cache_bytes=10 * 16 * 200, max_context_tokens=500)
    with pytest.raises(FitError) as caught:
        resolve(asked, MODEL, ROOMY)
    enough = int(str(caught.value).rsplit(maxsplit=1)[1].rstrip("."))
    assert resolve(replace(asked, kv_cache_bytes=enough), MODEL, ROOMY).num_at_once == 1
