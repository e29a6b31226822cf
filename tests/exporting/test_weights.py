"""Weights for other programs: what is refused alike by every format, and files that are written over."""

from pathlib import Path

from commands import Gesso, refused

pytest_plugins = ("exports",)


def test_a_file_that_cannot_be_written_leaves_those_of_the_export_before(
    runs: dict[str, Path], tmp_path: Path, gesso: Gesso
) -> None:
    (tmp_path / "latest_net_G_A.pth").write_bytes(b"before")
    (tmp_path / "latest_net_G_B.pth").mkdir()
    said = gesso("export", runs["cyclegan"], "--format", "junyanz", "-o", tmp_path)
    refused(said, r"latest_net_G_B\.pth cannot be written: a folder stands where a file must be")
    assert (tmp_path / "latest_net_G_A.pth").read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest_net_G_A.pth", "latest_net_G_B.pth"]
