"""Videos and sounds of the sandbox are valid files of the promised size and length."""

from __future__ import annotations

import array
import io
import wave
from collections.abc import Callable
from itertools import pairwise

import av
import pytest
from PIL import Image, ImageChops, ImageStat

from aiowery.sandbox._media.draw import draw
from aiowery.sandbox._media.film import FRAMES_A_SECOND, film
from aiowery.sandbox._media.sound import _PAUSE, _SYLLABLE, _TONE, RATE, song, speech

PROMPT = "a lake below mountains at sunset"
LOUDEST_SAMPLE = 2**15 - 1
SOUNDS = pytest.mark.parametrize("make", [song, speech])

Sound = Callable[[str, float], bytes]


def frames(video: bytes) -> list[Image.Image]:
    """Decode every frame."""
    with av.open(io.BytesIO(video), "r") as container:
        return [frame.to_image() for frame in container.decode(video=0)]  # type: ignore[no-untyped-call]


def samples(sound: bytes) -> array.array[int]:
    """Read every sample."""
    with wave.open(io.BytesIO(sound)) as file:
        return array.array("h", file.readframes(file.getnframes()))


def difference(one: Image.Image, other: Image.Image) -> float:
    """Return the average difference of two images, 0 to 255."""
    return max(ImageStat.Stat(ImageChops.difference(one, other)).mean)


def test_film_is_h264_in_yuv420p() -> None:
    """Browsers support the codec and the pixel format."""
    with av.open(io.BytesIO(film(PROMPT, 0, 96, 64, 1)), "r") as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert len(container.streams) == 1


@pytest.mark.parametrize(("requested", "expected"), [(-1, 1), (0, 1), (1.5, 1.5), (3, 3), (8, 8), (99, 8)])
def test_film_duration_is_clamped(requested: float, expected: float) -> None:
    """Seconds are clamped to 1-8, and the frames fill them."""
    video = film(PROMPT, 0, 64, 64, requested)
    with av.open(io.BytesIO(video), "r") as container:
        assert container.duration == expected * 1_000_000
    assert len(frames(video)) == expected * FRAMES_A_SECOND


@pytest.mark.parametrize(
    ("requested", "expected"),
    [((128, 72), (128, 72)), ((127, 72), (128, 72)), ((64, 85), (64, 86)), ((33, 47), (34, 48)), ((1, 1), (2, 2))],
)
def test_film_with_odd_size_has_even_dimensions(requested: tuple[int, int], expected: tuple[int, int]) -> None:
    """The codec needs even sides, so odd ones grow by one pixel."""
    assert {frame.size for frame in frames(film(PROMPT, 0, *requested, 1))} == {expected}


def test_film_index_precedes_its_data() -> None:
    """A player can start before it has the whole file."""
    video = film(PROMPT, 0, 96, 64, 1)
    assert 0 < video.index(b"moov") < video.index(b"mdat")


def test_film_first_frame_is_the_image() -> None:
    """The first frame is the image of the same prompt and index."""
    first = frames(film(PROMPT, 1, 128, 128, 1))[0]
    near, far = (Image.open(io.BytesIO(draw(PROMPT, index, 128, 128))).convert("RGB") for index in (1, 2))
    assert difference(first, near) < 12
    assert difference(first, near) < difference(first, far) / 2


def test_film_frames_differ() -> None:
    """Each frame differs from the one before, and the last from the first."""
    decoded = frames(film(PROMPT, 0, 128, 128, 2))
    assert all(difference(one, other) > 0 for one, other in pairwise(decoded))
    assert difference(decoded[0], decoded[-1]) > 3


@pytest.mark.parametrize("prompt", [PROMPT, "cyberpunk city neon night rain", "snow forest pine fir"])
def test_film_of_four_seconds_is_small(prompt: str) -> None:
    """Four seconds at the sandbox's largest size are below 400 KB, even for images with many edges."""
    assert len(film(prompt, 0, 512, 512, 4)) < 400_000


def test_film_is_repeatable() -> None:
    """Equal arguments give equal bytes, another prompt or index gives others."""
    films = [film(prompt, index, 96, 64, 1) for prompt, index in ((PROMPT, 0), (PROMPT, 0), (PROMPT, 1), ("", 0))]
    assert films[0] == films[1]
    assert len(set(films)) == 3


@SOUNDS
def test_sound_is_mono_with_16_bits(make: Sound) -> None:
    """The header describes the samples."""
    with wave.open(io.BytesIO(make(PROMPT, 1))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE)


@SOUNDS
@pytest.mark.parametrize(("requested", "expected"), [(-1, 1), (0, 1), (1.234, 1.234), (5, 5), (12, 12), (99, 12)])
def test_sound_duration_is_clamped(make: Sound, requested: float, expected: float) -> None:
    """Seconds are clamped to 1-12, and the samples fill them."""
    assert len(samples(make(PROMPT, requested))) == round(expected * RATE)


@SOUNDS
@pytest.mark.parametrize("text", [PROMPT, "", "   ", "hm", "湖と山", "\ud800", "word " * 200])
def test_sound_is_audible_and_not_clipped(make: Sound, text: str) -> None:
    """Any text is audible in every half second, below the largest sample."""
    sound = samples(make(text, 3))
    assert max(map(abs, sound)) < LOUDEST_SAMPLE
    halves = [sound[start : start + RATE // 2] for start in range(0, len(sound), RATE // 2)]
    assert all(max(map(abs, half)) > 5_000 for half in halves)


@SOUNDS
@pytest.mark.parametrize("seconds", [1, 1.1, 2.05])
def test_sound_end_is_silent(make: Sound, seconds: float) -> None:
    """A sound begins and ends in silence, even if it is cut inside a tone."""
    sound = samples(make(PROMPT, seconds))
    assert (sound[0], sound[-1]) == (0, 0)
    assert max(map(abs, sound[-20:])) < 2_000


@pytest.mark.parametrize(("make", "text", "lasts"), [(song, PROMPT, _TONE), (speech, "a" + "ba" * 30, _SYLLABLE)])
def test_tone_end_is_silent(make: Sound, text: str, lasts: float) -> None:
    """Every tone and every syllable has its own fade, not only the last."""
    sound, tone = samples(make(text, 3)), round(lasts * RATE)
    assert all(max(map(abs, sound[end - 20 : end + 20])) < 2_000 for end in range(tone, len(sound) - 20, tone))


@SOUNDS
def test_sound_is_repeatable(make: Sound) -> None:
    """Equal arguments give equal bytes, another text gives others."""
    assert make(PROMPT, 2) == make(PROMPT, 2)
    assert make(PROMPT, 2) != make("hills", 2)


def test_song_differs_from_speech() -> None:
    """Song and speech of the same text differ."""
    assert song(PROMPT, 1) != speech(PROMPT, 1)


@pytest.mark.parametrize(("text", "syllables"), [("la", 1), ("la la la", 1), ("banana", 3), ("hm", 1), ("sea", 1)])
def test_speech_pauses_after_each_word(text: str, syllables: int) -> None:
    """The syllables of a word have no gap between them, words do."""
    tone, pause = round(_SYLLABLE * RATE), round(_PAUSE * RATE)
    sound = samples(speech(text, 3))
    word = syllables * tone
    assert all(any(sound[start : start + 200]) for start in range(0, word - 200, 200))
    assert not any(sound[word : word + pause])
    assert any(sound[word + pause : word + pause + tone])
