"""The `ser` command: arguments in, exit status out. The work is done by the modules, imported where they are needed.

Exit status: 0 done; 1 a notebook failed; 2 unusable arguments or data; 130 interrupted.
"""

from __future__ import annotations

import argparse
import errno
import json
import sys
import textwrap
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ser_utils import ROOT, SerError, __version__

#: Endings of pictures that can be drawn.
_PICTURES = (".png", ".pdf", ".svg", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".eps")
#: Errors of a place that cannot be used: the user can mend that, it is no defect of the program.
_PLACE = {getattr(errno, name) for name in "EACCES EPERM EROFS ENOSPC EDQUOT ENOTDIR EISDIR ENOENT".split()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    for output in (sys.stdout, sys.stderr):  # names that the terminal's alphabet lacks, or that are not UTF-8
        if hasattr(output, "reconfigure"):
            output.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    # For the person at the keyboard: one line, without the place in the source.
    warnings.formatwarning = lambda message, *_, **__: f"ser: warning: {message}\n"
    try:
        return options.command(options)
    except SerError as error:
        print(f"ser: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `ser corpora | head`
        sys.stderr.close()
        return 0
    except OSError as error:
        if error.errno not in _PLACE:
            raise
        place = f"{error.filename} cannot be used" if error.filename else "a file could not be written"
        print(f"ser: error: {place}: {error.strerror}; give another folder, or mend that one", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nser: interrupted; {options.after_interrupt}", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="ser",
        description="Speech emotion recognition from self-supervised features.",
        epilog="examples:\n"
        "  ser run                                     all notebooks on the demo corpus (synthetic)\n"
        "  ser run --corpus ravdess --data ~/ravdess   the same on recordings of your own copy\n"
        "  ser run --corpus my.csv --profile quick     any folder of recordings: columns path, emotion, speaker\n"
        "  ser run --only 04 --fresh -p seeds=[0]      one notebook again, with another parameter\n"
        "\n`ser COMMAND --help` says more.",
        formatter_class=layout,
    )
    parser.add_argument("--version", action="version", version=f"ser-utils {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(function, summary: str, examples: str, after_interrupt: str = "nothing was changed"):
        """A command named after its function; `after_interrupt` is said to a person who pressed Ctrl-C."""
        about = dict(help=summary, description=summary[0].upper() + summary[1:] + ".", epilog=f"examples:\n{examples}")
        sub = commands.add_parser(function.__name__.strip("_"), formatter_class=layout, **about)
        sub.set_defaults(command=function, after_interrupt=after_interrupt)
        return sub

    summary = "list the corpora, what is on disk, and their licences; or show the card of one"
    sub = command(_corpora, summary, "  ser corpora\n  ser corpora shemo")
    sub.add_argument("corpus", nargs="?", metavar="CORPUS", help="show this one's card")

    sub = command(
        _fetch, "download a corpus, verify it and unpack it",
        "  ser fetch emodb\n  ser fetch shemo --dir ~/shemo\n  ser fetch shemo --from ~/Downloads",
        "run it again to go on",
    )  # fmt: skip
    sub.add_argument("corpus", metavar="CORPUS", help="name of a corpus; `ser corpora` lists them")
    sub.add_argument("--dir", metavar="DIR", type=Path, help="where to unpack it (default: data/raw/CORPUS)")
    about = "instead of downloading: the archives that you have, a folder that holds them, or one of recordings"
    sub.add_argument("--from", dest="source", metavar="PATH", nargs="+", default=[], help=about)

    sub = command(
        _run,
        "run the notebooks on a corpus, skipping what is up to date",
        "  ser run\n"
        "  ser run --corpus nemo --data ../shared/data/nemo\n"
        "  ser run --corpus shemo -p labels=modified --encoder facebook/wav2vec2-base\n"
        "  ser run --only 03,04 --profile quick --out /tmp/look\n"
        "  ser run --corpus nemo --scheduler tcp://192.168.0.1:8786",
        "run the same command again: finished notebooks are skipped and features are kept",
    )
    _add_corpus(sub)
    about = "wav2vec2-nano, a Hugging Face id, or a local folder (default: the notebooks' own)"
    sub.add_argument("--encoder", metavar="NAME", help=about)
    about = "quick: a look in a few minutes; demo (default); paper: more seeds, longer training"
    sub.add_argument("--profile", default="demo", choices=["quick", "demo", "paper"], help=about)
    sub.add_argument("--only", default="", metavar="03,04", help="run only these notebooks")
    sub.add_argument("--fresh", action="store_true", help="run also what is up to date")
    sub.add_argument("--out", metavar="DIR", type=Path, help="where figures, tables and the report go (default: here)")
    about = "a table of two columns, labels and what they stand for; or a set (shemo: filename, shemo_json, modified)"
    sub.add_argument("--labels", metavar="SET|TABLE", help=about)
    sub.add_argument("--strict", action="store_true", help="stop at an unreadable recording instead of leaving it out")
    about = (
        "compute features and cross-validations on the Dask cluster of this scheduler (default: SER_SCHEDULER of the "
        "environment, else here); its workers see the same files and code under the same paths"
    )
    sub.add_argument("--scheduler", metavar="ADDRESS", help=about)
    about = "set a parameter of the notebooks, such as -p seeds=[0,1] (several times)"
    sub.add_argument("-p", dest="parameters", action="append", default=[], metavar="KEY=VALUE", help=about)

    sub = command(
        _predict,
        "say which acted emotion recordings sound like, by a recognizer that `ser run` trained",
        "  ser predict call.wav\n"
        "  ser predict recordings/ --json > scores.json\n"
        "  ser predict talk.mp3 --timeline --plot talk.png --model data/processed/ravdess/recognizer\n"
        "\nA score says which of the actors' portrayals in the training corpus a voice resembles, not what a person feels.\n"
        "It is tied to that corpus's language, speakers and room. Not for use on people without their consent.",
    )
    sub.add_argument("files", nargs="+", metavar="FILE", type=Path, help="recordings, or folders of them")
    _add_model(sub)
    about = "answer `undecided` where the best score is below this (default: 0)"
    sub.add_argument("--confidence", type=float, default=0.0, metavar="P", help=about)
    sub.add_argument("--timeline", action="store_true", help="also one row per segment")
    sub.add_argument("--json", action="store_true", help="print a JSON list, one object per recording")
    sub.add_argument("--plot", metavar="PNG", type=Path, help="draw the timeline of a single recording")

    sub = command(
        _export,
        "write a recognizer as ONNX files, for programs without PyTorch",
        "  ser export --model data/processed/ravdess/recognizer\n"
        "\nencoder.onnx (waveforms at 16 kHz to frames) and cnn.onnx (frames to logits) are written into that folder and compared\n"
        "with PyTorch there; batch and time are free. Needs `pip install -e '.[onnx]'`.",
    )
    _add_model(sub)

    sub = command(
        _pretrain,
        "pretrain a small wav2vec 2.0 encoder on unlabelled speech",
        "  ser pretrain --audio ~/speech --out encoders/mine --minutes 60\n  ser run --encoder encoders/mine",
        "go on with --resume",
    )
    sub.add_argument("--audio", nargs="+", required=True, metavar="DIR", type=Path, help="folders of recordings")
    sub.add_argument("--out", required=True, metavar="DIR", type=Path, help="where the encoder goes")
    length = sub.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=_positive(float), metavar="M", help="stop after so many minutes")
    length.add_argument("--steps", type=_positive(int), metavar="N", help="stop after so many updates")
    sub.add_argument("--objective", metavar="NAME", help="what is learned from the audio")
    about = "train as this file says: JSON with fields of `pretraining.Recipe`, or an encoder's training.json"
    sub.add_argument("--recipe", metavar="FILE", type=Path, help=about)
    sub.add_argument("--resume", action="store_true", help="go on from the last checkpoint in --out")
    sub.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the random numbers (default: 0)")

    sub = command(
        _bench,
        "time extraction, training and more beside what one would otherwise write",
        "  ser bench\n  ser bench --corpus nemo --data ../shared/data/nemo --json > bench.json",
        "nothing is kept: run it again",
    )
    _add_corpus(sub)
    sub.add_argument("--rounds", type=_positive(int), default=3, metavar="N", help="timed rounds of a row (default: 3)")
    sub.add_argument("--json", action="store_true", help="print JSON; progress goes to the error stream")
    return parser


def _add_corpus(sub: argparse.ArgumentParser) -> None:
    about = "a corpus of `ser corpora`, or a table (CSV, TSV) with columns path, emotion, speaker (default: demo)"
    sub.add_argument("--corpus", default="demo", metavar="NAME|TABLE", help=about)
    sub.add_argument("--data", metavar="DIR", type=Path, help="folder of the recordings (default: data/raw/NAME)")


def _add_model(sub: argparse.ArgumentParser) -> None:
    default = ROOT / "data" / "processed" / "demo" / "recognizer"
    about = "folder of a recognizer (default: that of the demo corpus, trained on synthetic speech)"
    sub.add_argument("--model", metavar="DIR", type=Path, default=default, help=about)


def _positive(kind: type):
    def convert(text: str):
        value = kind(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f"{text} is not greater than 0")
        return value

    convert.__name__ = kind.__name__  # argparse names it in its message
    return convert


def _corpora(options: argparse.Namespace) -> int:
    from ser_utils import corpora

    if options.corpus:
        card = corpora.card(options.corpus)
        print(f"{card.title} ({card.name})")
        for heading, text in card.facts().items():
            print(textwrap.fill(f"{heading}: {text}", 100, initial_indent="  ", subsequent_indent="    "))
        return 0
    rows = [("name", "language", "on disk", "licence", "title")]
    for name, card in corpora.CORPORA.items():
        count = len(corpora.audio_files(corpora.default_folder(name)))
        rows.append((name, card.language, f"{count} clips" if count else "no", card.licence, card.title))
    widths = [max(len(str(row[column])) for row in rows) for column in range(4)]
    for row in rows:
        print("  ".join(f"{value:<{width}}" for value, width in zip(row, [*widths, 0], strict=True)).rstrip())
    return 0


def _fetch(options: argparse.Namespace) -> int:
    from ser_utils import corpora

    if not options.source:
        print(corpora.announcement(options.corpus, options.dir), file=sys.stderr)
    print(corpora.fetch(options.corpus, options.dir, source=options.source))
    return 0


def _run(options: argparse.Namespace) -> int:
    from ser_utils import pipeline

    asked = {"encoder": options.encoder, "labels": options.labels, "strict": options.strict or None}
    asked = {name: value for name, value in asked.items() if value is not None}
    try:
        index = pipeline.run(
            options.corpus, data=options.data, profile=options.profile, fresh=options.fresh, out=options.out,
            only=[name.strip() for name in options.only.split(",") if name.strip()], scheduler=options.scheduler,
            parameters=asked | dict(pipeline.parse_parameter(text) for text in options.parameters),
        )  # fmt: skip
    except pipeline.NotebookFailed as error:
        print(f"ser: {error}", file=sys.stderr)
        return 1
    here = Path.cwd()
    print(f"report: {index.relative_to(here) if index.is_relative_to(here) else index}")
    return 0


def _predict(options: argparse.Namespace) -> int:
    from ser_utils import corpora, recognizer

    files = corpora.sound_files(options.files)
    if options.plot and len(files) > 1:
        raise SerError(f"--plot draws one recording and {len(files)} are given: choose one")
    if options.plot and (ending := options.plot.suffix.lower()) not in _PICTURES:
        raise SerError(f"--plot {options.plot} ends with '{ending}': choose one of {', '.join(_PICTURES)}")
    model = recognizer.EmotionRecognizer.from_pretrained(options.model)
    about = model.config["training"]
    card = f" Robustness: {Path(options.model, 'README.md')}." if "robustness" in model.config else ""
    print(f"trained on {about['corpus']}, {about['speakers']} speakers. {recognizer.MEANING}{card}", file=sys.stderr)
    width, results, failed = max(len(str(file)) for file in files), [], 0
    for file in files:
        try:
            said = model.predict(file)
        except SerError as error:
            print(f"ser: warning: {error}", file=sys.stderr)
            failed += 1
            continue
        decision = said.decision(options.confidence) or "undecided"
        if options.json:
            results.append(
                {"file": str(file), "seconds": round(said.seconds, 3), "decision": decision, "scores": said.scores, "unusual": said.unusual}
                | ({"timeline": said.timeline.to_dict("records")} if options.timeline else {})
            )  # fmt: skip
        else:
            scores = "  ".join(f"{score['label']} {score['score']:.2f}" for score in said.scores[:3])
            doubt = f"  (unlike the training data: {'; '.join(said.unusual)})" if said.unusual else ""
            print(f"{str(file):<{width}}  {decision:<10} {scores}{doubt}", flush=True)
            if options.timeline:
                print(said.timeline.round(3).to_string(index=False))
        if options.plot:
            _draw(file, said, options.plot)
    if options.json:
        print(json.dumps(results, indent=1))
    return 2 if failed else 0


def _draw(file: Path, said, target: Path) -> None:
    from ser_utils import audio, plots, replacing

    if said.seconds > 600:
        raise SerError(f"{file} lasts {said.seconds / 60:.0f} min; --plot draws at most 10: cut it, or use --timeline")
    plots.use_style()
    name = file.name.encode(errors="replace").decode()  # fonts have no bytes that are not UTF-8
    title = f"{name} · {said.decision() or 'undecided'}"
    figure = plots.timeline(audio.read(file), audio.SAMPLE_RATE, said.timeline, title=title)
    with replacing(target) as temporary:
        figure.savefig(temporary, dpi=130)


def _export(options: argparse.Namespace) -> int:
    from ser_utils import recognizer

    print("tracing both networks and comparing them with PyTorch, about a minute …", file=sys.stderr)
    for name, difference in recognizer.to_onnx(options.model).items():
        megabytes = (options.model / name).stat().st_size / 1e6
        print(f"{options.model / name}  {megabytes:.1f} MB, differs from PyTorch by {difference:.0e} of the largest value")
    return 0


def _pretrain(options: argparse.Namespace) -> int:
    from ser_utils import pretraining

    given = {"objective": options.objective, "minutes": options.minutes, "steps": options.steps}
    given = {name: value for name, value in given.items() if value is not None}
    if options.recipe:
        given["config"] = pretraining.Recipe.load(options.recipe)
    out = pretraining.pretrain(options.audio, options.out, resume=options.resume, seed=options.seed, **given)
    print(f"encoder: {out}; use it with `ser run --encoder {out}`")
    return 0


def _bench(options: argparse.Namespace) -> int:
    from ser_utils import bench

    echo = partial(print, file=sys.stderr if options.json else sys.stdout, flush=True)
    result = bench.bench(options.corpus, options.data, rounds=options.rounds, echo=echo)
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        print(", ".join(f"{name} {value}" for name, value in result["machine"].items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
