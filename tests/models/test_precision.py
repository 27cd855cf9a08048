"""The choice of `--precision=auto`."""

import pytest

from keras_pose.models.precision import fastest_precision


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor: 0\nflags : fpu avx2 avx512_bf16\nprocessor: 1\nflags : fpu avx512_bf16\n", "mixed_bfloat16"),
        ("flags\t\t: fpu amx_bf16 amx_tile\n", "mixed_bfloat16"),
        ("flags\t\t: fpu avx2 fma\n", "float32"),
        ("flags : avx512_bf16\nflags : avx2\n", "float32"),  # processors that differ
        ("Features : fp asimd\n", "float32"),
        ("flags\n", "float32"),
        ("", "float32"),
    ],
)
def test_follows_the_processors_features(tmp_path, text, expected):
    cpu_info = tmp_path / "cpuinfo"
    cpu_info.write_text(text)
    assert fastest_precision(cpu_info) == expected


def test_an_unknown_processor_computes_in_float32(tmp_path):
    assert fastest_precision(tmp_path / "none") == "float32"
