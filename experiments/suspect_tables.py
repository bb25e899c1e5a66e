"""Rows of the table of results that say which suspects are reached: files, services, buckets."""

from figures import result, row, rows_of, source, there


def suspect_rows() -> list[str]:
    """Of the experiments on suspects that have a result."""
    made = {
        "real_zoo": form_rows,
        "onnx_exports": onnx_rows,
        "torch_families": torch_rows,
        "hub_cache": cache_rows,
        "real_files": real_rows,
        "hostile_zoo": hostile_rows,
        "services": service_rows,
        "bucket_audit": bucket_rows,
    }
    return rows_of(made)


def form_rows() -> list[str]:
    figures = result("real_zoo")
    most = max(max(found.values()) for found in figures["queries"].values())
    return [
        row(
            f"a marked network in {len(figures['queries'])} forms and {len(figures['alone'])} preparations of pixels",
            f"{figures['copies'] - len(figures['missed'])} of {figures['copies']} are matches",
            f"at most {most} queries; strangers in those forms that are a match: {len(figures['false'])}",
            source("real_zoo"),
        )
    ]


def onnx_rows() -> list[str]:
    figures = result("onnx_exports")
    return [
        row(
            "exports of torchvision, timm and the ONNX model zoo that are read",
            f"{figures['read']} of {figures['files']}",
            f"largest difference from ONNX Runtime {figures['largest_difference']:.1g} of the largest score",
            source("onnx_exports"),
        )
    ]


def torch_rows() -> list[str]:
    figures = result("torch_families")
    worst = max(figures["families"].values(), key=lambda found: found["error"])
    return [
        row(
            "families of transformers, timm and torchvision read from the files of their own libraries",
            f"{figures['read']} of {figures['of']}; {figures['side_by_side']} of them side by side in one program",
            f"largest error {worst['error']:.1g} of the largest score, where PyTorch's own in float32 is "
            f"{worst['own_error']:.1g}",
            source("torch_families"),
        )
    ]


def cache_rows() -> list[str]:
    figures = result("hub_cache")
    return [
        row(
            f"audit of a Hugging Face cache of {figures['models']} models of 20 families, compiling included",
            f"{figures['seconds']:.0f} s",
            f"{len(figures['matched'])} matches of {len(figures['stolen'])} stolen ones"
            + (", the right ones" if figures["right"] else "; not the right ones")
            + f"; {len(figures['inconclusive'])} inconclusive",
            source("hub_cache"),
        )
    ]


def real_rows() -> list[str]:
    figures = result("real_files")
    plants = figures["plants"]["by_package"].values()
    found = [max(one["copy"].values(), key=lambda pair: float(pair["bits"])) for one in plants]
    right = sum(one["reading"].partition(",")[0] == one["right"] for one in plants)  # before the comma: which output
    most = sorted(pair["queries"] for pair in found)
    rows = [
        row(
            f"classifiers in public packages, a mark planted in each, {len(found)} files",
            f"{sum(pair['verdict'] == 'match' for pair in found)} a match, {right} under their right preparation",
            f"in {most[0]} to {most[-1]} queries",
            source("real_files", commit=figures["plants"]["commit"]),
        )
    ]
    for name, what in (("packages", "innocent files of public packages"), ("made", "innocents of real architectures")):
        own = figures[name]
        reached = ", ".join(
            f"{bits} bits by {share['pairs']} (at most {share['bound'] * own['pairs']:.0f} expected)"
            for bits, share in own["reached"].items()
            if bits in "135"
        )
        rows.append(
            row(
                f"{what}: {own['files']} files, {own['pairs']} pairs with keys",
                f"most evidence {own['most_bits']:.1f} bits of 20",
                f"ever reached: {reached}",
                source("real_files", commit=own["commit"]),
            )
        )
    return rows


def hostile_rows() -> list[str]:
    figures = result("hostile_zoo")
    return [
        row(
            f"files of all forms, damaged at random {figures['mutations']:,} times, that stop an audit",
            str(len(figures["stopped"])),
            f"at most {figures['peak_mib'] / 1024:.1f} GiB of memory, and {figures['slowest_audit_s']:.0f} s for a "
            "hundred folders",
            source("hostile_zoo"),
        )
    ]


_LOSSES = {
    "all scores": "all scores",
    "JPEG alone": "JPEG",
    "the best five": "the best five",
    "the best two": "the best two",
    "names of the best five": "names alone",
    "four decimals": "four decimals",
    "two decimals": "two decimals",
    "JPEG, five words, four decimals and 429 together": "JPEG, the best five, four decimals and HTTP 429 at once",
    "the same, and no --labels": "the same with unknown words",
}


