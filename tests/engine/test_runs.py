"""What a run folder says of itself."""

import pytest

from gesso.engine.runs import command


@pytest.mark.parametrize(
    ("program", "told"), [("/usr/bin/gesso", "gesso"), ("/lib/gesso/__main__.py", "python -m gesso")]
)
def test_the_command_can_be_typed_again(program: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [program, "train", "pix2pix", "--data.root", "my photos"])
    assert command() == f"{told} train pix2pix --data.root 'my photos'"
