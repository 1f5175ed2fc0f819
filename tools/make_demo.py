"""Make the demo corpus: synthetic Persian speech with acted-looking emotions, in ShEMO's layout and names.

Run once by the authors; the result is committed, so nobody needs espeak-ng or Praat to use it:

    .venv/bin/python tools/make_demo.py --out data/demo        # needs espeak-ng 1.51 and praat-parselmouth

espeak-ng speaks a neutral sentence; Praat's overlap-add (PSOLA) replaces its melody and tempo, and numpy shapes
loudness, spectral balance, breathiness, room and microphone. What emotions, voices and chance do was fitted to
the acoustics of nEMO and RAVDESS, as `corpus_acoustics.py` measures them: how far each emotion moves each cue, how
much speakers differ in expressing it, how much clips of one speaker and one emotion differ. No classifier and no
score was looked at. Sentence, room, microphone, gain and noise are drawn without looking at the emotion.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import parselmouth
import soundfile
from parselmouth.praat import call
from scipy.signal import butter, fftconvolve, lfilter, sosfilt

SAMPLE_RATE = 16_000
SEED = 1402

# Written for this corpus; everyday and neutral in content. Four lengths: a word, a phrase, a sentence, two clauses.
SENTENCES = (
    ("بله.", "فردا.", "همین‌جا.", "سلام.", "خیلی خوب.", "از این طرف.", "یک لحظه.", "ساعت پنج.", "تازه رسیدم."),
    (
        "کتاب روی میز است.",
        "در باز بود.",
        "ما فردا می‌آییم.",
        "چای آماده شد.",
        "قطار ساعت هفت رسید.",
        "او هنوز اینجاست.",
        "کلید را پیدا کردم.",
        "خانه همان‌جاست.",
        "باران بند آمد.",
        "کسی در زد.",
        "من هم می‌آیم.",
        "نامه دیروز رسید.",
        "آن‌ها برگشتند.",
        "اسمش را شنیدم.",
    ),
    (
        "امروز هوا کمی ابری است.",
        "برادرم دیروز از شیراز برگشت.",
        "این کتاب را از کتابخانه گرفتم.",
        "همسایه‌ی ما یک ماشین آبی خرید.",
        "جلسه ساعت چهار بعد از ظهر است.",
        "نان تازه را روی میز گذاشتم.",
        "دوستم تلفن را برداشت و جواب داد.",
        "بچه‌ها در حیاط بازی می‌کنند.",
        "عکس‌ها را به دیوار اتاق زدم.",
        "مغازه‌ی سر کوچه امشب باز است.",
        "اتوبوس بعدی ده دقیقه‌ی دیگر می‌آید.",
        "مادرم برای شام برنج درست کرد.",
        "پنجره‌ی اتاق رو به خیابان باز می‌شود.",
        "او هر روز صبح پیاده به مدرسه می‌رود.",
        "خبر را از رادیو شنیدم.",
        "کفش‌هایم را کنار در گذاشتم.",
        "فردا شب همه خانه‌ی ما هستند.",
        "این راه به ایستگاه می‌رسد.",
    ),
    (
        "وقتی به خانه رسیدم چراغ‌ها روشن بود و کسی در آشپزخانه حرف می‌زد.",
        "دیروز در بازار کسی را دیدم که سال‌ها پیش همسایه‌ی ما بود.",
        "اگر امروز کارم زود تمام شود با اتوبوس به خانه برمی‌گردم.",
        "نامه‌ای که هفته‌ی پیش فرستاده بودم امروز به دستش رسید.",
        "گفت که فردا نمی‌آید و کلید را پیش نگهبان می‌گذارد.",
        "بعد از ناهار همه به حیاط رفتند و زیر درخت نشستند.",
        "ماشین را جلوی در گذاشتم و از پله‌ها بالا رفتم.",
        "از پنجره نگاه کردم و دیدم که در باز است و باران می‌آید.",
        "وقتی تلفن زنگ زد داشتم برای مهمان‌ها چای می‌ریختم.",
        "معلم کتاب را بست و گفت که درس امروز تمام شد.",
        "قرار بود ساعت شش بیاید ولی هنوز در راه است و خبری نداده.",
        "خانه‌ای که می‌خواستیم بخریم دیروز به کس دیگری فروخته شد.",
        "او کنار در ایستاد و گفت که همه‌چیز همان‌طور است که بود.",
    ),
)
# Recording, drawn for each clip without looking at the emotion (standard deviations in dB).
RESPONSE = 1.5  # of the microphone, at every octave
GAIN = 3.2
# espeak-ng's voices are brighter than people's [dB an octave, above 500 Hz].
SYNTHESIZER = -2.5

LENGTH_CHANCES = (0.13, 0.29, 0.41, 0.17)

# ShEMO's letters, and how many clips: anger and neutral prevail, fear is rare, as there.
CODES = {"anger": "A", "happiness": "H", "sadness": "S", "surprise": "W", "fear": "F", "neutral": "N"}
COUNTS = {"anger": 172, "neutral": 176, "sadness": 108, "surprise": 86, "happiness": 84, "fear": 44}


@dataclass(frozen=True)
class Voice:
    """A speaker: an espeak-ng variant, and what Praat makes of it."""

    name: str
    variant: str
    pitch: float  # mean F0 of a neutral sentence [Hz]
    formants: float  # factor on all resonance frequencies
    rate: float  # factor on the speaking rate
    liveliness: float  # factor on the F0 range
    amount: float  # share of the recordings; ShEMO's speakers are just as uneven


VOICES = (
    Voice("F01", "f1", 205, 1.00, 1.00, 1.10, 1.5),
    Voice("F02", "f2", 188, 1.02, 0.92, 0.90, 1.2),
    Voice("F03", "f3", 222, 1.04, 1.06, 1.20, 1.0),
    Voice("F04", "f4", 176, 0.98, 0.96, 0.85, 0.9),
    Voice("F05", "Annie", 236, 1.03, 1.10, 1.05, 0.8),
    Voice("F06", "linda", 212, 0.99, 1.02, 1.00, 0.8),
    Voice("F07", "belinda", 196, 0.97, 0.90, 0.95, 0.7),
    Voice("M01", "m1", 112, 1.00, 1.00, 1.00, 1.6),
    Voice("M02", "m2", 98, 0.98, 0.94, 0.90, 1.3),
    Voice("M03", "m3", 126, 1.02, 1.08, 1.15, 1.1),
    Voice("M04", "m5", 118, 1.03, 1.04, 1.05, 1.0),
    Voice("M05", "m7", 104, 1.01, 0.92, 0.85, 0.9),
    Voice("M06", "Andy", 135, 1.05, 1.10, 1.10, 0.8),
    Voice("M07", "john", 92, 0.96, 0.98, 0.95, 0.8),
    Voice("M08", "Michael", 109, 0.99, 1.02, 1.20, 0.7),
    Voice("M09", "Gene", 121, 1.00, 0.96, 1.00, 0.7),
)


@dataclass(frozen=True)
class Expression:
    """How a clip departs from the voice's neutral way of speaking."""

    pitch: float = 0.0  # F0 level [semitones]
    span: float = 0.0  # F0 range [octaves: 1 doubles it]
    slope: float = 0.0  # declination [semitones over the clip]
    rise: float = 0.0  # over the last third of the clip [semitones]
    rate: float = 0.0  # speaking rate [octaves]
    drag: float = 0.0  # slowing down from start to end [octaves]
    pause: float = 0.0  # between words [10 ms]
    level: float = 0.0  # loudness [dB]
    stress: float = 0.0  # loud syllables louder, soft ones softer [share of their distance in dB]
    tilt: float = 0.0  # spectral balance [dB an octave, above 500 Hz]
    breath: float = 0.0  # aspiration noise [dB more]
    jitter: float = 0.0  # irregular F0 [semitones]
    tremor: float = 0.0  # 5 to 7 Hz movement of F0 and level [semitones; twice that in dB]
    mouth: float = 0.0  # all formants [per cent]: spread lips and open jaw raise them


