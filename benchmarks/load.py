"""Loading: from files to placed weights, against a plain loop that reads the files.

    python benchmarks/load.py --model SmolLM2-135M-Instruct --out benchmarks/results/load.json

`--made-gb` writes a checkpoint of random bfloat16 weights of that size in a folder of its own, and
removes it afterwards. `warm` files are in the page cache, `cold` ones were dropped from it, for the
loops too. Each run is a process of its own, so that its peak of memory is its own: what it grew by
while loading, mapped files included. `seconds` begin with the path and end when the last weight is
placed and packed for its kernel; imports and opening the device come before, and are in what counts
from the start of the process. Processor seconds are those of all threads, and say something also
where others use the machine.

There are three loops. One reads into a buffer that it uses again, which is as fast as files can be
read. One keeps what it reads, in memory that the system has to find and clear first, as weights
must be kept: whoever copies weights cannot be faster. The last touches as much new memory once and
reads nothing. The loops that keep are a process of their own as well, and everything starts some
seconds after what was before: memory that was free for a moment only is quicker than any that has
to be found, above all in a virtual machine, whose host takes back what is free.

Linux only. Knows nothing of compiling or warming up.
"""

from __future__ import annotations

import argparse
import json
import mmap
import multiprocessing
import os
import struct
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import quiet

from octavo.graph.passes import optimised
from octavo.models.decoder import Limits
from octavo.models.registry import family
from octavo.weights import find
from octavo.weights.load import from_checkpoint, load
from octavo_platforms import bind, discover
from octavo_platforms.capabilities import DeviceSettings

LIMITS = Limits(max_step_tokens=512, max_requests=16, max_blocks=64, block_size=16)
CHUNK_BYTES = 8 << 20
ALLOWED_BYTES = 300_000_000
SETTLED_S = 5.0
WIDTH, FFN, HEADS, VOCAB = 2048, 8192, 16, 32000


def read_rate(files: list[Path], clock: Callable[[], float] = time.perf_counter) -> float:
    """Read files from end to end into one buffer; gives bytes a second."""
    buffer, read = bytearray(CHUNK_BYTES), 0
    began = clock()
    for path in files:
        descriptor, at = os.open(path, os.O_RDONLY), 0
        while count := os.preadv(descriptor, [buffer], at):
            at += count
        os.close(descriptor)
        read += at
    return read / (clock() - began)


def kept_rate(files: list[Path]) -> float:
    """Read files from end to end into memory that is kept; gives bytes a second."""
    kept: list[npt.NDArray[np.uint8]] = []
    began = time.perf_counter()
    for path in files:
        descriptor, at, size = os.open(path, os.O_RDONLY), 0, path.stat().st_size
        while at < size:
            kept.append(np.empty(min(CHUNK_BYTES, size - at), np.uint8))
            at += os.preadv(descriptor, [kept[-1].data], at)
        os.close(descriptor)
    return sum(map(len, kept)) / (time.perf_counter() - began)


def drop(files: list[Path]) -> None:
    """Drop files from the page cache."""
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def prepare(files: list[Path], is_cold: bool) -> None:
    """Drop files or read them, and wait until what others left is no longer at hand."""
    (drop if is_cold else read_rate)(files)
    time.sleep(SETTLED_S)


def new_rate(num_bytes: int) -> float:
    """Touch each page of new memory once; gives bytes a second."""
    began = time.perf_counter()
    with mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        for start in range(0, num_bytes, mmap.PAGESIZE):
            memory[start] = 1
    return num_bytes / (time.perf_counter() - began)


def files_of(model: str) -> list[Path]:
    """Give the files that hold a model's weights."""
    path = Path(model)
    return sorted(path.glob("*.safetensors")) if path.is_dir() else [path]


def kept(model: str, is_cold: bool) -> dict[str, float]:
    """Read a model's files once, in this process, and keep what was read."""
    files = files_of(model)
    prepare(files, is_cold)
    rate = kept_rate(files)
    time.sleep(SETTLED_S)
    new = new_rate(sum(path.stat().st_size for path in files))
    return {"GB/s of a loop that keeps": rate / 1e9, "GB/s of new memory": new / 1e9}


def measured(model: str, device: str, is_cold: bool) -> dict[str, float]:
    """Load a model once, in this process."""
    platform = discover.load(device)
    context = platform.open_device((0,), DeviceSettings())
    memory = platform.make_memory(context)
    opened_s = _age_s()
    files = files_of(model)
    prepare(files, is_cold)
    rates = [read_rate(files)]
    prepare(files, is_cold)
    before = _kib("VmRSS")
    began, began_cpu = time.perf_counter(), time.process_time()
    checkpoint = find(model)
    own = family(checkpoint.config)
    program = own.program(own.spec(checkpoint.config), dtype="bfloat16", limits=LIMITS)
    program = optimised(from_checkpoint(program, checkpoint), one_step=False)
    binding = bind(program, platform, context)
    bound_s = time.perf_counter() - began
    weights = load(program, binding, checkpoint, memory)
    took_s, took_cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
    peak_bytes = (_kib("VmHWM") - before) * 1024
    prepare(files, is_cold)
    rates.append(read_rate(files))
    sizes = [weight.num_bytes for weight in program.weights]
    assert len(weights) == len(sizes)
    file_bytes = sum(path.stat().st_size for path in files)
    rate = file_bytes / (took_s - bound_s)
    return {
        "seconds": took_s,
        "seconds from the start of the process": opened_s + took_s,
        "seconds before placing": bound_s,
        "processor seconds": took_cpu_s,
        "processor seconds of a read loop": file_bytes / read_rate(files, time.process_time),
        "file GB/s while placing": rate / 1e9,
        "GB/s of a read loop": sum(rates) / 2e9,
        "share of the read loop": 2 * rate / sum(rates),
        "peak over what is allowed": peak_bytes / (sum(sizes) + 2 * max(sizes) + ALLOWED_BYTES),
    }