def service_rows() -> list[str]:
    figures = result("services")
    servers = figures["servers"].values()
    found = sum(server["marked"]["judge"]["verdict"] == "match" for server in servers)
    cleared = sum(server["innocent"]["verdict"] == "no-match" for server in servers)
    most = max(server["marked"]["queries"] for server in servers)
    times = [way["ratio"] for server in servers for way in server.get("overhead", {}).values()]
    fastest = [way["undisturbed"] for server in servers for way in server.get("overhead", {}).values()]
    told = {name: figures["losses"]["unsure"][f"v1: {name}"] for name in _LOSSES}
    bits = ", ".join(f"{_LOSSES[name]} {told[name]['bits_of_100_triggers']:.0f}" for name in _LOSSES)
    last = told["the same, and no --labels"]
    return [
        row(
            "a marked network behind KServe (two protocols), Triton, MLServer, MLflow and Gradio",
            f"{found} of {len(servers)} are matches in at most {most} queries, and for the judge",
            f"{cleared} innocents cleared; asking takes {min(times):.2f} to {max(times):.2f} times as long as a bare "
            f"client by the median, {min(fastest):.2f} to {max(fastest):.2f} times in the fastest tenth",
            source("services"),
        ),
        row(
            f"bits of a network that learned {told['all scores']['matches_of_100']} of 100 labels, behind a service "
            "that tells less",
            bits,
            f"{told['all scores']['verdict']} after {told['all scores']['queries']} queries, at the last "
            f"{last['verdict']} after {last['queries']}",
            source("services"),
        ),
        *pair_rows(),
        *resized_rows(),
    ]


def pair_rows() -> list[str]:
    if not there("service_pairs"):
        return []
    figures = result("service_pairs")
    many, few = figures["many"], figures["few"]
    killed, resumed = many["runs"]
    seconds = killed["seconds"] + resumed["seconds"]
    peak, small = (max(run["peak_mb"] for run in each["runs"]) for each in (many, few))
    return [
        row(
            f"{many['pairs']:,} pairs at services that allow 100 requests at once, killed and resumed",
            f"{many['questions'] - many['answered']} questions lost, {many['answered_twice']} answered twice",
            f"{many['answered'] / seconds:.0f} answers a second, each on the disk; {peak} MB of memory, of "
            f"{few['pairs']:,} pairs {small}; {many['usually_at_once']} requests under way half of the time; "
            f"{many['came_twice']} were under way at the kill, and asked again",
            source("service_pairs"),
        )
    ]


def resized_rows() -> list[str]:
    if not there("resized"):
        return []
    figures = result("resized")
    schemes = [name for name in figures if name != "environment"]
    least, most = ({} for _ in range(2))
    for shape in ("8x8x3", "32x32x1", "16x16x1", "4x4x1"):
        counts = [figures[scheme][shape]["matches"] for scheme in schemes]
        least[shape], most[shape] = min(low for low, _ in counts), max(high for _, high in counts)
    kept = ", ".join(f"as {shape} {least[shape]} to {most[shape]}" for shape in least if least[shape] < most[shape])
    would = max(figures[scheme]["4x4x1"]["without_the_rule"].get("no-match", 0) for scheme in schemes)
    return [
        row(
            f"labels of {', '.join(schemes)} keys of 8x8x1 that an intact copy repeats, asked in another size",
            f"{kept} of 100; in three equal channels all",
            f"of 50 tries {would} would acquit it at 4x4x1, if altered triggers could clear anybody",
            source("resized"),
        )
    ]


def bucket_rows() -> list[str]:
    figures = result("bucket_audit")
    stores = {"s3": "moto", "gs": "gcp-storage-emulator", "s3_hadro": "hadro"}
    told = []
    for layout in ("safetensors", "onnx", "pack", "checkpoints"):
        found = figures[layout]
        shares = (
            f"{found[store]['speed']['median']:.2f} ({name}{_leaves(found[store]['at_most'])})"
            for store, name in stores.items()
            if store in found
        )
        told.append(f"{layout} {', '.join(shares)}")
    return [
        row(
            f"audit of {figures['models']} models in a bucket / in a folder, speed, stores on the same cores",
            "; ".join(told),
            f"{figures['bytes_of_one'] / 1e6:.1f} MB a model",
            source("bucket_audit"),
        )
    ]


def _leaves(most: float) -> str:
    """What a store allows, where that is less than .7 of the folder's speed."""
    return f", which allows {most:.2f}" if most < 0.7 else ""