# What a full expression adds to neutral. These amounts, and the standard deviations below, were fitted to the acoustics
# of nEMO and RAVDESS (data/demo/README.md); mouth, drag and tremor follow Juslin and Laukka (2003, Psychological
# Bulletin 129), table 7: their measured counterparts are too weak or missing.
# fmt: off
FULL = {
    emotion: Expression(*amounts)
    for emotion, amounts in {
        #             pitch  span  slope  rise   rate  drag  pause  level  stress  tilt  breath  jitter  tremor  mouth
        "anger": (        6, 0.57, -0.54, 0.46,  0.16, -0.1,  -0.5,   8.5,   0.18,    3,     -6,   0.02,      0,     6),
        "happiness": (  4.4, 0.78,  -2.6, 0.18,     0,    0,  -0.5,     4,   0.17,  1.2,     -5,   0.05,      0,     3),
        "sadness": (      2, 0.13, -0.85,  2.5, -0.13, 0.15,   3.5,  -1.5,   0.09, -1.6,      1,   0.15,      0,     2),
        "surprise": (   5.2,  1.6,   0.8,  1.3,  0.06,    0,  0.12,   4.3,  -0.16,  1.3,     -4,   0.22,      0,     6),
        "fear": (       5.6, 0.32,     2,  1.8,     0,    0,     4,   3.2,   0.04, 0.17,     -9,   0.05,    0.4,     8),
        "neutral": (      0,    0,     0,    0,     0,    0,     0,     0,      0,    0,      0,      0,      0,     0),
    }.items()
}
# Standard deviations: what sets a voice apart whatever it expresses,
HABIT = Expression(       0,    0,     1,    0,  0.04, 0.05,     1,     2,    0.1,  0.3,    1.2,   0.01,      0,     0)
# the way a voice has of expressing one emotion,
OWN = Expression(       2.3,  0.4,   0.9,  1.6,  0.11, 0.06,   2.3,   2.4,   0.11, 0.88,      2,   0.08,    0.1,     3)
# and how much clips of one voice and one emotion differ.
SPREAD = Expression(    1.6,  0.3,   2.7,  1.2,  0.03,  0.1,     1,   1.6,   0.21,  0.4,    0.5,   0.08,    0.1,     2)
# fmt: on


