"""Takes the pictures of docs/phone.md: the demo on a phone-sized screen, before people that the project renders.

python -m tests.mobile_demo.browser.screenshots --output=docs/images
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from absl import flags

from keras_pose.core import command
from keras_pose.data.dataset import open_dataset
from keras_pose.data.pipeline import read_examples
from mobile_demo.browser import PHONE, camera, open_browser
from mobile_demo.clip import write_clip
from tests.mobile_demo.browser.conftest import a_phone, serving

FLAGS = flags.FLAGS
SEED = 3
# name: (height and width of the camera's picture, which of the people, light or dark, what is tapped first)
SHOTS = {
    "phone_portrait_light": ((640, 480), 6, "light", ()),
    "phone_portrait_dark": ((640, 480), 3, "dark", ("#measure",)),
    "phone_landscape": ((480, 640), 10, "light", ()),
}


def define_flags(values: flags.FlagValues = FLAGS) -> None:
    """The command's flags."""
    flags.DEFINE_string("model", None, "An exported .tflite; by default what the demo serves.", flag_values=values)
    flags.DEFINE_string("output", "docs/images", "The folder to write to.", flag_values=values)


def main(arguments: list[str]) -> None:
    """Runs the command."""
    model = Path(FLAGS.model) if FLAGS.model else None
    with tempfile.TemporaryDirectory() as folder, serving(model, http=True) as url:
        for name, (size, index, scheme, taps) in SHOTS.items():
            picture = render(Path(folder) / f"{size[0]}x{size[1]}", size)[index]
            clip = write_clip(Path(folder) / f"{name}.y4m", np.stack([picture] * 2), 10)
            output = Path(FLAGS.output) / f"{name}.png"
            take(url, clip, output, size[0] > size[1], scheme, taps)
            print(f"{output}: {output.stat().st_size / 1000:.0f} kB")


def render(folder: Path, size: tuple[int, int]) -> list[np.ndarray]:
    """Synthetic people of the splits that are not trained on, (H, W, 3) RGB each."""
    if not folder.exists():
        numbers = [f"--image_size={size[0]}x{size[1]}", "--count=24", "--split_fractions=0.5,0.25,0.25"]
        numbers += [f"--seed={SEED}", "--difficulty=0:0.1"]
        subprocess.run([sys.executable, "-m", "keras_pose.synthetic", f"--output={folder}", *numbers], check=True)
    data = open_dataset(str(folder))
    return [example.decode_image() for split in ("test", "validation") for example in read_examples(data, split)]


def take(url: str, clip: Path, output: Path, upright: bool, scheme: str, taps: tuple[str, ...] = ()) -> None:
    """Writes one picture of the page, once the skeleton has come to rest."""
    width, height = PHONE["viewport"].values()
    viewport = {"width": width, "height": height} if upright else {"width": height, "height": width}
    with open_browser(camera(clip)) as browser:
        with a_phone(browser, url, viewport=viewport, color_scheme=scheme, device_scale_factor=1) as phone:
            phone.open().wait_for("running").results(30, timeout_ms=60_000)
            for control in taps:
                phone.page.click(control)
            phone.results(5)
            encoded = np.frombuffer(phone.page.screenshot(), np.uint8)
    cv2.imwrite(str(output), cv2.imdecode(encoded, cv2.IMREAD_COLOR), [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == "__main__":
    define_flags()
    command.run(main)
