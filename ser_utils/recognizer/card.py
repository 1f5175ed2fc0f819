"""What a recognizer's scores mean, and its model card."""

#: Printed with every prediction.
MEANING = (
    "A score says which of the actors' portrayals in the training corpus a voice resembles, not what a person feels. It is "
    "tied to that corpus's language, speakers and recording room. Not for use on people without their consent."
)


def model_card(config: dict) -> str:
    """The README of a recognizer's folder, with front matter for the Hugging Face hub, from its `config.json`."""
    about, rows = config["training"], config["scores"]
    lines = [
        "---", "library_name: ser-utils", "pipeline_tag: audio-classification", "tags: [speech-emotion-recognition]", "---", "",
        f"# Emotion recognizer, trained on {about['corpus']}", "", MEANING, "",
        f"- **Labels**: {', '.join(config['labels'])}.",
        f"- **System**: frames of {about.get('tuned', config['encoder'])}, layer {config['layer']}, in segments of "
        f"{config['segment_seconds']:g} s; a small CNN; log-probabilities of the segments averaged. "
        f"Temperature {config['temperature']:.2f}.",
        f"- **Trained on**: {about['clips']} clips, {about['speakers']} speakers, {about['hours']} h of {about['corpus']}; "
        f"{about['epochs']} epochs; silent segments left out.",
        f"- **Normalisation**: {config['normalisation']}.", "",
    ]  # fmt: skip
    if rows:
        lines += [
            "Scores of the same system on test speakers, with 95 % intervals over speakers:", "",
            "| system | metric | value | interval |", "|---|---|---|---|",
            *(f"| {r['system']} | {r['metric']} | {r['value']:.3f} | {r['low']:.3f} to {r['high']:.3f} |" for r in rows),
            "",
        ]  # fmt: skip
    if tests := config.get("robustness"):  # from notebook 11
        lines += [
            "Changed recordings and groups of speakers (predictions that stay as they were; change of UAR in points with its 95 % "
            "interval over speakers, for a group the distance from all speakers). Tested was the same system, trained on half "
            "of the speakers, with the other half; thresholds follow arXiv 2312.06270.", "",
            "| test | unchanged, wanted | change of UAR, wanted |", "|---|---|---|",
            *(f"| {r['test']} | {_percent(r['unchanged'])}, {_percent(r['least'])} | {100 * r['change']:+.1f} "
              f"[{100 * r['low']:+.1f}, {100 * r['high']:+.1f}], {100 * r['limit']:+.1f} |" for r in tests if r["limit"]),
            "",
        ]  # fmt: skip
    use = 'EmotionRecognizer.from_pretrained("FOLDER")("recording.wav")'
    return "\n".join([*lines, "```python", "from ser_utils.recognizer import EmotionRecognizer", use, "```", ""])


def _percent(fraction: float | None) -> str:
    return "–" if fraction is None else f"{fraction:.0%}"
