"""Everything about the GPU in one go: speed against the bare products and other libraries, and how
far the results are from the CPU's.

    python benchmarks/speed/gpu.py                # under 5 minutes on one GPU; prints Markdown
    python benchmarks/speed/gpu.py --quick

Without a GPU it says so and ends with exit code 0.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from embedding import minilm_folder, sentence_transformer, sentences

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from measure import D, NotRunError, Row, compared, describe, interleaved, machine, points, table

from w2s_data import LinearProbe, NeighborIndex, OverlapDetector, TextEncoder
from w2s_data.compute.device import highest_precision
from w2s_data.compute.faiss import faiss_status, gpu_works
from w2s_data.features.matrix import ArrayFeatures
from w2s_data.finetune import fit_student
from w2s_data.groups.kmeans import kmeans
from w2s_data.overlap.alignment import MAX_ANCHORS, align, unit_rows

DEVICE = "cuda"
PRODUCT_ROWS = 65_536
PRECISIONS = ("float32", "tf32", "bfloat16")
Rows = list[Row]


def name() -> str:
    """The GPU's name, or an error that says there is none."""
    if not torch.cuda.is_available():
        raise NotRunError("torch sees no CUDA device")
    return torch.cuda.get_device_name()


def products(rows: torch.Tensor, bank: torch.Tensor, precision: str) -> None:
    """The bare products, of features that lie on the device already."""
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    rows, bank = rows.to(kind), bank.to(kind)
    out = torch.empty(PRODUCT_ROWS, bank.shape[1], dtype=kind, device=DEVICE)
    with highest_precision(rows.device, precision == "tf32"):
        for start in range(0, len(rows), PRODUCT_ROWS):
            part = rows[start : start + PRODUCT_ROWS]
            torch.mm(part, bank, out=out[: len(part)])
    torch.cuda.synchronize()


def alignment(quick: bool = False) -> Rows:
    """Aligning features in the host's memory, the copy included, against the bare products."""
    n = 50_000 if quick else 1_000_000
    source = ArrayFeatures(points(n)[0])
    anchors = unit_rows(source, np.random.default_rng(0).permutation(n)[:MAX_ANCHORS])
    bank = torch.as_tensor(anchors, device=DEVICE).T.contiguous()
    rows = torch.as_tensor(source.array, device=DEVICE)
    wanted = np.ones(n, dtype=bool)
    calls: dict[str, Callable[[], object]] = {
        precision: partial(
            align, source, wanted, anchors, top_share=0.2, device=DEVICE, precision=precision
        )
        for precision in PRECISIONS
    }
    calls |= {
        f"{precision} products": partial(products, rows, bank, precision)
        for precision in PRECISIONS
    }
    times = interleaved(calls, 5)
    size = f"{n:,} x {len(anchors):,} anchors x {D}"
    return [
        compared(
            f"alignment in {precision}, {size}",
            times[precision],
            f"bare {precision} products",
            times[f"{precision} products"],
        )
        for precision in PRECISIONS
    ]


def encoding(quick: bool = False) -> Rows:
    """MiniLM against sentence-transformers on the same GPU, in both precisions."""
    texts = sentences(2000 if quick else 20_000)
    folder = minilm_folder()
    rows = []
    for dtype in ("float32", "bfloat16"):
        theirs = sentence_transformer(folder, DEVICE)
        if dtype == "bfloat16":
            theirs = theirs.bfloat16()
        ours = TextEncoder(folder, device=f"{DEVICE}:0", dtype=dtype).fit(())
        for batch in (64, 512):
            calls = {
                "ours": partial(ours.encode, texts),
                "theirs": partial(theirs.encode, texts, batch_size=batch),
            }
            times = interleaved(calls, 3)
            what = f"encoding {len(texts):,} sentences, {dtype}"
            other = f"sentence-transformers, batch {batch}"
            row = compared(what, times["ours"], other, times["theirs"])
            rows.append(replace(row, size=len(texts)))
    return rows


def training(quick: bool = False) -> Rows:
    """A probe and heads against the CPU."""
    n = 20_000 if quick else 200_000
    rng = np.random.default_rng(0)
    features = points(n)[0]
    logits = features @ rng.normal(size=(D, 3))
    classes = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    proba = np.eye(3)[classes]

    def heads(device: str) -> object:
        options = {"epochs": 3, "seeds": 5, "batch_size": 512, "random_state": 0}
        return fit_student("naive", features, proba, device=device, **options)

    work: dict[str, Callable[[str], object]] = {
        f"probe, {n:,} x {D}, 3 classes": lambda device: LinearProbe(device=device).fit(
            features, classes
        ),
        f"5 heads, 3 epochs of {n:,} x {D}": heads,
    }
    return [against(what, call) for what, call in work.items()]


