"""What is right in the exercises of 02_feature_extraction.ipynb; see `ser_utils.checks`."""

from ser_utils import analysis, audio
from ser_utils.checks import difference, halves


def exercise_1(answer, model):
    """Window and stride give the shape of every feature map before it is computed."""
    right = next(n for n in range(99 * model.stride, 200 * model.stride) if model.frames(n) == 100)
    hints = {
        "the first frame needs all samples of the window, only the others one stride each": 100 * model.stride,
        "the window gives the first frame already, so 99 strides follow": right + model.stride,
        "that is in seconds": right / audio.SAMPLE_RATE,
    }
    return difference(answer, right, hints)


def exercise_2(answer, clips, active, seconds, min_active):
    """Overlap means more to compute and to store, but no more speech."""
    half, least = {"seconds": seconds, "hop": seconds / 2}, {"active": active, "min_active": min_active}
    hints = {
        "silent segments are still counted: pass `active`": len(audio.cut_segments(clips, **half)),
        "these segments do not overlap: set `hop`": len(audio.cut_segments(clips, seconds=seconds, **least)),
    }
    return difference(answer, len(audio.cut_segments(clips, **half, **least)), hints)


def exercise_3(answer, pooled, clips):
    """How much a dimension varies within a clip is lost in a mean over time."""

    def share(half):
        return analysis.neighbours(half, clips)["same emotion, other speaker"]

    return difference(answer, halves(pooled, ("mean", "standard deviation"), share), tolerance=0.002)
