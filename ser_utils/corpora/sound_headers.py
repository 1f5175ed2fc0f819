"""What a file is by its first bytes, and how long its sound is by its header."""

from __future__ import annotations

import struct
from mmap import mmap
from typing import NamedTuple

#: Endings of sound files that libsndfile reads, those without loss first, and of those that PyAV reads.
AUDIO_ENDINGS = (".wav", ".flac", ".aiff", ".aif", ".aifc", ".au", ".snd", ".w64", ".rf64", ".caf", ".ogg", ".oga", ".opus", ".mp3")
FOREIGN_ENDINGS = tuple(
    ".m4a .m4b .mp4 .m4v .mov .aac .adts .webm .weba .mka .mkv .amr .awb .3gp .3gpp .3g2 .wma .asf .wv .ape .tta .ac3 .eac3 .dts "
    ".mp2 .mpc .ra .rm .avi .flv .mpg .mpeg .spx .ogv .dss .qcp .voc .sph .gsm".split()
)
#: Kinds that libsndfile does not read, by bytes at a position.
FOREIGN = {
    (4, b"ftyp"): "MPEG-4 (m4a, mp4, 3gp)", (0, b"\x1aE\xdf\xa3"): "WebM or Matroska", (0, b"#!AMR"): "AMR",
    (0, b"\xff\xf0"): "AAC", (0, b"\xff\xf1"): "AAC", (0, b"\xff\xf8"): "AAC", (0, b"\xff\xf9"): "AAC",
    (0, b"0&\xb2u"): "Windows Media", (0, b"wvpk"): "WavPack",
    (0, b"MAC "): "Monkey's Audio", (8, b"AVI "): "AVI video", (0, b"FLV"): "Flash video", (0, b"\x0bw"): "AC-3",
    (0, b"TTA1"): "True Audio", (0, b".RMF"): "RealMedia",
}  # fmt: skip
_OURS = {b"RIFF": "WAV", b"RIFX": "WAV", b"RF64": "WAV", b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3\x03": "MP3", b"ID3\x04": "MP3",
         b"FORM": "AIFF", b"caff": "CAF", b"riff": "Wave64", b".snd": "AU"}  # fmt: skip
_NO_SOUND = {
    b"version https://git-lfs": ("a Git LFS pointer instead of the recording", "run `git lfs pull`"),
    b"PK\x03\x04": ("a zip file or a workbook", "unpack it"), b"%PDF": ("a PDF", "leave it out"),
}  # fmt: skip
_NO_LENGTH = 0x7FFFFF00  # recorders that cannot go back write this much or more, or 0
_SMALL_REST = 4096  # tags and filling behind the sound are shorter than that


def kind_of(head: bytes) -> tuple[str, bool]:
    """Name of a file's kind ("" if it is not known), and whether it is one that libsndfile does not read."""
    for (position, mark), name in FOREIGN.items():
        if head.startswith(mark, position):
            return name, True
    mp3 = head[:1] == b"\xff" and head[1:2] >= b"\xe0"
    return _OURS.get(head[:4], "MP3" if mp3 else ""), False


def no_sound(head: bytes) -> tuple[str, str] | None:
    """What a file is that cannot be sound, and what to do about it; `head` are its first bytes."""
    for mark, said in _NO_SOUND.items():
        if head.startswith(mark):
            return said
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "a web page instead of the recording", "download it again"
    if all(byte >= 32 or byte in b"\t\n\r\f" for byte in head) and not head.startswith(tuple(_OURS)):
        return "text", "leave it out"
    return None


