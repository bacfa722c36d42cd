"""The tree explorer: its data, and by mouse and key in a browser where there is one."""

import json
import re
import shutil

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support import expected_conditions
from selenium.webdriver.support.ui import Select, WebDriverWait

from c3jax.audit import buckets
from c3jax.audit.buckets import Bucket, Candidate
from c3jax.configs import audit as audit_page
from c3jax.report import explorer, log_audit, run_page
from tests.audit.logs import contexts
from tests.audit.made_up import message, said, saved_tree
from tests.report.test_run_page import write_run

ATTACK = '</script><script>hit = 1</script><img src="x" onerror="hit = 1"><!--'


def data(page):
    return json.loads(explorer.packed(page))


def pair(name):
    return [message(f"{name}{k}", 0.0, 0.0) for k in range(2)]


def test_siblings_hang_below_the_message_they_follow():
    [tree] = explorer.of_trees([saved_tree(0)])
    [root] = tree["groups"]
    assert [m["text"] for m in root["messages"]] == ["plan a", "plan b"]
    below = [m["below"][0]["messages"] for m in root["messages"]]
    assert [group[1]["text"] for group in below] == ["a says 8", "b says 2"]
    assert [m["rewards"] for m in below[0]] == [[[1.0, 1]], [[0.0, 1]]]
    assert below[0][0] == {
        "text": "a says 7",
        "value": 1.0,
        "credit": {"advantage": 1.0},
        "logp": -1.5,
        "tokens": 3,
        "rewards": [[1.0, 1]],
    }


def test_a_message_that_follows_two_roles_hangs_below_one_and_names_the_other():
    roles = [
        said("a", [], [pair("a")]),
        said("b", [], [pair("b")]),
        said("c", ["a", "b"], [pair(f"c{n}") for n in range(4)]),
    ]
    reward = [[[0.0, 0.0], [1.0, 0.5]], [[0.0, 0.0], [0.0, 0.0]]]
    [tree] = explorer.of_trees([saved_tree(0, roles, reward)])
    one, two = tree["groups"]
    assert [one["role"], two["role"]] == ["a", "b"]
    under = two["messages"][1]["below"]
    assert [(g["beside"], g["messages"][0]["text"]) for g in under] == [
        (["a 1"], "c10"),
        (["a 2"], "c30"),
    ]
    assert [m["rewards"] for m in under[0]["messages"]] == [[[1.0, 1]], [[0.5, 1]]]
    # Nothing hangs below a's messages: they have the rewards of all leaves they are in.
    rewards = [m["rewards"] for m in one["messages"]]
    assert rewards == [[[1.0, 1], [0.5, 1], [0.0, 2]], [[0.0, 4]]]


def test_a_tree_of_a_comb_says_whose_alternatives_it_compares():
    [tree] = explorer.of_trees([saved_tree(40, decision="actor")])
    assert tree["section"] == "After 40 steps"
    assert tree["about"] == ["gold 7", "alternatives of actor"]


def a_bucket():
    return Bucket(
        id="q17",
        role="reasoner",
        context="7 pens, 3 each",
        extra=(0.0, 1.0),
        candidates=(
            Candidate(
                returns=(1.0, 0.0, 1.0),
                text="so multiply 7 by 3",
                credit={"ours": 0.25, "theirs": -0.25},
                replies=("ok", "no", "ok"),
                answers=("21", "12", "21"),
                logp=-2.0,
            ),
            Candidate((0.0, 0.0, 0.0), ATTACK, {"ours": -0.25}, truncated=True),
        ),
    )


def test_equal_continuations_of_a_candidate_are_counted():
    [tree] = explorer.of_buckets([a_bucket()])
    assert tree["section"] == "Audit: reasoner"
    assert tree["about"] == ["q17", "2 further messages earned 0.50 on average"]
    first, second = tree["groups"][0]["messages"]
    [under] = first["below"]
    assert [(m["text"], m["answer"], m["rewards"]) for m in under["messages"]] == [
        ("ok", "21", [[1.0, 2]]),
        ("no", "12", [[0.0, 1]]),
    ]
    assert [m.get("count") for m in under["messages"]] == [2, None]
    # What followed was not compared: it has no credit, not even none.
    assert "credit" not in under["messages"][0]
    assert first["credit"] == {"ours": 0.25, "theirs": -0.25} and "cut" not in first
    assert second["cut"] and second["rewards"] == [[0.0, 3]] and "below" not in second


