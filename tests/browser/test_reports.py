"""The reports as a reader sees them: rendered in headless Chromium, wide and narrow."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser
WIDTHS = {"wide": 1280, "narrow": 320}
STUDIES = {"nsw_training": [], "programme_comparison": ["--persons", "6000"]}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
LOOK = """JSON.stringify({
  lang: document.documentElement.lang,
  title: document.title,
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  wide: [...document.querySelectorAll('body *')].filter(e => {
    if (e.closest('svg') && e.tagName !== 'svg') return false;
    for (let p = e.parentElement; p; p = p.parentElement)
      if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(p).overflowX)) return false;
    return e.getBoundingClientRect().right > document.documentElement.clientWidth + 1;
  }).slice(0, 5).map(e => e.tagName + '.' + e.className),
  unnamed: [...document.querySelectorAll('svg, img')].filter(
    e => !(e.getAttribute('aria-label') || e.getAttribute('alt') !== null || e.querySelector('title')
           || e.getAttribute('aria-labelledby') || e.closest('[aria-hidden=true]'))).length,
  headings: document.querySelectorAll('h1').length,
})"""


@pytest.fixture(scope="module")
def reports(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    for study, options in STUDIES.items():
        subprocess.run(
            [
                *(str(root / ".venv/bin/tiltakeval"), "run", f"studies/{study}"),
                *("--out", str(folder / "reports"), "--work", str(folder / "work"), *options),
            ],
            cwd=root,
            check=True,
            timeout=900,
        )
    return folder / "reports"


@pytest.fixture(scope="module")
def debugger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        pytest.fail("no Chromium: run make test-browser, which installs it")
    profile = tmp_path_factory.mktemp("profile")
    process = subprocess.Popen(
        [
            *(
                browser,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
            ),
            *("--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    port_file = profile / "DevToolsActivePort"
    try:
        for _ in range(300):
            if port_file.exists() and port_file.read_text().strip():
                break
            asyncio.run(asyncio.sleep(0.1))
        yield int(port_file.read_text().splitlines()[0])
    finally:
        process.terminate()
        process.wait(timeout=30)


async def _look(port: int, page: Path, width: int, picture: Path | None) -> dict[str, Any]:
    """Open the page at the width; what it looks like, and every request that left the machine."""
    import base64

    from tornado.httpclient import AsyncHTTPClient, HTTPRequest
    from tornado.websocket import websocket_connect

    new = HTTPRequest(f"http://127.0.0.1:{port}/json/new?about:blank", method="PUT", body="")
    target = json.loads((await AsyncHTTPClient().fetch(new)).body)
    url = target["webSocketDebuggerUrl"]
    socket = await websocket_connect(url, max_message_size=256 * 1024**2)
    number, events = 0, []

    async def call(method: str, **parameters: Any) -> dict[str, Any]:
        nonlocal number
        number += 1
        await socket.write_message(
            json.dumps({"id": number, "method": method, "params": parameters})
        )
        while True:
            message = json.loads(await socket.read_message() or "{}")
            if message.get("id") == number:
                return message["result"]
            events.append(message)

    await call("Network.enable")
    await call("Page.enable")
    await call(
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=900,
        deviceScaleFactor=1,
        mobile=False,
    )
    await call("Page.navigate", url=page.as_uri())
    for _ in range(100):
        state = await call("Runtime.evaluate", expression="document.readyState + location.href")
        if state["result"]["value"].startswith("completefile"):
            break
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.3)
    seen = json.loads((await call("Runtime.evaluate", expression=LOOK))["result"]["value"])
    asked = [
        event["params"]["request"]["url"]
        for event in events
        if event.get("method") == "Network.requestWillBeSent"
    ]
    seen["requests"] = [u[:80] for u in asked if not u.startswith(("file:", "data:", "about:"))]
    if picture is not None:
        shot = await call("Page.captureScreenshot", captureBeyondViewport=True)
        picture.write_bytes(base64.b64decode(shot["data"]))
    await call("Page.close")
    socket.close()
    return seen


@pytest.mark.parametrize("width", list(WIDTHS))
@pytest.mark.parametrize("language", ["nb", "en"])
@pytest.mark.parametrize("study", list(STUDIES))
def test_report_renders(
    reports: Path, debugger: int, study: str, language: str, width: str
) -> None:
    page = reports / study / f"report.{language}.html"
    folder = os.environ.get("TILTAKEVAL_PICTURES")
    picture = Path(folder) / f"{study}.{language}.{width}.png" if folder else None
    seen = asyncio.run(_look(debugger, page.resolve(), WIDTHS[width], picture))
    assert seen["lang"] == language
    assert seen["title"]
    assert seen["headings"] == 1
    assert seen["requests"] == []
    assert seen["overflow"] <= 0, seen["wide"]
    assert seen["wide"] == []
    assert seen["unnamed"] == 0
