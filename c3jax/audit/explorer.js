// The explorer of trees and buckets: draws the tree that is picked, and no other.
// explorer.py says what a tree holds. Texts become text nodes, never markup.

const page = (name) => document.getElementById(`explorer-${name}`);
const data = JSON.parse(page("data").textContent);
const said = (index) => data.texts[index] || "(empty)";

const FILTERS = ["pivotal", "cut", "disagree"];
// What is smaller than this is shown as zero.
const ZERO = 0.005;
const HALF = 0.5;
// A tree with more messages opens with its first level alone.
const SMALL = 40;
// Words of two texts that are compared; the table has their product.
const WORDS = 2000;

const view = { tree: null, node: "", method: "" };

// What a tree is looked for by.

function* walk(groups) {
  for (const group of groups) {
    for (const message of group.messages) {
      yield message;
      yield* walk(message.below ?? []);
    }
  }
}

// A choice turns the answer: with one message more than half of the reward is to be
// had, with another from the same context less than half.
const isPivotal = ({ messages }) =>
  messages.some((m) => m.credit && m.value > HALF) &&
  messages.some((m) => m.credit && m.value < HALF);

const disagree = ({ credit = {} }) =>
  Object.values(credit).some((x) => x >= ZERO) &&
  Object.values(credit).some((x) => x <= -ZERO);

for (const tree of data.trees) {
  const messages = [...walk(tree.groups)];
  const groups = [...tree.groups, ...messages.flatMap((m) => m.below ?? [])];
  tree.size = messages.length;
  tree.methods = [...new Set(messages.flatMap((m) => Object.keys(m.credit ?? {})))];
  tree.pivotal = groups.some(isPivotal);
  tree.cut = messages.some((m) => m.cut);
  tree.disagree = messages.some(disagree);
  tree.words = [said(tree.title), tree.section, ...tree.about].join(" ").toLowerCase();
}

const methodOf = (tree) =>
  tree.methods.includes(view.method) ? view.method : tree.methods[0];

function largest(tree) {
  const method = methodOf(tree);
  let found = 0;
  for (const { credit } of walk(tree.groups)) {
    found = Math.max(found, Math.abs(credit?.[method] ?? 0));
  }
  return found;
}

// Elements and figures.

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

const span = (name, text, title) => make("span", { class: name, title }, text);

function signed(x) {
  const size = Math.abs(x).toFixed(2);
  return Math.abs(x) < ZERO ? size : (x > 0 ? "+" : "\u2212") + size;
}

function chance({ logp, tokens }) {
  const p = Math.exp(logp);
  // Far below what a double holds, its power of ten is still known.
  const whole = p >= 0.001 ? p.toPrecision(2) : `1e${Math.round(logp / Math.LN10)}`;
  return `p ${whole}` + (tokens ? `, ${Math.exp(logp / tokens).toFixed(2)} a token` : "");
}

function earned(rewards) {
  const alone = rewards.length === 1 && rewards[0][1] === 1;
  const each = rewards.map(([x, n]) => `${+x.toFixed(3)}${n > 1 ? ` \u00d7${n}` : ""}`);
  return `${alone ? "reward" : "rewards"} ${each.join(", ")}`;
}

function bar(value) {
  const filled = Math.min(1, Math.max(0, value)) * 100;
  const inner = make("span");
  inner.style.width = `${filled}%`;
  return make("span", { class: "bar", "aria-hidden": "true" }, inner);
}

function credited(message, method, reach) {
  const credit = message.credit?.[method];
  if (credit === undefined) return span("credit", "");
  const chip = span("credit", signed(credit), `credit by ${method}`);
  if (Math.abs(credit) >= ZERO) chip.classList.add(credit > 0 ? "above" : "below");
  chip.style.setProperty("--share", `${10 + 40 * Math.abs(credit / reach)}%`);
  return chip;
}

