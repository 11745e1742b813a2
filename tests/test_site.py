"""The built site as a reader's browser sees it: offline, accessible, in light and dark, wide and narrow."""

import contextlib
import copy
import functools
import http.server
import json
import os
import shutil
import subprocess
import threading
from pathlib import Path
from urllib.parse import unquote, urldefrag

import nbformat
import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup
from playwright.sync_api import TimeoutError, sync_playwright

from checked_words import refresh
from plan import Plan

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "build" / "quick" / "site"
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
CHAPTERS = [chapter["file"] for part in TOC["parts"] for chapter in part["chapters"]]
PAGES = [f"{name}.html" for name in (TOC["root"], *CHAPTERS, "genindex", "search")]
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync"]

AXE = {"preload": False, "resultTypes": ["violations"]}  # preloading would fetch style sheets from wrong addresses
COLORS = ["color-contrast", "link-in-text-block"]

IMAGES = """[...document.querySelectorAll('article img')]
    .map(i => [i.getAttribute('src').slice(0, 60), i.getAttribute('alt') || ''])"""
FIGURES = """[...document.querySelectorAll('article figure')]
    .filter(f => !(f.querySelector('figcaption')?.textContent.trim().length > 20)).map(f => f.id || f.outerHTML.slice(0, 60))"""

# Code holds thousands of spans in the colors of a dozen classes: one of each, on each background, is examined.
FLATTEN = """const seen = new Set();
for (const span of document.querySelectorAll('.highlight span:not(:has(*))')) {
    const look = span.className + ' in ' + span.closest('[class*="highlight-"]')?.className;
    seen.has(look) ? span.replaceWith(span.textContent) : seen.add(look);
}"""