def plan(seed: int) -> list[dict]:
    """Draw who says what in which emotion: one dictionary a clip, without its sound."""
    rng = np.random.default_rng(seed)
    clips = []
    for emotion, total in COUNTS.items():
        weights = np.array([voice.amount for voice in VOICES]) * rng.uniform(0.6, 1.4, len(VOICES))
        # Not every speaker shows every emotion: rare ones are left out for some.
        absent = {"fear": 4, "surprise": 2, "happiness": 2}.get(emotion, 0)
        weights[rng.permutation(len(VOICES))[:absent]] = 0
        counts = np.floor(total * weights / weights.sum()).astype(int)
        for index in np.argsort(-(total * weights / weights.sum() - counts))[: total - counts.sum()]:
            counts[index] += 1
        for voice, count in zip(VOICES, counts, strict=True):
            for number in range(1, count + 1):
                group = SENTENCES[rng.choice(len(SENTENCES), p=LENGTH_CHANCES)]
                clips.append(
                    {
                        "clip": f"{voice.name}{CODES[emotion]}{number:02d}",
                        "voice": voice,
                        "emotion": emotion,
                        "text": group[rng.integers(len(group))],
                        # Emotions come weak and strong, so they overlap near neutral.
                        "strength": 0.0 if emotion == "neutral" else float(rng.uniform(0.5, 1.15)),
                    }
                )
    return clips