function facts(message) {
  const found = [];
  if (message.answer !== undefined) found.push(span("", `came to ${said(message.answer)}`));
  if (message.rewards) found.push(span("", earned(message.rewards)));
  if (message.logp !== undefined && message.tokens !== 0) found.push(span("", chance(message)));
  if (message.cut) found.push(span("tag", "cut at its limit"));
  if (disagree(message)) {
    const each = Object.entries(message.credit).map(([name, x]) => `${name} ${signed(x)}`);
    found.push(span("tag", `methods disagree: ${each.join(", ")}`));
  }
  return found;
}

// The picked tree.

function draw() {
  const { tree } = view;
  const look = { method: methodOf(tree), reach: largest(tree) || 1, open: tree.size <= SMALL };
  page("title").textContent = said(tree.title);
  page("about").textContent = [...tree.about, `mean reward ${tree.value.toFixed(2)}`].join(" \u00b7 ");
  page("method").parentElement.hidden = tree.methods.length < 2;
  page("method").replaceChildren(...tree.methods.map((value) => make("option", { value }, value)));
  page("method").value = look.method;
  page("tree").replaceChildren(...drawGroups(tree.groups, "", 1, look));
  move(page("tree").querySelector("[role=treeitem]"), false);
}

function drawGroups(groups, above, level, look) {
  return groups.map((group, n) => {
    const at = `${above}${n}`;
    const several = group.messages.length > 1;
    const name = group.role + (group.beside ? `, beside ${group.beside.join(", ")}` : "");
    const heading = make("li", { role: "none", class: "role" }, name);
    if (isPivotal(group)) heading.append(span("tag", "pivotal"));
    if (several) {
      const label = `Compare ${group.messages.length} of ${group.role}`;
      heading.append(make("button", { tabindex: -1, "data-group": at, "aria-label": label }, "compare"));
    }
    const rows = group.messages.map((message, k) =>
      drawMessage(message, { at: `${at}.${k}`, k, level, of: group, look }),
    );
    return make("ul", { role: "group", "aria-label": name }, heading, ...rows);
  });
}

function drawMessage(message, { at, k, level, of, look }) {
  const { method, reach, open } = look;
  const below = message.below ?? [];
  const credit = credited(message, method, reach);
  const count = message.count ? [span("tag", `\u00d7${message.count}`)] : [];
  const more = facts(message);
  const spoken = [
    `${of.role} ${k + 1}: ${said(message.text).slice(0, 200)}`,
    `value ${message.value.toFixed(2)}`,
    ...(credit.textContent ? [`credit ${credit.textContent}`] : []),
    ...more.map((fact) => fact.textContent),
  ];
  return make(
    "li",
    {
      role: "treeitem",
      tabindex: -1,
      "aria-level": level,
      "aria-posinset": k + 1,
      "aria-setsize": of.messages.length,
      "aria-expanded": below.length ? String(open) : undefined,
      "aria-label": spoken.join(", "),
      "data-node": at,
    },
    make(
      "div",
      { class: "line" },
      make("span", { class: "twist", "aria-hidden": "true" }, String(k + 1)),
      make("span", { class: "value", title: "value: mean reward below" }, bar(message.value), message.value.toFixed(2)),
      credit,
      make(
        "div",
        { class: "said" },
        make("div", { class: "text folded" }, said(message.text)),
        make("div", { class: "facts" }, ...count, ...more, make("a", { href: address(at), tabindex: -1 }, "link")),
      ),
    ),
    ...(below.length
      ? [make("div", { role: "none", class: "under" }, ...drawGroups(below, `${at}.`, level + 1, look))]
      : []),
  );
}

// Moving among its messages, by mouse and by key.

const over = (item) => item.parentElement.closest("[role=treeitem]");

const items = () =>
  [...page("tree").querySelectorAll("[role=treeitem]")].filter(
    (item) => !item.parentElement.closest("[aria-expanded=false]"),
  );

