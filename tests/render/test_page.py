"""The page in a real Chromium: hover, search, keys, dark, print; hostile names; nothing asked of anybody."""

import re

import pytest

from tests.render.browser import Browser
from toolkit import report

pytestmark = pytest.mark.slow

HOSTILE = '</script><b>x</b> "it"'
NETS = [f"net-{i}" for i in range(15)] + [HOSTILE]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A report whose values have counts, whose names are hostile, with subsets, a target and attributes."""
    place = tmp_path_factory.mktemp("page")
    rows = ["architecture,dataset,error,wrong,images,flops"]
    for i, net in enumerate(NETS):
        quoted = '"' + net.replace('"', '""') + '"'
        for dataset, wrong in (
            ("imagenet", 200 + 10 * i),
            ("imagenet-10", 300 + (i * 70) % 160),
            ("cifar", 400 + 7 * i),
            ("pets", 500 - 6 * i),
        ):
            rows.append(f"{quoted},{dataset},{wrong / 10},{wrong},1000,{i + 1}e8")
    (place / "study.csv").write_text("\n".join(rows))
    assert report.main([str(place / "study.csv"), "--out", str(place / "out"), "--resamples", "100", "--error"]) == 0
    return place / "out"


@pytest.fixture(scope="module")
def browser(folder, tmp_path_factory):
    with Browser(folder / "index.html", tmp_path_factory.mktemp("profile")) as opened:
        opened.wait("document.querySelector('#flow svg') !== null")
        yield opened


@pytest.fixture(autouse=True)
def nothing_picked(browser):
    browser.eval("state.picked.clear(); document.getElementById('find').value = ''; drawNets()")


def middle(browser, selector):
    """A place in the window, after scrolling to it."""
    script = f"""(() => {{ const e = document.querySelector({selector!r}); e.scrollIntoView({{block: 'center'}});
      const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }})()"""
    return browser.eval(script)


def test_every_figure_is_drawn_and_labelled(browser):
    for figure in ("verdict", "scatter", "flow", "standing", "gains", "attributes"):
        assert browser.eval(f"document.querySelector('#{figure} svg[aria-label]')?.ariaLabel.length > 10"), figure
    assert browser.eval("document.querySelector('#scatter svg').parentNode.textContent.includes('imagenet')")


def test_pointing_at_a_point_says_which_net_and_a_click_shows_it_everywhere(browser):
    x, y = middle(browser, "#scatter g[aria-label=dot] circle")
    browser.mouse(x, y)
    browser.wait("document.querySelector('#scatter g[aria-label=tip]').textContent.includes('rank')")
    tip = browser.eval("document.querySelector('#scatter g[aria-label=tip]').textContent")
    browser.mouse(x, y, click=True)
    browser.wait("state.picked.size === 1")
    net = browser.eval("[...state.picked][0]")
    assert net in tip
    assert browser.eval("document.querySelector('#flow').textContent").count(net) >= 1
    assert browser.eval("document.querySelectorAll('#ranking tr.picked').length") == 4


def test_the_critical_difference_diagram_joins_names_and_picks(browser):
    rows, apart = browser.eval("[D.standing.rows, D.standing.critical_difference]")
    bars = browser.eval("document.querySelectorAll('#standing line[aria-label$=apart]').length")
    assert bars == len(browser.eval("D.standing.bars")) > 0
    assert f"critical difference {apart:.2f}" in browser.eval("document.querySelector('#standing svg').textContent")
    svg = "document.querySelector('#standing svg').getBoundingClientRect()"
    inside = (
        f"[...document.querySelectorAll('#standing text')].every(t => t.getBoundingClientRect().bottom <= {svg}.bottom)"
    )
    assert browser.eval(inside)  # no name is cut
    names = browser.eval("[...document.querySelectorAll('#standing g[aria-label=text] text')].map(t => t.textContent)")
    assert {row[0] for row in rows[:-1]} <= set(names)
    x, y = middle(browser, "#standing g[aria-label=line] path")
    browser.mouse(x, y)
    browser.wait("document.querySelector('#standing g[aria-label=tip]').textContent.includes('mean rank')")
    browser.mouse(x, y, click=True)
    browser.wait("state.picked.size === 1")


def test_a_net_is_found_and_picked_by_keys_alone(browser):
    browser.eval("document.getElementById('find').focus()")
    browser.type("NET-7")
    browser.wait("document.getElementById('hits').children.length === 1")
    browser.press("Tab", 9)
    browser.press("Enter", 13, "\r")
    browser.wait("state.picked.has('net-7')")
    assert browser.eval("document.querySelector('#picked button').ariaPressed") == "true"


def test_a_table_sorts_and_filters_by_keys(browser):
    browser.eval("document.getElementById('ranking').open = true")
    browser.eval("document.querySelector('#ranking th:nth-child(2) button').focus()")
    column = "[...document.querySelectorAll('#ranking tbody tr')].map(r => +r.cells[1].textContent.split(' ')[0])"
    browser.press("Enter", 13, "\r")
    assert (ranks := browser.eval(column)) == sorted(ranks)
    browser.press("Enter", 13, "\r")
    assert browser.eval(column) == ranks[::-1]
    browser.eval("document.querySelector('#ranking input.filter').focus()")
    browser.type("cifar net-3")
    assert browser.eval("[...document.querySelectorAll('#ranking tbody tr')].filter(r => !r.hidden).length") == 1


def test_dark_paper_and_light_differ(browser):
    seen = {}
    for name, medium in {"light": {}, "dark": {"dark": True}, "print": {"kind": "print", "dark": True}}.items():
        browser.media(**medium)
        seen[name] = browser.eval("getComputedStyle(document.body).backgroundColor")
    assert seen["light"] == seen["print"] != seen["dark"]
    assert browser.eval("getComputedStyle(document.querySelector('nav')).display") == "none"
    browser.media()


def test_names_are_text_and_nobody_is_asked(browser, folder):
    assert browser.eval("document.querySelectorAll('td b, svg b').length") == 0
    assert browser.eval("D.nets.at(-1)") == HOSTILE
    assert browser.eval("performance.getEntriesByType('resource').length") == 0
    links = re.findall(r"""(?:src|href)=["']([^"'#][^"']*)""", (folder / "index.html").read_text())
    assert all(link.startswith("data:") for link in links)
