"""The form that tries an engine, in a browser: what is sent and shown, and the same request elsewhere."""

import io
import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from playwright.sync_api import FilePayload, Locator, Page, expect

from tests.e2e.console.accessibility import faults
from tests.e2e.console.uploads import negative, upload
from tests.e2e.server import Server


def form(page: Page, id: int) -> None:
    page.goto(f"/#/engines/{id}/try")
    expect(page.get_by_role("button", name="Run")).to_be_visible()


def run(page: Page) -> None:
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_text("answered in")).to_be_visible()


def numbers(page: Page, output: str = "y") -> list[float]:
    text = page.get_by_label(f"Numbers of {output}").inner_text()
    return [float(number) for number in text.split(",")]


def npy(array: np.ndarray) -> FilePayload:
    file = io.BytesIO()
    np.save(file, array)
    return {"name": "x.npy", "mimeType": "application/octet-stream", "buffer": file.getvalue()}


def png(colour: tuple[int, int, int], size: int = 3) -> FilePayload:
    """A square of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + bytes(colour) * size) * size
    head = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    content = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    return {"name": "colour.png", "mimeType": "image/png", "buffer": content}


def snippet(page: Page, title: str) -> str:
    page.locator("summary").get_by_text(title, exact=True).click()
    code: Locator = page.get_by_label(title, exact=True)
    expect(code).to_be_visible()
    return code.inner_text()


def test_random_values_are_run_in_the_range_and_shape_that_were_given(
    page: Page, server: Server, plan: bytes, axe: str
) -> None:
    form(page, upload(server, plan, "doubling"))
    page.get_by_label("Shape").fill("2, 4")
    page.get_by_label("From").fill("10")
    page.get_by_label("Below").fill("11")
    run(page)
    values = numbers(page)
    assert len(values) == 8
    assert all(20 <= value < 22 for value in values)
    assert faults(page, axe) == []


def test_an_npy_file_is_sent_as_it_is(page: Page, server: Server, plan: bytes) -> None:
    form(page, upload(server, plan, "doubling"))
    page.get_by_label("Values").select_option("npy")
    page.get_by_label("File", exact=True).set_input_files(npy(np.array([[1, -2, 0.5, 3e9]], np.float32)))
    run(page)
    assert numbers(page) == [2, -4, 1, 6e9]


def test_an_image_is_resized_and_normalised(page: Page, server: Server) -> None:
    form(page, upload(server, negative(shape=(1, 3, 5, 6)), "image"))
    page.get_by_label("Values").select_option("image")
    page.get_by_label("File", exact=True).set_input_files(png((255, 0, 51)))
    page.get_by_label("Channels as").select_option("-1 to 1")
    run(page)
    values = np.array(numbers(page))
    assert values[:30] == pytest.approx(-1, abs=0.01)  # red
    assert values[30:60] == pytest.approx(1, abs=0.01)  # green
    assert values[60:] == pytest.approx(0.6, abs=0.01)  # blue: -(2 * 51 / 255 - 1)


def test_the_greatest_values_come_first(page: Page, server: Server, plan: bytes) -> None:
    form(page, upload(server, plan, "doubling"))
    page.get_by_label("Values").select_option("npy")
    page.get_by_label("File", exact=True).set_input_files(npy(np.array([[1, 4, 3, 2]], np.float32)))
    run(page)
    page.get_by_label("Show y as").select_option("best")
    rows = page.get_by_role("region", name="Greatest values of y").get_by_role("row")
    assert rows.all_inner_texts()[1:] == ["1\t8", "2\t6", "3\t4", "0\t2"]


def test_an_output_is_shown_as_a_picture(page: Page, server: Server) -> None:
    form(page, upload(server, negative(shape=(1, 1, 2, 2)), "image"))
    page.get_by_label("Values").select_option("npy")
    page.get_by_label("File", exact=True).set_input_files(npy(np.array([[[[0, 0], [0, -1]]]], np.float32)))
    run(page)
    page.get_by_label("Show y as").select_option("picture")
    picture = page.get_by_role("img", name="y as a picture")
    expect(picture).to_be_visible()
    pixels = picture.evaluate("c => Array.from(c.getContext('2d').getImageData(0, 0, 2, 2).data)")
    assert pixels == [0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255, 255]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [("1, 5", "the engine takes [?, 4]"), ("1, many", "The shape of x is 1, many; it is whole numbers")],
)
def test_a_wrong_shape_shows_why(page: Page, server: Server, plan: bytes, shape: str, expected: str) -> None:
    form(page, upload(server, plan, "doubling"))
    page.get_by_label("Shape").fill(shape)
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("alert")).to_contain_text(expected)


@pytest.mark.parametrize("title", ["Python: tritonclient", "Python: httpx"])
def test_the_same_request_in_python_gives_the_same_answer(
    page: Page, server: Server, plan: bytes, title: str
) -> None:
    form(page, upload(server, plan, "doubling"))
    run(page)
    code = snippet(page, title)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    got = [float(number) for number in done.stdout.strip(" y[]\n").split()]
    assert got == pytest.approx(numbers(page), rel=1e-5)


def test_the_same_request_with_an_image_gives_the_same_answer(
    page: Page, server: Server, tmp_path: Path
) -> None:
    form(page, upload(server, negative(shape=(1, 3, 2, 4)), "image"))
    page.get_by_label("Values").select_option("image")
    image = png((255, 0, 51))
    (tmp_path / image["name"]).write_bytes(image["buffer"])
    page.get_by_label("File", exact=True).set_input_files(image)
    page.get_by_label("Channels as").select_option("ImageNet")
    run(page)
    code = snippet(page, "Python: httpx").replace("print(name, value)", "print(value.ravel().tolist())")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=tmp_path)
    assert json.loads(done.stdout) == pytest.approx(numbers(page), rel=1e-5)


def test_an_older_version_is_called_by_its_id(page: Page, server: Server, plan: bytes) -> None:
    older = upload(server, plan, "net")
    upload(server, negative(), "net")
    form(page, older)
    run(page)
    assert f'client.infer("{older}"' in snippet(page, "Python: tritonclient")


@pytest.mark.parametrize("columns", [4, 100])
def test_the_same_request_in_a_shell_gives_the_same_answer(
    page: Page, server: Server, tmp_path: Path, columns: int
) -> None:
    """A long one from the file that the console saves."""
    form(page, upload(server, negative("it's", shape=(1, columns)), "quoted"))
    run(page)
    if columns > 64:
        with page.expect_download() as saved:
            page.get_by_role("button", name="Save request.json for curl").click()
        saved.value.save_as(tmp_path / "request.json")
    command = ["bash", "-c", snippet(page, "curl")]
    done = subprocess.run(command, capture_output=True, check=True, cwd=tmp_path)
    (output,) = json.loads(done.stdout)["outputs"]
    assert output["data"] == pytest.approx(numbers(page), rel=1e-5)


class Twice(torch.nn.Module):
    def forward(self, x: list[str]) -> list[str]:
        return [text + "!" + text for text in x]


@pytest.fixture
def strings(server: Server) -> int:
    """An engine of strings, which says each twice."""
    tensor = {"datatype": "BYTES", "shape": [-1]}
    told = {"inputs": [tensor | {"name": "x"}], "outputs": [tensor | {"name": "y"}]}
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(Twice()), file, _extra_files={"trtserve.json": json.dumps(told)})
    return upload(server, file.getvalue(), "strings")


def said(page: Page) -> str:
    return page.get_by_label("Strings of y").inner_text()


@pytest.mark.parametrize(
    ("shape", "text", "expected"),
    [("1", "hören", "hören!hören"), ("1", "two\nlines", "two\nlines!two\nlines"), ("2", "a\nb", "a!a\nb!b")],
)
def test_text_is_sent_to_an_input_of_strings(
    page: Page, strings: int, shape: str, text: str, expected: str
) -> None:
    form(page, strings)
    page.get_by_label("Strings, one on each line").fill(text)
    page.get_by_label("Shape").fill(shape)
    run(page)
    assert said(page) == expected


def test_a_file_is_sent_as_one_string(page: Page, strings: int, axe: str) -> None:
    form(page, strings)
    page.get_by_label("Values").select_option("file")
    page.get_by_label("File", exact=True).set_input_files(
        {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": b"a photo"}
    )
    run(page)
    assert said(page) == "a photo!a photo"
    assert faults(page, axe) == []
    assert 'open("photo.jpg", "rb").read()' in snippet(page, "Python: tritonclient")


def test_strings_that_do_not_fill_the_shape_are_told(page: Page, strings: int) -> None:
    form(page, strings)
    page.get_by_label("Shape").fill("3")
    page.get_by_label("Strings, one on each line").fill("a\nb")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("alert")).to_contain_text("has 3 strings, and there are 2: each is on a line.")


@pytest.mark.parametrize("title", ["Python: tritonclient", "Python: trtserve", "curl"])
def test_the_same_request_with_strings_gives_the_same_answer(page: Page, strings: int, title: str) -> None:
    form(page, strings)
    page.get_by_label("Strings, one on each line").fill('it\'s "so"')
    run(page)
    code = snippet(page, title)
    command = ["bash", "-c", code] if title == "curl" else [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    twice = 'it\'s "so"!it\'s "so"'
    assert (json.dumps(twice) if title == "curl" else repr(twice.encode())) in done.stdout
