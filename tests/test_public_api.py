"""What `import vqclip` offers: the intended names, loaded only when they are used."""

import subprocess
import sys

import pytest

import vqclip

INTENDED = {
    "DivergedError",
    "MemoryFullError",
    "ModelError",
    "OutputError",
    "PartialError",
    "PictureError",
    "UsageError",
    "VqclipError",
    "__version__",
    "generate",
    "load_clip",
    "load_vqgan",
}


def test_the_public_names_are_the_intended_ones():
    assert set(vqclip.__all__) == INTENDED
    assert set(dir(vqclip)) >= INTENDED


@pytest.mark.parametrize("name", sorted(INTENDED))
def test_every_public_name_is_there_and_documented(name):
    value = getattr(vqclip, name)
    assert isinstance(value, str) or value.__doc__


def test_importing_vqclip_loads_neither_torch_nor_open_clip():
    code = "import sys, vqclip; vqclip.__version__; sys.exit(bool({'torch', 'open_clip', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_loading_a_vqgan_does_not_import_open_clip():
    code = "import sys, vqclip; vqclip.load_vqgan; sys.exit('open_clip' in sys.modules or 'torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'paint_me'"):
        _ = vqclip.paint_me


def test_every_error_has_its_own_exit_code():
    errors = [getattr(vqclip, name) for name in INTENDED if name.endswith("Error") and name != "VqclipError"]
    codes = [error.exit_code for error in errors]
    assert sorted(codes) == [2, 3, 4, 5, 6, 7, 8]
    assert all(issubclass(error, vqclip.VqclipError) for error in errors)
