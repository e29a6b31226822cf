"""How many (photo, label map) pairs of the built-in streets one core renders a second.

    python benchmarks/streets.py [--size 128] [--count 300]

Measured in time of the processor, so that other work on the machine does not count (though it slows the caches).
"""

import argparse
import time

from gesso.data.synth import street_pair


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=128, help="side in pixels (%(default)s)")
    parser.add_argument("--count", type=int, default=300, help="pairs a round (%(default)s)")
    arguments = parser.parse_args()
    street_pair(0, 0, arguments.size)  # make the textures that all scenes share
    rates = []
    for round_ in range(3):
        start = time.process_time()
        for index in range(arguments.count):
            street_pair(round_, index, arguments.size)
        rates.append(arguments.count / (time.process_time() - start))
    print(
        f"{arguments.size}x{arguments.size}: {sorted(rates)[1]:.0f} pairs/s on one core "
        f"(median of 3 rounds of {arguments.count}; {min(rates):.0f} to {max(rates):.0f})"
    )


if __name__ == "__main__":
    main()
