"""The verb that attacks one's own run."""

import argparse
import json
from pathlib import Path

from wmjax import journal
from wmjax.cli.openers import unlock, use_all_cores
from wmjax.cli.terminal import note, say, worded


def attack(options: argparse.Namespace) -> int:
    """Tries to rid a run of its mark, and tells what is left."""
    journal.check_out(options.out, journal.ATTACK)
    use_all_cores()
    from wmjax.attacks.run import attack as try_attacks
    from wmjax.attacks.suite import make_suite
    from wmjax.files import check_room, write_bytes
    from wmjax.keys import open_key
    from wmjax.report.attack import attack_plots, attack_table, write_attack_report
    from wmjax.report.picture import write_picture

    make_suite(options.suite)  # a wrong name must not wait for the key
    key = open_key(options.key, unlock(options))
    check_room(options.out, 1 << 20)
    result = try_attacks(
        options.run,
        {Path(options.key).stem: key},
        options.suite,
        models=options.models,
        data=options.data,
        data_dir=options.data_dir,
        queries=options.queries,
        images=options.images,
        epochs=options.epochs,
        batch=options.batch,
        seed=options.seed,
        out=options.out,
        resume=options.resume,
        say=lambda message: note(worded(message, options)),
    )
    document = result.to_json()
    write_bytes(options.out / "attack.json", json.dumps(document).encode() + b"\n")
    write_attack_report(options.out / "report.html", result)
    if options.png:
        plots, gained = attack_plots(result)
        write_picture(options.png, [*plots, *([gained] if gained else [])])
    say(options, document, *attack_table(result), f"report: {options.out / 'report.html'}")
    return 0
