"""A headless browser for the tests of pages: Chromium or Chrome with its chromedriver."""

import base64
import contextlib
import os
import shutil

import pytest

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip

# Elements that overflow the window, or an element that does not scroll.
_OVERFLOWING = """
const inside = (element) => element.parentElement.closest(".scroll, svg");
const name = (element) => `${element.tagName} ${element.id || element.className || element.textContent.slice(0, 40)}`;
return [...document.body.querySelectorAll("*")].filter((element) => !inside(element) && element.getClientRects().length)
  .filter((element) => element.getBoundingClientRect().right > document.documentElement.clientWidth + 1
    || (!element.matches(".scroll, svg") && element.clientWidth && element.scrollWidth > element.clientWidth + 1))
  .map(name);
"""

# Texts with less contrast to their background than WCAG's 4.5, except in pictures.
_ILLEGIBLE = """
const parsed = (colour) => colour.match(/[\\d.]+/g).map(Number);
const light = (colour) => parsed(colour).slice(0, 3).map((c) => c / 255)
  .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const ground = (element) => {
  for (let one = element; one; one = one.parentElement) {
    const colour = getComputedStyle(one).backgroundColor;
    if ((parsed(colour)[3] ?? 1) > 0) return light(colour);
  }
  return 1;
};
const written = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
const contrast = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
return [...document.body.querySelectorAll("*")]
  .filter((element) => !element.closest("svg, script") && written(element))
  .filter((element) => contrast(light(getComputedStyle(element).color), ground(element)) < 4.5)
  .map((element) => element.textContent.slice(0, 40));
"""


@contextlib.contextmanager
def opened(folder):
    """A Browser with its profile in the folder; the test is skipped if there is none."""
    webdriver = pytest.importorskip("selenium.webdriver")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    binary = os.environ.get("CHROME_BIN") or next(filter(None, map(shutil.which, names)), None)
    driver = os.environ.get("CHROMEDRIVER") or shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("needs Chromium and chromedriver: on PATH, or named by CHROME_BIN and CHROMEDRIVER")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (*_FLAGS, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    chrome = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        yield Browser(chrome)
    finally:
        chrome.quit()


class Browser:
    """A page in a browser."""

    def __init__(self, chrome):
        self.chrome = chrome

    def open(self, path, *, width=1280, scheme="light", media="screen"):
        """Open a file in a window of this width and colour scheme, and clear the console."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
        self.chrome.get_log("browser")
        self.chrome.get(path.as_uri())

    def run(self, script, *args):
        """Return the result of a script."""
        return self.chrome.execute_script(script, *args)

    def console(self):
        """The messages on the console since the page was opened."""
        return [entry["message"] for entry in self.chrome.get_log("browser")]

    def overflowing(self):
        """The elements that overflow the window or the element around them."""
        return self.run(_OVERFLOWING)

    def illegible(self):
        """The texts with too little contrast."""
        return self.run(_ILLEGIBLE)

    def pdf(self):
        """The printed page, on its own paper size."""
        printed = self.chrome.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
        return base64.b64decode(printed["data"])