def draw(scale: Expression, rng: np.random.Generator) -> Expression:
    """Draw chance departures with the given standard deviations."""
    return Expression(**{name: deviation * rng.normal() for name, deviation in vars(scale).items()})


def manners(seed: int) -> dict[tuple[str, str], Expression]:
    """Draw what each voice does in each emotion, `(voice, emotion)`, beside what the emotion asks for."""
    rng = np.random.default_rng(seed + 1)
    habits = {voice.name: draw(HABIT, rng) for voice in VOICES}
    return {(name, emotion): add(habit, draw(OWN, rng)) for name, habit in habits.items() for emotion in FULL}


def add(*expressions: Expression) -> Expression:
    """Add expressions up, cue by cue."""
    return Expression(**{name: sum(getattr(part, name) for part in expressions) for name in vars(SPREAD)})


def express(emotion: str, strength: float, manner: Expression, rng: np.random.Generator) -> Expression:
    """Draw one clip's expression: the emotion's at its strength, the voice's manner, and chance."""
    full = Expression(**{name: strength * amount for name, amount in vars(FULL[emotion]).items()})
    return add(full, manner, draw(SPREAD, rng))


def speak(text: str, voice: Voice, how: Expression, file: Path) -> parselmouth.Sound:
    """Let espeak-ng say a sentence; resonances are moved by playing it at another speed."""
    formants = voice.formants * (1 + np.clip(how.mouth, -15, 18) / 100)
    words_per_minute = int(np.clip(round(165 * voice.rate * 2**how.rate / formants), 80, 400))
    gap = int(np.clip(round(2 + how.pause), 0, 12))
    command = ["espeak-ng", "-v", f"fa+{voice.variant}", "-s", str(words_per_minute), "-g", str(gap)]
    subprocess.run([*command, "-w", str(file), text], check=True)
    sound = parselmouth.Sound(str(file))
    call(sound, "Override sampling frequency", sound.sampling_frequency * formants)
    return call(sound, "Resample", SAMPLE_RATE, 50)


def sing(sound: parselmouth.Sound, voice: Voice, how: Expression, rng: np.random.Generator) -> np.ndarray:
    """Replace melody and tempo of a sentence (PSOLA), keeping its accents in shape but not in size."""
    pitch = sound.to_pitch(0.01, 55, 480)
    times, frequency = pitch.xs(), pitch.selected_array["frequency"]
    voiced = frequency > 0
    if voiced.sum() < 5:
        return sound.values[0].copy()
    times, frequency = times[voiced], frequency[voiced]
    accents = 12 * np.log2(frequency / np.exp(np.mean(np.log(frequency))))
    progress = (times - times[0]) / max(times[-1] - times[0], 1e-6)
    # Without espeak-ng's own declination: a wider range would make it steeper.
    accents = np.clip(accents - np.polyval(np.polyfit(progress, accents, 1), progress), -6, 6)
    phrase = 0.8 * np.sin(2 * np.pi * (rng.uniform(0.6, 1.6) * progress + rng.uniform()))
    span = 1.3 * voice.liveliness * 2**how.span
    wobble = how.tremor * np.sin(2 * np.pi * (rng.uniform(5, 7) * times + rng.uniform()))
    semitones = (
        how.pitch
        + span * (accents + phrase)
        + (-6.0 + how.slope) * (progress - 0.5)
        + how.rise * np.clip((progress - 0.67) / 0.33, 0, 1)
        + wobble
        + max(how.jitter + 0.08, 0.02) * rng.normal(size=times.size)
    )
    target = np.clip(voice.pitch * 2 ** (semitones / 12), 60, 480)
    manipulation = call(sound, "To Manipulation", 0.01, 55, 480)
    tier = call("Create PitchTier", "melody", sound.xmin, sound.xmax)
    for time, value in zip(times, target, strict=True):
        call(tier, "Add point", float(time), float(value))
    call([manipulation, tier], "Replace pitch tier")
    lengths = call("Create DurationTier", "tempo", sound.xmin, sound.xmax)
    for time, side in ((sound.xmin, -0.5), (sound.xmax, 0.5)):
        call(lengths, "Add point", time, 2 ** (side * np.clip(how.drag, -0.6, 0.6)))
    call([manipulation, lengths], "Replace duration tier")
    return call(manipulation, "Get resynthesis (overlap-add)").values[0].copy()


