import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from door import Door, save_picture
from hostile import NAMES, PROMPTS, fill

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
pytestmark = pytest.mark.skipif(not BROWSER, reason="there is no Chromium here")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api")
    # Chromium's own sandbox refuses to start for root, which tests in containers often are.
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with api.sync_playwright() as play:
        started = play.chromium.launch(executable_path=BROWSER, args=flags)
        yield started
        started.close()


@pytest.fixture
def page(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Any]:
    """The gallery of a folder of hostile pictures, with all that went wrong in `page.wrong`."""
    fill(tmp_path)
    Path(tmp_path, "broken <i>.png").write_bytes(b"no picture")
    save_picture(tmp_path / "good.png")
    assert Door(monkeypatch, capsys)("gallery", str(tmp_path)).code == 0
    with browser.new_context(permissions=["clipboard-read", "clipboard-write"]) as context:
        opened = context.new_page()
        opened.wrong = []
        for event in ("dialog", "console", "pageerror", "requestfailed", "popup"):
            opened.on(event, lambda what, event=event: opened.wrong.append((event, str(getattr(what, "text", what)))))
        opened.requested = []
        opened.on("request", lambda request: opened.requested.append(request.url))
        opened.goto((tmp_path / "gallery.html").as_uri())
        yield opened


def test_nothing_of_a_hostile_folder_runs_and_all_of_it_is_seen(page: Any):
    for image in page.locator("img").all():
        image.scroll_into_view_if_needed()
        image.hover()
        image.evaluate("image => image.decode()")
        assert image.evaluate("image => image.naturalWidth") == 8
    assert page.wrong == []
    assert "ran" not in page.title()
    assert all(url.startswith("file:///") for url in page.requested)
    assert page.evaluate("document.querySelectorAll('iframe, object, embed, base, form').length") == 0
    prompts = page.locator(".prompt").all_text_contents()
    assert {text for text in PROMPTS[:4]} <= set(prompts)
    assert page.locator("article").count() == len(NAMES) + 1
    assert page.locator("#broken li").inner_text().startswith("broken <i>.png: ")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "wider than the window"


def test_a_script_that_got_into_the_page_would_be_stopped_by_its_policy(page: Any):
    page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "document.title = 'ran'";
          document.body.append(script);
          document.body.insertAdjacentHTML("beforeend", "<img src=x: onerror=\\"document.title='ran'\\">");
        }"""
    )
    page.wait_for_timeout(200)
    assert page.title() != "ran"
    assert any("Content Security Policy" in text for _, text in page.wrong)


def test_search_shows_only_what_holds_all_its_words(page: Any):
    seen = page.locator("article:visible")
    page.fill("input", "CASTLE 41")
    assert seen.count() == 1
    assert page.locator("output").inner_text() == f"1 of {len(NAMES) + 1} shown"
    page.fill("input", "<script>")
    assert seen.count() == 1
    page.fill("input", "טירה")
    assert seen.count() == 2
    page.fill("input", "nowhere to be found")
    assert seen.count() == 0
    page.fill("input", "")
    assert seen.count() == len(NAMES) + 1
    assert page.wrong == []


def test_the_button_copies_the_line_that_paints_again(page: Any):
    card = page.locator("article", has_text="line\\nbreak.png")
    card.locator("button").click()
    card.get_by_text("Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == r"vqclip again $'line\012break.png'"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground_in_light_and_dark(page: Any, scheme: str):
    page.emulate_media(color_scheme=scheme)
    page.locator("article", has_text="good.png").locator("summary").click()
    for where in (".prompt", ".facts", ".file", "code", "pre", "summary", "header p", "#broken li"):
        assert page.evaluate(CONTRAST, where) >= 4.5, where


# The contrast ratio of the Web Content Accessibility Guidelines, between a text and the first ground behind it.
CONTRAST = """where => {
  const light = (color) => {
    const parts = color.match(/[\\d.]+/g).slice(0, 3).map((one) => one / 255)
      .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const one = document.querySelector(where);
  let ground = one;
  while (getComputedStyle(ground).backgroundColor === "rgba(0, 0, 0, 0)") ground = ground.parentElement;
  const both = [getComputedStyle(one).color, getComputedStyle(ground).backgroundColor].map(light).sort();
  return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
}"""
