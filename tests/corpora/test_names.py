"""Corpora whose file names say all: a card, and no code."""

import os
from collections import Counter

import pytest
from small import one_line, write_silence

from ser_utils import EMOTIONS, SerError, cli, corpora

WORDS = ["back", "bite", *(f"{a}{b}{c}" for a in "bdgkm" for b in "aeiou" for c in "fhlnprst")][:200]
SEVEN = ("angry", "disgust", "fear", "happy", "neutral", "ps", "sad")
SENTENCES = ("DFA", "IEO", "IOM", "ITH", "ITS", "IWL", "IWW", "MTI", "TAI", "TIE", "TSI", "WSI")
#: Of URDU: speaker → number of clips, as the published folders hold them.
URDU = {
    "Angry": {"SM1": 22, "SM2": 28, "SM3": 2, "SM4": 48},
    "Happy": {"SF1": 12, "SF2": 2, "SF3": 2, "SF4": 4, "SF5": 4, "SF6": 14, "SF7": 6, "SF8": 2, "SM17": 2, "SM18": 2,
              "SM19": 2, "SM3": 2, "SM5": 8, "SM6": 10, "SM7": 28},
    "Neutral": {"SF9": 4, "SM20": 10, "SM21": 4, "SM22": 2, "SM3": 8, "SM5": 72},
    "Sad": {"SF10": 2, "SF11": 4, "SM23": 6, "SM24": 38, "SM25": 40, "SM26": 2, "SM27": 4, "SM6": 4},
}  # fmt: skip
CODES = {"a": ("anger", 15), "d": ("disgust", 15), "f": ("fear", 15), "h": ("happiness", 15), "n": ("neutral", 30),
         "sa": ("sadness", 15), "su": ("surprise", 15)}  # fmt: skip


def tess():
    folders = {"ps": "pleasant_surprised"}
    for speaker in ("OAF", "YAF"):
        for emotion in SEVEN:
            for word in WORDS:
                name = f"{speaker}_{word}_{emotion}".replace("OAF_bite_neutral", "OA_bite_neutral")
                yield f"{speaker}_{folders.get(emotion, emotion)}/{name}"


def savee(form):
    for speaker in ("DC", "JE", "JK", "KL"):
        for code, (_, count) in CODES.items():
            yield from (form.format(speaker, f"{code}{i:02d}") for i in range(1, count + 1))


def urdu():
    for folder, speakers in URDU.items():
        number = 0
        for speaker, count in speakers.items():
            for i in range(1, count + 1):
                number += 1
                yield f"{folder}/{speaker}_F{i}_{folder[0]}0{number}"


def ased():
    folders = {"n": "01Neutral", "f": "02Fearful", "h": "03Happy", "s": "04Sad", "a": "05Angry"}
    for place, (letter, folder) in enumerate(folders.items(), start=1):
        for speaker in range(1, 66):
            letter = letter.upper() if (letter, speaker) == ("s", 29) else letter.lower()
            yield f"{folder}/{letter}{place}-04-02-0{1 if speaker <= 25 else 2}-{speaker:02d}"