def balance(wave: np.ndarray, tilt: float) -> np.ndarray:
    """Tilt the spectrum by so many dB an octave above 500 Hz, the power left as it was."""
    spectrum = np.fft.rfft(wave)
    frequency = np.fft.rfftfreq(wave.size, 1 / SAMPLE_RATE)
    octaves = np.log2(np.clip(frequency, 500, 8000) / 500)
    shaped = np.fft.irfft(spectrum * 10 ** (np.clip(tilt, -9, 5) * octaves / 20), wave.size)
    return shaped * np.sqrt(np.mean(wave**2) / max(np.mean(shaped**2), 1e-12))


def emphasise(wave: np.ndarray, stress: float) -> np.ndarray:
    """Widen (or narrow) the differences of level between syllables."""
    smooth = np.hanning(int(0.06 * SAMPLE_RATE))
    envelope = np.sqrt(np.maximum(fftconvolve(wave**2, smooth / smooth.sum(), "same"), 0))
    loud = np.percentile(envelope, 95)
    return wave * np.clip(envelope / loud, 0.05, 1.5) ** np.clip(stress, -0.5, 0.7)


def aspirate(wave: np.ndarray, breath: float, rng: np.random.Generator) -> np.ndarray:
    """Add noise that rises and falls with the voice, as from a glottis that does not close."""
    envelope = np.sqrt(np.maximum(lfilter([0.01], [1, -0.99], wave**2), 0))
    noise = sosfilt(butter(2, [900, 6500], "bandpass", fs=SAMPLE_RATE, output="sos"), rng.normal(size=wave.size))
    return wave + 10 ** (np.clip(-28 + breath, -44, -14) / 20) * envelope * noise / noise.std()