def test_the_data_holds_each_text_once_and_nothing_that_is_not_shown():
    found = data(explorer.of_trees([saved_tree(0), saved_tree(40)]))
    assert len(set(found["texts"])) == len(found["texts"]) == 7
    root = found["trees"][1]["groups"][0]["messages"][0]
    assert found["texts"][root["text"]] == "plan a"
    assert set(root) == {"text", "value", "credit", "logp", "tokens", "below"}
    assert root["tokens"] == 2 and root["logp"] == -1.0


def test_no_text_ends_the_element_it_stands_in():
    texts = [ATTACK, "half a character: \ud83d", "\u2028 & 'quoted'"]
    trees = explorer.of_trees([saved_tree(0, question=text) for text in texts])
    raw = explorer.packed(trees)
    assert "<" not in raw
    titles = [json.loads(raw)["texts"][t["title"]] for t in json.loads(raw)["trees"]]
    assert titles == [ATTACK, "half a character: ?", texts[2]]
    assert raw.encode()


def test_of_more_trees_than_there_is_room_for_some_are_left_out_evenly():
    found = explorer.of_trees([saved_tree(n) for n in range(2000)])
    assert [tree["id"] for tree in found[:2]] == ["tree-1", "tree-3"]
    assert len(found) == 1000 and found[1]["section"] == "After 2 steps, one in 2"
    some = Candidate((0.0,) * 50, replies=("ok",) * 50)
    found = explorer.of_buckets([Bucket((some, some))] * 500)
    assert [tree["id"] for tree in found[:2]] == ["bucket-1", "bucket-4"]
    assert {tree["section"] for tree in found} == {"Audit, one in 3"}