def write_random(folder: Path, num_bytes: int) -> None:
    """Write a Llama of about so many bytes, in bfloat16, in one file."""
    embedding = VOCAB * WIDTH * 2
    layer = (2 * WIDTH * WIDTH + 2 * WIDTH * WIDTH + 3 * WIDTH * FFN + 2 * WIDTH) * 2
    layers = max(1, (num_bytes - 2 * embedding) // layer)
    shape_of: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCAB, WIDTH)}
    for number in range(layers):
        place = f"model.layers.{number}."
        for name in ("input_layernorm", "post_attention_layernorm"):
            shape_of[f"{place}{name}.weight"] = (WIDTH,)
        for name in "qkvo":
            shape_of[f"{place}self_attn.{name}_proj.weight"] = (WIDTH, WIDTH)
        shape_of[f"{place}mlp.gate_proj.weight"] = (FFN, WIDTH)
        shape_of[f"{place}mlp.up_proj.weight"] = (FFN, WIDTH)
        shape_of[f"{place}mlp.down_proj.weight"] = (WIDTH, FFN)
    shape_of["model.norm.weight"] = (WIDTH,)
    shape_of["lm_head.weight"] = (VOCAB, WIDTH)
    _write(folder / "model.safetensors", shape_of)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": VOCAB,
        "hidden_size": WIDTH,
        "intermediate_size": FFN,
        "num_hidden_layers": layers,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": False,
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def _write(path: Path, shape_of: Mapping[str, tuple[int, ...]]) -> None:
    header, at = {}, 0
    for name, shape in shape_of.items():
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    # Numbers of either sign around 0.02, so that none of them is infinite or no number.
    random = np.random.default_rng(0).integers(0, 1 << 16, CHUNK_BYTES, dtype=np.uint16)
    block = ((random & 0x81FF) | 0x3C00).astype(np.uint16).tobytes()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for start in range(0, at, len(block)):
            file.write(block[: at - start])


def _kib(name: str) -> int:
    text = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(text.partition(f"{name}:")[2].split()[0])


def _age_s() -> float:
    """Give the seconds since this process was started."""
    fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    started_s = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started_s


def _apart(
    measure: Callable[..., dict[str, float]], *args: object
) -> Callable[[int], Mapping[str, float]]:
    """Measure in a process of its own, which comes to its own end and so gives back what it has."""

    def run(_: int) -> Mapping[str, float]:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            return pool.submit(measure, *args).result()

    return run


def main() -> None:
    """Measure until enough runs were quiet; write their medians as JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", action="append", default=[], help="a folder with safetensors, or a .gguf file"
    )
    parser.add_argument("--made-gb", type=float, default=0.0, help="size of a checkpoint to make")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--attempts", type=int, default=6)
    parser.add_argument("--out", type=Path, help="write the numbers here, as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        peers: dict[str, Callable[[int], Mapping[str, float]]] = {}
        models = {Path(model).name: model for model in args.model}
        if args.made_gb:
            write_random(Path(folder), int(args.made_gb * 1e9))
            models[f"random, {args.made_gb:g} GB"] = folder
        for name, model in models.items():
            for state in ("warm", "cold"):
                is_cold = state == "cold"
                peers[f"{name}, {state}"] = _apart(measured, model, args.device, is_cold)
                peers[f"{name}, {state}, kept"] = _apart(kept, model, is_cold)
        runs = quiet.alternate(peers, runs=args.runs, attempts=args.attempts)
    found = {
        name: {key: round(quiet.summary(each, key)["median"], 3) for key in each[0].figures}
        for name, each in runs.items()
    }
    for name in [name for name in found if f"{name}, kept" in found]:
        loop = found.pop(f"{name}, kept")
        share = found[name]["file GB/s while placing"] / loop["GB/s of a loop that keeps"]
        found[name] |= {**loop, "share of the loop that keeps": round(share, 3)}
    print(json.dumps(found, indent=1))
    what = (
        "from a path to placed and packed weights, and `kept`, a loop that reads the files and "
        f"keeps them; medians of {args.runs} processes on the platform '{args.device}'"
    )
    others = {name: [round(run.others, 3) for run in each] for name, each in runs.items()}
    quiet.write(args.out, what, {"others": others, **found})


if __name__ == "__main__":
    main()
