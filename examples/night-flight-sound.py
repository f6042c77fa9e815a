"""Writes night-flight.wav: twelve seconds of a drum at 100 beats per minute over a slow chord."""

import math
import random
import struct
import sys
import wave
from pathlib import Path

RATE, SECONDS, BPM = 22050, 12, 100


def drum(time: float) -> float:
    """A drum at each beat: a low tone that falls in pitch and dies away."""
    since = time % (60 / BPM)
    return 0.6 * math.exp(-18 * since) * math.sin(2 * math.pi * (50 + 60 * math.exp(-30 * since)) * since)


def hat(time: float, noise: random.Random) -> float:
    """A short hiss half-way between the beats."""
    since = (time + 30 / BPM) % (60 / BPM)
    return 0.12 * math.exp(-60 * since) * noise.uniform(-1, 1)


def chord(time: float) -> float:
    """Three tones that swell and fade over the whole piece."""
    swell = 0.1 * math.sin(math.pi * time / SECONDS) ** 2
    return swell * sum(math.sin(2 * math.pi * tone * time) for tone in (220.0, 277.2, 329.6))


def main(path: Path) -> None:
    """Writes the file."""
    noise = random.Random(1)
    times = (n / RATE for n in range(RATE * SECONDS))
    samples = [round(32000 * (drum(t) + hat(t, noise) + chord(t))) for t in times]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(struct.pack(f"<{len(samples)}h", *samples))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("night-flight.wav"))