@pytest.fixture(scope="session")
def site():
    """The site of the quick edition, built by the command that readers use."""
    done = subprocess.run(["make", "book"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return SITE


@pytest.fixture(scope="session")
def browser():
    """The system's Chromium. Without one the tests are skipped, but never in continuous integration."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no Chromium on this machine, and CI=true asks for the site tests")
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield chromium
        chromium.close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A file server that logs nothing."""

    def log_message(self, *args):
        pass


@pytest.fixture(scope="session")
def serve():
    """Serve a folder on a free port of this machine; returns its address."""
    servers = []

    def start(folder):
        handler = functools.partial(Quiet, directory=str(folder))
        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def visit(context, address, faults):
    """Open a page with everything outside this machine blocked; what goes wrong is added to `faults`."""
    def route(request):
        if request.request.url.startswith(("http://127.0.0.1", "data:", "blob:")):
            request.continue_()
        else:
            faults.append(f"outside request: {request.request.url}")
            request.abort()

    page = context.new_page()
    page.route("**/*", route)
    page.on("console", lambda message: message.type == "error" and faults.append(
        f"console: {message.text} ({message.location['url']})"))
    page.on("pageerror", lambda error: faults.append(f"console: {error}"))
    page.goto(address, wait_until="networkidle")
    page.evaluate("window.MathJax?.startup?.promise")
    return page


@contextlib.contextmanager
def opened(browser, address):
    """A page in a window of its own, and the list of faults to which the window adds its own."""
    faults = []
    with browser.new_context(color_scheme="light", reduced_motion="reduce") as context:
        yield visit(context, address, faults), faults


def examine(page, faults):
    """Return what is wrong with an open page, as a list of sentences, `faults` among them."""
    page.evaluate(FLATTEN)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        try:
            page.wait_for_function(f"document.documentElement.dataset.theme === '{scheme}'", timeout=3000)
        except TimeoutError:
            faults.append(f"theme is not {scheme}")
        options = AXE if scheme == "light" else AXE | {"runOnly": COLORS}  # only colors differ
        for rule in Axe().run(page, options=options).response["violations"]:
            faults += [f"axe ({scheme}): {rule['id']}: {node['html'][:120]}" for node in rule["nodes"]]
    if page.locator(".math").count() and not page.locator("mjx-container").count():
        faults.append("formulas are not set")
    page.set_viewport_size({"width": 390, "height": 844})
    if (width := page.evaluate("document.documentElement.scrollWidth")) > 390:
        faults.append(f"phone: {width} px wide")
    for source, alt in page.evaluate(IMAGES):
        if len(alt.strip()) < 20 or " " not in alt.strip():
            faults.append(f"alt text: {source} has {alt!r}")
    return faults + [f"caption: {figure} has none" for figure in page.evaluate(FIGURES)]


@pytest.fixture(scope="module", params=PAGES)
def page(request, site, browser, serve):
    """A page of the site, opened once for all tests of it: name, window and faults seen while it loaded."""
    with opened(browser, f"{serve(site)}/{request.param}") as (window, faults):
        yield request.param, window, faults


def test_page_has_no_fault(page):
    _, window, faults = page
    assert examine(window, faults) == []


def test_sliders_work_by_keyboard(page):
    """On the page as `test_page_has_no_fault` left it: as wide as a phone, and dark."""
    name, window, _ = page
    sliders = window.locator(".rt-slider")
    assert sliders.count() >= 1 or not Path(name).name[0].isdigit()  # chapters have one, other pages need not
    for slider in sliders.all():
        control, shown = slider.locator("input[type=range]"), slider.locator(".rt-frame:visible")
        before = shown.get_attribute("data-value")
        control.focus()
        window.keyboard.press("Home")
        window.keyboard.press("ArrowRight")
        assert shown.count() == 1
        second = slider.locator(".rt-frame").nth(1).get_attribute("data-value")
        assert shown.get_attribute("data-value") == second == control.get_attribute("aria-valuetext")
        assert slider.locator("output").inner_text() == second
        assert before in [frame.get_attribute("data-value") for frame in slider.locator(".rt-frame").all()]


def test_the_examination_finds_faults(browser, serve, tmp_path):
    (tmp_path / "bad.html").write_text("""<html lang="en" data-theme="light"><title>Bad</title><main><article><h1>Bad</h1>
        <p style="color: #aaa; background: #fff">Pale</p><p class="math">$x$</p>
        <style>@media (prefers-color-scheme: dark) {b {color: #444; background: #000}}</style><b>Dim</b>
        <figure><img src="data:," alt="image/figure.png"></figure><div style="width: 900px">wide</div>
        <script src="https://example.org/x.js"></script><script>console.error("no")</script></article></main></html>""")
    with opened(browser, f"{serve(tmp_path)}/bad.html") as (window, faults):
        found = "\n".join(examine(window, faults))
    for fault in ("outside request: https://example.org/x.js", "console: no (", "axe (light): color-contrast",
                  "axe (dark): color-contrast: <b>", "phone: ",
                  "theme is not dark", "alt text: data:", "caption: ", "formulas are not set"):
        assert fault in found


def soups(site):
    """Every page of the site as `{path: parsed HTML}`."""
    return {path.resolve(): BeautifulSoup(path.read_text("utf-8"), "html.parser") for path in site.rglob("*.html")}


def test_links_inside_the_site_lead_somewhere(site):
    parsed = soups(site)
    anchors = {path: {tag["id"] for tag in soup.find_all(id=True)} | {""} for path, soup in parsed.items()}
    dead = []
    for path, soup in parsed.items():
        for link in soup.select("a[href]"):
            target, anchor = urldefrag(link["href"])
            if "://" in target or target.startswith(("mailto:", "javascript:")):
                continue
            file = (path.parent / unquote(target)).resolve() if target else path
            if not file.exists() or (file in anchors and unquote(anchor) not in anchors[file]):
                dead.append(f"{path.name}: {link['href']}")
    assert dead == []


def test_the_stored_words_are_those_of_this_build(site):
    plan = Plan("quick")
    for page, path in plan.notebooks.items():
        source, executed = (nbformat.read(p, 4) for p in (path, plan.executed(page)))
        for cell in refresh(copy.deepcopy(source), executed).cells:
            stored = next(c for c in source.cells if c.id == cell.id)
            assert _texts(stored) == _texts(cell), f"{page}, cell {cell.id}: run 'make words'"


def _texts(cell):
    return [output.get("text") or output.get("data", {}).get("text/plain") for output in cell.get("outputs", [])]


@pytest.mark.parametrize("name", [name for name in CHAPTERS if name.startswith("notebooks/")])
def test_pages_open_elsewhere_and_download(site, name):
    text = (site / f"{name}.html").read_text("utf-8")
    for host in ("colab.research.google.com", "mybinder.org"):
        assert any(host in line and Path(name).name in line for line in text.splitlines()), host
    download = site / "_sources" / f"{name}.ipynb"
    assert f"_sources/{name}.ipynb" in text
    assert any(cell.get("outputs") for cell in json.loads(download.read_text("utf-8"))["cells"])


def test_the_front_page_counts_what_was_harvested(site):
    from helpers import registry

    verdicts = json.loads((SITE.parent / "stage" / "verdicts.json").read_text("utf-8"))
    statements = [name for claim in registry.load().values() for name in claim.statements]
    counts = BeautifulSoup((site / "index.html").read_text("utf-8"), "html.parser").select(".rt-counts li")
    shown = {item.get_text(" ", strip=True).split(" ", 2)[2]: int(item.strong.text) for item in counts}
    assert sum(shown.values()) == len(statements)
    assert shown["not tried yet"] == len(set(statements) - verdicts.keys())
    assert shown["HOLDS"] == sum(verdict["word"].startswith("HOLDS") for verdict in verdicts.values())