class Length(NamedTuple):
    """Where a header says how many bytes of sound there are.

    Attributes
    ----------
    position, form, extra : int, str, int
        Of the number in the header, how it is written (for `struct`), and what it counts beside the sound.
    stated, there : int
        Bytes of sound by the header, and in the file.
    block : int
        Bytes that belong together, if the header says so, else 0.
    followed : bool
        The sound is followed by further parts of the file, as it should be.
    """

    position: int
    form: str
    extra: int
    stated: int
    there: int
    block: int
    followed: bool

    @property
    def unknown(self) -> bool:
        """The header says nothing: a recorder or a pipe could not go back to write it."""
        return not 0 < self.stated < (_NO_LENGTH if "I" in self.form else 1 << 62)

    @property
    def cut(self) -> bool:
        """There is less sound than the header says; a few bytes are a mistake of the program that wrote them."""
        return not self.unknown and self.stated > self.there + 256

    @property
    def short(self) -> bool:
        """There is more sound than the header says."""
        rest = self.there - self.stated
        return not self.followed and rest > 0 and rest >= min(_SMALL_REST, max(self.stated, 0))

    def of_header(self, frames: int) -> int:
        """Samples that the header states, where `frames` are there."""
        block = self.block or self.there // frames or 1
        # GSM counts a last block that is not whole, PCM does not.
        up = block - 1 if frames % max(1, self.there // block) else 0
        return round(frames * ((self.stated + up) // block) / max(1, (self.there + up) // block))

    def mended(self) -> bytes:
        """The number as it should be."""
        return struct.pack(self.form, self.there + self.extra)


#: Begin of the parts, length of a name, form of a size, name of the sound's part, bytes in it before the sound, whether a
#: size counts the part's own header, and what parts are aligned to.
_LAYOUTS = {
    b"RIFF": (12, 4, "<I", b"data", 0, False, 2), b"RIFX": (12, 4, ">I", b"data", 0, False, 2),
    b"RF64": (12, 4, "<I", b"data", 0, False, 2), b"FORM": (12, 4, ">I", b"SSND", 8, False, 2),
    b"caff": (8, 4, ">q", b"data", 4, False, 1), b"riff": (40, 16, "<q", b"data", 0, True, 8),
}  # fmt: skip


def sound_length(content: mmap) -> Length | None:
    """Find the length of the sound in the header of a WAV, RF64, Wave64, AIFF, CAF or AU file; None in others."""
    if content[:4] == b".snd" and len(content) >= 24:
        begin, stated = struct.unpack_from(">II", content, 4)
        return Length(8, ">I", 0, stated, len(content) - begin, 0, False)
    if content[:4] not in _LAYOUTS:
        return None
    at, named, form, wanted, before, counted, align = _LAYOUTS[content[:4]]
    header = named + struct.calcsize(form)
    long, block = None, 0  # where the 64-bit size of RF64 stands
    while at + header <= len(content):
        size = struct.unpack_from(form, content, at + named)[0] - header * counted
        if content[at : at + 4] == b"ds64":
            long = at + 16
        if content[at : at + 4] == b"fmt " and len(content) >= at + header + 14:
            block = struct.unpack_from(form[0] + "H", content, at + header + 12)[0]
        if content[at : at + 4] == wanted:
            position, extra = at + named, before + header * counted
            if long and size == 0xFFFFFFFF:
                position, form = long, "<Q"
                size = struct.unpack_from(form, content, long)[0]
            stated, begin = size - before, at + header + before
            there = len(content) - begin
            end = begin + stated + stated % align
            followed = 0 < stated <= there and _parts(content, end, named, header)
            return Length(position, form, extra, stated, there, block, followed)
        at += header + max(size, 0) + size % align
    return None


def _parts(content: mmap, at: int, named: int, header: int) -> bool:
    """Whether there are parts with names from a position to the end of the file, or nothing."""
    form = _LAYOUTS[content[:4]][2]
    counted, align = _LAYOUTS[content[:4]][5:]
    while at + header < len(content):
        size = struct.unpack_from(form, content, at + named)[0] - header * counted
        name = content[at : at + 4]
        if not all(32 <= byte < 127 for byte in name) or not 0 <= size <= len(content) - at - header:
            return False
        at += header + size + size % align
    return True


def ogg_cut_short(content: mmap) -> bool:
    """Whether the last page of an Ogg file is not whole, or lacks the mark of the end (RFC 3533, section 6)."""
    last = content.rfind(b"OggS")
    if last < 0 or last + 27 > len(content):
        return True
    table = content[last + 27 : last + 27 + content[last + 26]]
    return len(table) < content[last + 26] or last + 27 + len(table) + sum(table) > len(content) or not content[last + 5] & 4