def searching(quick: bool = False) -> Rows:
    """Neighbours and k-means against the CPU."""
    if faiss_status()[1] == 0 or not gpu_works(0):
        return []
    n = 5000 if quick else 50_000
    features = points(n)[0]
    return [
        against(
            f"20 neighbours of each of {n:,} points",
            lambda device: NeighborIndex(device=device, random_state=0).fit(features).neighbors(20),
        ),
        against(
            f"k-means, {n:,} x {D}, 100 clusters",
            lambda device: kmeans(features, 100, device=device),
        ),
    ]


def against(what: str, call: Callable[[str], object]) -> Row:
    """A row of the same work on the GPU and on the CPU, one round after a warm-up of the GPU."""
    call(DEVICE)
    times = interleaved({d: partial(call, d) for d in (DEVICE, "cpu")}, 1, warm_up=False)
    return compared(what, times[DEVICE], "CPU", times["cpu"])


def measured(part: Callable[[bool], Rows], quick: bool) -> Rows:
    """The rows of one part, with the device named; what torch keeps of it is given back."""
    device = name()
    rows = [replace(row, device=device) for row in part(quick)]
    torch.cuda.empty_cache()
    return rows


PARTS: tuple[Callable[[bool], Rows], ...] = (alignment, encoding, training, searching)


def against_cpu(quick: bool = False) -> Rows:
    """All rows; the suite calls this."""
    return [row for part in PARTS for row in measured(part, quick)]


def differences(quick: bool = False) -> list[tuple[str, float, float]]:
    """Return names of computations, their largest difference to the CPU, and the tolerance."""
    n = 5000 if quick else 20_000
    features, proba = points(n)
    source = ArrayFeatures(features)
    anchors = unit_rows(source, np.random.default_rng(0).permutation(n)[:MAX_ANCHORS])
    wanted = np.ones(n, dtype=bool)
    exact = align(source, wanted, anchors, top_share=0.2, device="cpu")
    found = []
    for precision, tol in zip(PRECISIONS, (1e-4, 2e-3, 5e-3), strict=True):
        values = align(source, wanted, anchors, top_share=0.2, device=DEVICE, precision=precision)
        found.append((f"alignment in {precision}", values, tol))
    rows = [(what, float(np.abs(values - exact).max()), tol) for what, values, tol in found]
    one, other = (
        OverlapDetector(device=device, random_state=0).fit(features, proba)
        for device in ("cpu", DEVICE)
    )
    rows.append(("regions that differ", float((one.regions_ != other.regions_).mean()), 1e-3))
    classes = proba.argmax(axis=1)
    probes = [LinearProbe(device=d).fit(features, classes) for d in ("cpu", DEVICE)]
    here, there = (probe.predict_proba(features) for probe in probes)
    rows.append(("probabilities of a probe", float(np.abs(here - there).max()), 1e-5))
    students = [
        fit_student("naive", features, proba, epochs=3, random_state=0, device=device)
        for device in ("cpu", DEVICE)
    ]
    here, there = (student.predict_proba(features) for student in students)
    rows.append(("probabilities of a head", float(np.abs(here - there).max()), 1e-3))
    texts = sentences(500)
    exact = TextEncoder(minilm_folder(), device="cpu").encode(texts)
    for dtype, tolerance in (("float32", 1e-4), ("bfloat16", 5e-2)):
        vectors = TextEncoder(minilm_folder(), device=DEVICE, dtype=dtype).encode(texts)
        error = np.linalg.norm(vectors - exact, axis=1) / np.linalg.norm(exact, axis=1)
        rows.append((f"MiniLM vectors, {dtype}, of their length", float(error.max()), tolerance))
    if faiss_status()[1] and gpu_works(0):
        scores = [
            NeighborIndex(device=d).fit(features[:5000]).neighbors(10).scores
            for d in ("cpu", DEVICE)
        ]
        rows.append(("scores of neighbours", float(np.abs(scores[0] - scores[1]).max()), 1e-4))
        clusters = [kmeans(features, 20, device=device).inertia for device in ("cpu", DEVICE)]
        rows.append(("inertia of k-means, relative", abs(clusters[1] / clusters[0] - 1), 1e-2))
    return rows


def main() -> int:
    """Print the tables; exit code 1 if a result is too far from the CPU's."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="Small sizes.")
    quick = parser.parse_args().quick
    try:
        name()
    except NotRunError as error:
        print(f"nothing to measure: {error}")
        return 0
    print(describe(machine()), end="\n\n")
    found = differences(quick)
    print("| largest difference to the CPU | found | allowed | |\n|---|---|---|---|")
    for what, value, allowed in found:
        verdict = "ok" if value <= allowed else "TOO FAR"
        print(f"| {what} | {value:.1e} | {allowed:.0e} | {verdict} |")
    for part in PARTS:  # each as it is finished: a failure later on loses nothing
        print(f"\n{table(measured(part, quick))}", flush=True)
    return int(any(value > allowed for _, value, allowed in found))


if __name__ == "__main__":
    sys.exit(main())