def microphone(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Colour a recording: an uneven response, and the band of some older equipment."""
    spectrum = np.fft.rfft(wave)
    frequency = np.fft.rfftfreq(wave.size, 1 / SAMPLE_RATE)
    octaves = np.log2(np.clip(frequency, 62.5, 8000) / 62.5)
    response = np.interp(octaves, np.arange(2, 8), rng.normal(0, RESPONSE, 6))
    lowest, highest = rng.uniform(30, 110), rng.uniform(6500, 12_000)
    response -= 6 * np.log2(1 + (lowest / np.maximum(frequency, 1)) ** 2)
    response -= 12 * np.log2(1 + (frequency / highest) ** 16)
    return np.fft.irfft(spectrum * 10 ** (np.maximum(response, -80) / 20), wave.size)


def record(wave: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Put the speaker in a room before a microphone: echo, noise, gain. None of it depends on the emotion."""
    wave = wave / max(np.sqrt(np.mean(wave**2)), 1e-9) * 10 ** ((-32 + level) / 20)
    decay = rng.uniform(0.02, 0.09)  # seconds to 1/e
    echo = rng.normal(size=int(5 * decay * SAMPLE_RATE)) * np.exp(
        -np.arange(int(5 * decay * SAMPLE_RATE)) / (decay * SAMPLE_RATE)
    )
    echo *= 10 ** (rng.uniform(-28, -12) / 20) / np.sqrt(np.sum(echo**2))
    echo[0] = 1.0
    silence = (rng.uniform(0.04, 0.20, 2) * SAMPLE_RATE).astype(int)
    wave = fftconvolve(np.pad(wave, silence), echo)[: wave.size + silence.sum()]
    colour = rng.uniform(0.3, 0.95)  # white to rumbling
    noise = lfilter([1], [1, -colour], rng.normal(size=wave.size))
    wave = microphone(wave + 10 ** (rng.uniform(-74, -58) / 20) * noise / noise.std(), rng)
    wave = wave * 10 ** (np.clip(rng.normal(0, GAIN), -8, 8) / 20)
    # Loudest peaks are turned down, not cut off; Vorbis may overshoot by a quarter.
    return wave * min(1.0, 0.79 / np.abs(wave).max())


def make_clip(clip: dict, manner: Expression, file: Path, rng: np.random.Generator) -> np.ndarray:
    """Make the sound of one planned clip."""
    voice = clip["voice"]
    how = express(clip["emotion"], clip["strength"], manner, rng)
    wave = sing(speak(clip["text"], voice, how, file), voice, how, rng)
    loud = np.flatnonzero(np.abs(wave) > 0.02 * np.abs(wave).max())
    wave = wave[loud[0] : loud[-1] + 1]  # espeak-ng's own pauses around the sentence
    beat = 1 + 0.12 * how.tremor * np.sin(2 * np.pi * 6 * np.arange(wave.size) / SAMPLE_RATE + rng.uniform(0, 6))
    wave = balance(emphasise(wave * beat, how.stress), SYNTHESIZER + how.tilt)
    return record(aspirate(wave, how.breath, rng), how.level, rng)


def phonemes(text: str) -> str:
    """Give espeak-ng's transcription of a sentence in the International Phonetic Alphabet."""
    command = ["espeak-ng", "-v", "fa", "-q", "--ipa", text]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def write_clip(clip: dict, out: Path, manner: Expression, seed: list[int]) -> None:
    """Make one clip and store it under its ShEMO name."""
    # A generator for each clip: changing one clip leaves the others as they are.
    rng = np.random.default_rng(seed)
    # Praat lengthens voiceless stretches by chance.
    parselmouth.praat.run(f"random_initializeWithSeedUnsafelyButPredictably ({seed[-1] + 1})")
    with tempfile.TemporaryDirectory() as folder:
        wave = make_clip(clip, manner, Path(folder, "speech.wav"), rng)
    path = out / gender_of(clip["voice"]) / f"{clip['clip']}.ogg"
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, SAMPLE_RATE, format="OGG", subtype="VORBIS", compression_level=0.95)


def make(out: Path, *, seed: int = SEED, only: list[str] | None = None, jobs: int = 1) -> None:
    """Write the corpus, or the sound of a few of its clips only."""
    clips = plan(seed)
    own = manners(seed)
    work = [
        (clip, out, own[clip["voice"].name, clip["emotion"]], [seed, number])
        for number, clip in enumerate(clips)
        if not only or clip["clip"] in only
    ]
    if jobs == 1:
        for arguments in work:
            write_clip(*arguments)
    else:
        with ProcessPoolExecutor(jobs) as pool:
            list(pool.map(write_clip, *zip(*work, strict=True), chunksize=8))
    if only:
        return
    spoken = {text: phonemes(text) for group in SENTENCES for text in group}
    entries = {
        clip["clip"]: {
            "speaker_id": clip["voice"].name,
            "gender": gender_of(clip["voice"]),
            "emotion": clip["emotion"],
            "transcript": clip["text"],
            "ipa": spoken[clip["text"]],
            "strength": round(clip["strength"], 3),
        }
        for clip in clips
    }
    lines = json.dumps(entries, ensure_ascii=False, indent=1)
    (out / "transcripts.json").write_text(lines + "\n", encoding="utf-8")


def gender_of(voice: Voice) -> str:
    """Give the gender a voice imitates; ShEMO keeps it in the first letter of the speaker's name."""
    return "female" if voice.name[0] == "F" else "male"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "data" / "demo")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--only", nargs="*", metavar="CLIP", help="names of a few clips, to look at")
    parser.add_argument("--jobs", type=int, default=1, help="processes; the result does not depend on it")
    options = parser.parse_args()
    make(options.out, seed=options.seed, only=options.only, jobs=options.jobs)


if __name__ == "__main__":
    main()