#: Corpus; names of a tree; a clip with speaker, emotion, gender and text; clips, speakers, women, clips per emotion.
TREES = [
    ("tess", tess, ("OAF_back_angry", "OAF", "anger", "female", "back"), 2800, 2, 2,
     dict.fromkeys(("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"), 400)),
    ("tess", tess, ("OA_bite_neutral", "OAF", "neutral", "female", "bite"), 2800, 2, 2, None),
    ("tess", tess, ("YAF_bite_ps", "YAF", "surprise", "female", "bite"), 2800, 2, 2, None),
    ("cremad", lambda: (f"AudioWAV/{a}_{s}_{e}_XX" for a in range(1001, 1092) for s, e in zip(
        SENTENCES, ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD") * 2, strict=True)),
     ("1001_DFA_ANG_XX", "1001", "anger", "male", "Don't forget a jacket."), 91 * 12, 91, 43,
     dict.fromkeys(("anger", "disgust", "fear", "happiness", "neutral", "sadness"), 182)),
    ("cremad", lambda: ("1040_ITH_SAD_X", "1091_IEO_HAP_HI", "1076_IEO_NEU_LO", "1002_IEO_FEA_MD"),
     ("1040_ITH_SAD_X", "1040", "sadness", "male", "I think I have a doctor's appointment."), 4, 4, 3, None),
    ("savee", lambda: savee("ALL/{}_{}"), ("DC_sa01", "DC", "sadness", "male", "sa01"), 480, 4, 0,
     {emotion: 4 * count for emotion, count in CODES.values()}),
    ("savee", lambda: savee("AudioData/{}/{}"), ("KL_n30", "KL", "neutral", "male", "n30"), 480, 4, 0, None),
    ("urdu", urdu, ("SM1_F1_A01", "SM1", "anger", "male", None), 400, 29, 11,
     dict.fromkeys(("anger", "happiness", "neutral", "sadness"), 100)),
    ("urdu", urdu, ("SF11_F4_S06", "SF11", "sadness", "female", None), 400, 29, 11, None),
    ("turevdb", lambda: (f"Sound Source/{folder}/{speaker}_{code}_{word}" for folder, code in
                         {"Angry": "kz", "Calm": "sk", "Happy": "mt", "Sad": "hl"}.items()
                         for speaker in (1157, 1234, 1358, 1984, 6783, 7895) for word in ("acik", "zeytin")),
     ("1234_sk_acik", "1234", "calm", None, "acik"), 48, 6, 0,
     dict.fromkeys(("anger", "calm", "happiness", "sadness"), 12)),
    ("ased", ased, ("n1-04-02-01-01", "01", "neutral", "female", "n1-04"), 325, 65, 25,
     dict.fromkeys(("neutral", "fear", "happiness", "sadness", "anger"), 65)),
    ("ased", ased, ("S4-04-02-02-29", "29", "sadness", "male", "S4-04"), 325, 65, 25, None),
    ("emodb", lambda: ("wav/03a01Fa", "wav/16b10Wb", "wav/08a07La", "wav/10a05Nd"),
     ("03a01Fa", "03", "happiness", "male", "Der Lappen liegt auf dem Eisschrank."), 4, 4, 2, None),
    ("ravdess", lambda: (f"Actor_{a:02d}/03-01-{e:02d}-01-02-01-{a:02d}" for a in range(1, 25) for e in range(1, 9)),
     ("03-01-06-01-02-01-12", "12", "fear", "female", "Dogs are sitting by the door."), 192, 24, 12, None),
]  # fmt: skip


def plant(folder, names):
    """Write the same short silence under every name; links, since there are thousands."""
    silence = write_silence(folder.parent / "silence.wav")
    for name in names:
        path = folder / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(silence, path)
    return folder


@pytest.mark.parametrize(
    ("corpus", "names", "example", "count", "speakers", "women", "emotions"), TREES, ids=[f"{t[0]} {t[2][0]}" for t in TREES]
)
def test_a_corpus_is_read_by_the_names_of_its_files(tmp_path, corpus, names, example, count, speakers, women, emotions):
    clips = corpora.load(corpus, plant(tmp_path / corpus, names()))
    assert len(clips) == count and clips["clip"].is_unique and not clips.attrs["skipped"]
    row = clips.set_index("clip").loc[example[0]]
    assert (row["speaker"], row["emotion"], row["gender"], row["text"]) == example[1:]
    of_speaker = clips.groupby("speaker")["gender"].first()
    assert len(of_speaker) == speakers and (of_speaker == "female").sum() == women
    if emotions:
        assert Counter(clips["emotion"]) == emotions


def test_an_unknown_code_is_named_with_its_file_and_the_allowed_ones(tmp_path):
    folder = plant(tmp_path / "tess", ["OAF_back_angry", "YAF_back_calm"])
    with pytest.raises(SerError, match=r"code 'calm' in .*YAF_back_calm\.wav: allowed are angry \(anger\), disgust") as caught:
        corpora.load("tess", folder)
    one_line(caught)


SEVENTH = """
[toy]
title = "Toy"
language = "Esperanto"
description = "Two words by three children."
licence = "CC0"
citation = "none"
n_clips = 6

[toy.names]  # ana/glad-07: in a folder per speaker
pattern = '(?P<clip>(?P<speaker>[a-z]+)/(?P<emotion>glad|mad)-(?P<text>\\d+))'
speaker = { ben = "Benjamin" }
emotion = { glad = "happiness", mad = "anger" }
text = { 07 = "Saluton!" }
gender = { female = ["ana"], male = ["Benjamin"] }
left_out = { 'noise-\\d+' = "noise" }
"""


def test_a_seventh_corpus_takes_a_card_and_no_code(tmp_path, monkeypatch, capsys):
    (tmp_path / "cards.toml").write_text(SEVENTH, encoding="utf-8")
    (name, card), = corpora.read_cards(tmp_path / "cards.toml").items()
    monkeypatch.setitem(corpora.CORPORA, name, card)
    names = [f"{who}/{emotion}-07" for who in ("ana", "ben", "cleo") for emotion in ("glad", "mad")]
    clips = corpora.load("toy", plant(tmp_path / "toy", names)).set_index("clip")
    assert list(clips.index) == ["ana_glad-07", "ana_mad-07", "ben_glad-07", "ben_mad-07", "cleo_glad-07", "cleo_mad-07"]
    assert list(clips["speaker"].unique()) == ["ana", "Benjamin", "cleo"]
    assert list(clips["emotion"]) == ["happiness", "anger"] * 3 and set(clips["text"]) == {"Saluton!"}
    assert list(clips["gender"]) == ["female", "female", "male", "male", None, None]
    assert cli.main(["corpora"]) == 0
    assert "toy " in capsys.readouterr().out


def test_the_list_of_corpora_shows_the_new_ones_with_their_licences(capsys):
    assert cli.main(["corpora"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    for name, said in {"tess": "CC BY-NC-ND 4.0", "cremad": "Open Database License", "savee": "research", "urdu": "research",
                       "turevdb": "CC BY-NC-ND 4.0", "ased": "none stated"}.items():  # fmt: skip
        assert said in lines[name]


@pytest.mark.parametrize("name", [name for name, card in corpora.CORPORA.items() if card.names])
def test_a_card_with_names_maps_to_known_emotions_and_lists_the_same_ones(name):
    card = corpora.CORPORA[name]
    listed = {word.strip().split(" ")[0] for word in card.emotions.split(",")}
    assert set(card.names.emotion.values()) <= set(EMOTIONS) and listed == set(card.names.emotion.values())
    assert set(card.names.gender) <= {"female", "male"} and card.n_clips


def test_a_corpus_that_cannot_be_fetched_says_where_it_is_had(tmp_path):
    with pytest.raises(SerError, match=r"downloaded by hand from https://doi.org/\S+, and used with --data") as caught:
        corpora.fetch("tess", tmp_path / "tess")
    one_line(caught)