function move(item, focus = true) {
  page("tree").querySelector("[tabindex='0']")?.setAttribute("tabindex", -1);
  item.setAttribute("tabindex", 0);
  view.node = item.dataset.node;
  if (!focus) return;
  item.focus({ preventScroll: true });
  item.querySelector(".line").scrollIntoView({ block: "nearest" });
  history.replaceState(null, "", address(view.node));
}

function turn(item, open) {
  item.setAttribute("aria-expanded", String(open));
}

const unfold = (item) => item.querySelector(".text").classList.toggle("folded");

function press(event) {
  const item = event.target.closest("[role=treeitem]");
  if (!item || event.ctrlKey || event.metaKey || event.altKey) return;
  const [all, open] = [items(), item.getAttribute("aria-expanded")];
  const at = all.indexOf(item);
  const keys = {
    ArrowDown: () => move(all[at + 1] ?? item),
    ArrowUp: () => move(all[at - 1] ?? item),
    Home: () => move(all[0]),
    End: () => move(all.at(-1)),
    ArrowRight: () => (open === "false" ? turn(item, true) : open && move(all[at + 1])),
    ArrowLeft: () => (open === "true" ? turn(item, false) : over(item) && move(over(item))),
    Enter: () => unfold(item),
    " ": () => unfold(item),
    c: () => compare(item.dataset.node.split(".").slice(0, -1).join(".")),
  };
  if (!keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
}

function click(event) {
  const group = event.target.closest("[data-group]")?.dataset.group;
  const item = event.target.closest("[role=treeitem]");
  if (group !== undefined) compare(group);
  // Text that is being selected is not folded away.
  else if (item && !event.target.closest("a, .role") && getSelection().isCollapsed) {
    if (event.target.closest(".twist")) turn(item, item.getAttribute("aria-expanded") !== "true");
    else if (event.target.closest(".line")) unfold(item);
    move(item);
  }
}

// Siblings side by side.

const wordsOf = (text) => text.match(/\p{Script=Han}\s*|[^\s\p{Script=Han}]+\s*|^\s+/gu) ?? [];

// The words of `other` as [word, whether it is new], and null where one of `base` is left
// out, by a longest common subsequence.
function difference(base, other) {
  const [one, two] = [base, other].map((words) => words.map((word) => word.trim()));
  const width = two.length + 1;
  const common = new Uint16Array((one.length + 1) * width);
  for (let i = one.length - 1; i >= 0; i--) {
    for (let j = two.length - 1; j >= 0; j--) {
      const at = i * width + j;
      common[at] =
        one[i] === two[j]
          ? common[at + width + 1] + 1
          : Math.max(common[at + width], common[at + 1]);
    }
  }
  const found = [];
  for (let i = 0, j = 0; i < one.length || j < two.length; ) {
    const at = i * width + j;
    if (i < one.length && j < two.length && one[i] === two[j]) {
      found.push([other[j++], false]);
      i++;
    } else if (j < two.length && (i === one.length || common[at + 1] >= common[at + width])) {
      found.push([other[j++], true]);
    } else {
      if (found.at(-1) !== null) found.push(null);
      i++;
    }
  }
  return found;
}

function mark(part) {
  if (part === null) return [make("del", { title: "words left out" })];
  const [word, isNew] = part;
  const letters = word.trimEnd();
  return isNew && letters ? [make("ins", {}, letters), word.slice(letters.length)] : [word];
}

function compare(path) {
  const at = path.split(".").map(Number);
  let group = view.tree.groups[at[0]];
  for (let i = 1; i < at.length; i += 2) group = group.messages[at[i]].below[at[i + 1]];
  const { messages } = group;
  if (messages.length < 2) return;
  const best = messages.reduce((a, b) => (b.value > a.value ? b : a));
  const base = wordsOf(said(best.text));
  const method = methodOf(view.tree);
  const columns = [best, ...messages.filter((m) => m !== best)].map((message) => {
    const words = wordsOf(said(message.text));
    const marked = difference(base.slice(0, WORDS), words.slice(0, WORDS)).flatMap(mark);
    const head = make("div", { class: "value" }, `${messages.indexOf(message) + 1} `);
    if (message === best) head.append(span("tag", "best"));
    head.append(bar(message.value), message.value.toFixed(2));
    head.append(credited(message, method, largest(view.tree) || 1));
    const text = make("div", { class: "text" }, ...marked, words.slice(WORDS).join(""));
    return make("div", { class: "column" }, head, text, make("div", { class: "facts" }, ...facts(message)));
  });
  const long = messages.some((m) => wordsOf(said(m.text)).length > WORDS);
  page("compared").textContent =
    `${group.role}: ${messages.length} messages from one context. Words that the best one does ` +
    `not have are underlined, a bar stands where words of it are left out.` +
    (long ? ` Only the first ${WORDS} words are compared.` : "");
  page("columns").replaceChildren(...columns);
  page("compare").showModal();
}

// The list, and addresses.

const address = (node) =>
  `#${new URLSearchParams({ tree: view.tree.id, node, credit: methodOf(view.tree) ?? "" })}`;

function list() {
  const words = page("search").value.toLowerCase().split(/\s+/);
  const wanted = FILTERS.filter((name) => page(name).checked);
  const shown = data.trees.filter(
    (tree) => wanted.every((name) => tree[name]) && words.every((w) => tree.words.includes(w)),
  );
  if (page("sort").value === "credit") {
    const size = new Map(shown.map((tree) => [tree, largest(tree)]));
    shown.sort((a, b) => size.get(b) - size.get(a));
  }
  const option = (tree) => {
    const title = said(tree.title).replace(/\s+/g, " ").slice(0, 100);
    return make("option", { value: tree.id }, `${tree.value.toFixed(2)} ${title}`);
  };
  const sections = [...new Set(data.trees.map((tree) => tree.section))]
    .map((label) => [label, shown.filter((tree) => tree.section === label)])
    .filter(([, members]) => members.length);
  page("list").replaceChildren(
    ...sections.map(([label, members]) => make("optgroup", { label }, ...members.map(option))),
  );
  page("count").textContent = `${shown.length} of ${data.trees.length}`;
  page("list").value = view.tree.id;
  const first = sections[0]?.[1][0];
  if (first && !shown.includes(view.tree)) pick(first);
}

function pick(tree) {
  view.tree = tree;
  page("list").value = tree.id;
  draw();
}

function restore() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const tree = data.trees.find(({ id }) => id === asked.get("tree"));
  if (!tree) {
    if (asked.has("tree")) page("count").textContent += "; what the address names is not among them";
    return;
  }
  const method = asked.get("credit") ?? "";
  const drawn = tree === view.tree && method === (methodOf(tree) ?? "");
  view.method = method;
  if (!drawn) pick(tree);
  const item = page("tree").querySelector(`[data-node="${CSS.escape(asked.get("node") ?? "")}"]`);
  if (!item) return;
  for (let up = over(item); up; up = over(up)) turn(up, true);
  move(item);
  item.querySelector(".line").scrollIntoView({ block: "center" });
}

for (const name of [...FILTERS, "sort"]) page(name).addEventListener("change", list);
page("search").addEventListener("input", list);
page("list").addEventListener("change", () => {
  pick(data.trees.find(({ id }) => id === page("list").value));
  history.replaceState(null, "", address(view.node));
});
page("method").addEventListener("change", () => {
  view.method = page("method").value;
  draw();
  list();
});
page("tree").addEventListener("keydown", press);
page("tree").addEventListener("click", click);
addEventListener("hashchange", restore);

page("disagree").parentElement.hidden = !data.trees.some((tree) => tree.methods.length > 1);
page("body").hidden = false;
pick(data.trees[0]);
list();
restore();