def test_the_longest_texts_are_cut_at_one_length_if_there_is_no_room():
    sizes = [50 * n for n in range(100)]
    trees = explorer.of_trees([saved_tree(0, question="é" * n) for n in sizes])
    whole = len(explorer.packed(trees).encode())
    raw = explorer.packed(trees, size=whole // 2).encode()
    assert 0.48 * whole < len(raw) < 0.51 * whole
    found = json.loads(raw)["texts"]
    kept = [re.fullmatch(r"(é*)( \[… [\d,]+ more bytes\])?", text) for text in found]
    lengths = [len(text[1]) for text in kept if text]
    [limit] = {len(text[1]) for text in kept if text and text[2]}
    assert lengths == [min(n, limit) for n in sizes]
    assert "plan a" in found


def test_the_explorer_of_a_run_has_all_its_saved_trees_and_its_buckets(tmp_path):
    write_run(tmp_path)
    (tmp_path / "audit").mkdir()
    path = tmp_path / explorer.BUCKETS
    buckets.write(path, [a_bucket()])
    sections = [tree["section"] for tree in explorer.forest(tmp_path)]
    assert sections == ["Before training", "After 2 steps", "Audit: reasoner"]
    path.write_text("{}\n")
    with pytest.raises(
        ValueError, match="buckets.jsonl:1: candidates: .*audit the run"
    ):
        explorer.forest(tmp_path)


# In a browser.


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome")
    flags = ("headless=new", "no-sandbox", "disable-gpu", "no-first-run")
    flags += ("disable-background-networking", "disable-component-update")
    for flag in (*flags, "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    yield found
    found.quit()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """The page of a run with two trees and two buckets."""
    directory = tmp_path_factory.mktemp("run")
    write_run(directory)
    flat = [said("reasoner", [], [[message("all the same", 1.0, 0.0)] * 2])]
    tree = saved_tree(9, flat, [1.0, 1.0], question="how few ?")
    (directory / "trees/00000009.jsonl").write_text(json.dumps(tree) + "\n")
    (directory / "audit").mkdir()
    long = Candidate((1.0,), "x" * 999, {"ours": 0.1})
    other = Bucket((long, Candidate((0.9,), "y")), role="reasoner", id="q18")
    buckets.write(directory / explorer.BUCKETS, [other, a_bucket()])
    return run_page.write(directory)


@pytest.fixture
def opened(browser, path):
    """(hash) -> the page, opened anew; at the end nothing may be on the console.

    What could not be loaded would be an error there, and there is no network.
    """

    def at(place="", width=1200, light="light"):
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1}
        screen["mobile"] = width < 600
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        media = [{"name": "prefers-color-scheme", "value": light}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
        browser.get("about:blank")
        browser.get(path.as_uri() + place)
        return drawn(browser)

    yield at
    assert browser.get_log("browser") == []


def drawn(page):
    """The page once its script has run, which is after it is there."""
    ready = expected_conditions.presence_of_element_located
    WebDriverWait(page, 30).until(ready((By.CSS_SELECTOR, "#explorer-tree [tabindex]")))
    return page


def part(page, name):
    return page.find_element(By.ID, f"explorer-{name}")


def listed(page):
    return [option.text for option in Select(part(page, "list")).options]


def here(page):
    """The node that has the focus, and what a screen reader says of it."""
    item = page.switch_to.active_element
    return item.get_attribute("data-node"), item.get_attribute("aria-label")


def press(page, *keys):
    for key in keys:
        page.switch_to.active_element.send_keys(key)


@pytest.mark.browser
@pytest.mark.parametrize("light", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_it_opens_on_a_phone_and_a_desk_by_day_and_by_night(opened, width, light):
    page = opened("", width, light)
    assert len(listed(page)) == 5
    assert part(page, "title").text == "how many <b> ?"
    assert "Learning curves" in page.find_element(By.TAG_NAME, "body").text
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    colour = part(page, "title").value_of_css_property("color")
    [red] = re.findall(r"rgba\((\d+)", colour)
    assert (int(red) > 128) == (light == "dark")


@pytest.mark.browser
def test_questions_are_searched_filtered_sorted_and_picked(opened):
    page = opened()
    part(page, "search").send_keys("PENS audit")
    assert listed(page) == ["0.33 7 pens, 3 each"]
    # What is not in the list is not on show either.
    assert part(page, "title").text == "7 pens, 3 each"
    part(page, "search").send_keys(Keys.CONTROL, "a", Keys.NULL, Keys.DELETE)
    for name, count in (("pivotal", 3), ("cut", 1), ("disagree", 1)):
        part(page, name).click()
        assert len(listed(page)) == count, name
        assert part(page, "count").text == f"{count} of 5"
        part(page, name).click()
    assert listed(page)[3:] == ["0.95 q18", "0.33 7 pens, 3 each"]
    Select(part(page, "sort")).select_by_visible_text("largest credit first")
    assert listed(page)[3:] == ["0.33 7 pens, 3 each", "0.95 q18"]
    Select(part(page, "list")).select_by_visible_text("0.95 q18")
    assert part(page, "title").text == "q18"
    assert "tree=bucket-1" in page.current_url
    opened("#tree=bucket-3")
    assert part(page, "count").text == "5 of 5; what the address names is not there"


@pytest.mark.browser
def test_credit_is_shown_by_the_method_that_is_picked(opened):
    page = opened("#tree=bucket-2")
    chips = lambda: [e.text for e in page.find_elements(By.CSS_SELECTOR, ".credit")]  # noqa: E731
    assert chips() == ["+0.25", "", "", "\u22120.25"]
    assert "methods disagree: ours +0.25, theirs \u22120.25" in part(page, "tree").text
    Select(part(page, "method")).select_by_visible_text("theirs")
    # Of the second candidate that method said nothing.
    assert chips() == ["\u22120.25", "", "", ""]
    # A tree without the method has its own, and does not make it forgotten.
    titles = ["0.95 q18", "0.33 7 pens, 3 each"]
    for title, method in zip(titles, ("ours", "theirs"), strict=True):
        Select(part(page, "list")).select_by_visible_text(title)
        assert f"credit={method}" in page.current_url


@pytest.mark.browser
def test_keys_move_among_the_messages(opened):
    page = opened("#tree=tree-1&node=0.0")
    node, spoken = here(page)
    assert node == "0.0" and spoken.startswith("reasoner 1: plan a, value 0.50, credit")
    moves = {
        Keys.ARROW_DOWN: "0.0.0.0",
        Keys.END: "0.1.0.1",
        Keys.ARROW_LEFT: "0.1",
        Keys.ARROW_UP: "0.0.0.1",
        Keys.HOME: "0.0",
        Keys.ARROW_RIGHT: "0.0.0.0",
    }
    for key, wanted in moves.items():
        press(page, key)
        assert here(page)[0] == wanted, key
    # To the left is what a message follows; once that closes, its inside is passed.
    press(page, Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert page.switch_to.active_element.get_attribute("aria-expanded") == "false"
    press(page, Keys.ARROW_DOWN)
    assert here(page)[0] == "0.1"
    press(page, Keys.ARROW_UP, Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    assert here(page)[0] == "0.0.0.0"
    assert "node=0.0.0.0" in page.current_url
    [tabbed] = page.find_elements(By.CSS_SELECTOR, "#explorer-tree [tabindex='0']")
    assert tabbed.get_attribute("data-node") == "0.0.0.0"


@pytest.mark.browser
def test_a_long_text_is_folded_until_it_is_asked_for(opened):
    page = opened("#tree=bucket-1&node=0.0")
    text = page.switch_to.active_element.find_element(By.CSS_SELECTOR, ".text")
    folded = text.size["height"]
    press(page, Keys.ENTER)
    assert text.size["height"] > 2 * folded
    text.click()
    assert text.size["height"] == folded


@pytest.mark.browser
def test_alternatives_are_compared_word_by_word(opened):
    page = opened("#tree=tree-1&node=0.0.0.1")
    press(page, "c")
    columns = page.find_elements(By.CSS_SELECTOR, "#explorer-columns .column")
    assert ["best" in column.text for column in columns] == [True, False]
    marked = [[e.text for e in c.find_elements(By.TAG_NAME, "ins")] for c in columns]
    assert marked == [[], ["8"]]
    press(page, Keys.ESCAPE)
    assert not part(page, "compare").is_displayed()
    assert here(page)[0] == "0.0.0.1"
    page.find_element(By.CSS_SELECTOR, "[data-group='0']").click()
    assert part(page, "compare").is_displayed()
    page.find_element(By.CSS_SELECTOR, "#explorer-compare button").click()
    assert not part(page, "compare").is_displayed()
    assert here(page)[0] == "0.0"


@pytest.mark.browser
def test_an_address_brings_back_the_view(opened):
    page = opened("#tree=bucket-2&node=0.0.0.1&credit=theirs")
    assert here(page)[0] == "0.0.0.1"
    assert Select(part(page, "method")).first_selected_option.text == "theirs"
    press(page, Keys.ARROW_DOWN)
    page.refresh()
    assert here(drawn(page))[0] == "0.1"
    link = page.switch_to.active_element.find_element(By.LINK_TEXT, "link")
    assert link.get_attribute("href") == page.current_url


@pytest.mark.browser
def test_text_stays_text(opened):
    page = opened("#tree=bucket-2&node=0.1")
    assert ATTACK in page.switch_to.active_element.text
    press(page, "c")
    assert ATTACK in part(page, "columns").text
    assert page.execute_script("return typeof hit") == "undefined"
    # Nor does the page's own script leave names behind.
    names = "return ['data', 'page', 'view', 'draw'].filter((name) => name in window)"
    assert page.execute_script(names) == []


@pytest.mark.browser
def test_two_hundred_big_buckets_fit_and_open(browser, tmp_path):
    write_run(tmp_path)
    (tmp_path / "audit").mkdir()
    text = "first count the pens , then take away {0} , and box \\boxed{{{1}}} . " * 5

    def candidate(i, j):
        replies = tuple(text.format(i, 8 * j + m) for m in range(8))
        return Candidate((1.0, 0.0) * 4, text.format(j, i), {"ours": 0.1}, replies)

    found = [Bucket(tuple(candidate(i, j) for j in range(8))) for i in range(200)]
    buckets.write(tmp_path / explorer.BUCKETS, found)
    path = run_page.write(tmp_path)
    size = path.stat().st_size
    browser.get(path.as_uri() + "#tree=bucket-100")
    drawn(browser)
    seconds = browser.execute_script(
        "return performance.getEntriesByType('navigation')[0].loadEventEnd / 1000"
    )
    assert len(listed(browser)) == 202
    print(f"{size / 1e6:.1f} MB, open after {seconds:.2f} s")
    assert size < 5e6
    assert browser.get_log("browser") == []


@pytest.mark.browser
def test_the_page_of_an_audit_of_logs_opens(browser, tmp_path):
    buckets.write(tmp_path / "logs.jsonl", contexts(3))
    asked = audit_page.get_config()
    with asked.unlocked():
        asked.audit.buckets = str(tmp_path / "logs.jsonl")
    log_audit.audit(asked, tmp_path / "audit")
    browser.get((tmp_path / "audit" / log_audit.PAGE).as_uri())
    words = drawn(browser).find_element(By.TAG_NAME, "body").text
    assert "How good is the credit?" in words and "message 0" in words
    assert browser.get_log("browser") == []
