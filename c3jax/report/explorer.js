// The explorer of trees and buckets: draws the tree that is picked, and no other.
// explorer.py says what a tree holds. Texts become text nodes, never markup.

const page = (name) => document.getElementById(`explorer-${name}`);
const data = JSON.parse(page("data").textContent);
const said = (index) => data.texts[index] || "(empty)";

const FILTERS = ["pivotal", "cut", "disagree"];
// Credit that is smaller is shown as zero.
const ZERO = 0.005;
const HALF = 0.5;
// A tree with more messages opens with its first level alone.
const SMALL = 40;
// As many words of two texts are compared; the table has their product.
const WORDS = 2000;

// What is shown: a tree, one of its nodes, credit by a method on a scale up to `reach`,
// which is the method that was asked for where the tree has it.
const view = { tree: null, node: "", asked: "", method: "", reach: 1 };

// What trees are looked for by.

const credits = (message) => Object.entries(message.credit ?? {});

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

const disagree = (message) =>
  credits(message).some(([, x]) => x >= ZERO) && credits(message).some(([, x]) => x <= -ZERO);

function largest(tree, method) {
  let found = 0;
  for (const { credit } of walk(tree.groups)) {
    found = Math.max(found, Math.abs(credit?.[method] ?? 0));
  }
  return found;
}

const methodOf = (tree) =>
  tree.methods.includes(view.asked) ? view.asked : (tree.methods[0] ?? "");

for (const tree of data.trees) {
  const messages = [...walk(tree.groups)];
  const groups = [...tree.groups, ...messages.flatMap((m) => m.below ?? [])];
  tree.small = messages.length <= SMALL;
  tree.methods = [...new Set(messages.flatMap((m) => Object.keys(m.credit ?? {})))];
  tree.pivotal = groups.some(isPivotal);
  tree.cut = messages.some((m) => m.cut);
  tree.disagree = messages.some(disagree);
  tree.words = [said(tree.title), tree.section, ...tree.about].join(" ").toLowerCase();
}

// Elements and figures.

function make(kind, attributes = {}, ...children) {
  const element = document.createElement(kind);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

const tag = (text) => make("span", { class: "tag" }, text);

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
  const each = rewards.map(([x, n]) => `${+x.toFixed(3)}${n > 1 ? ` \u00d7${n}` : ""}`);
  const isOne = rewards.length === 1 && rewards[0][1] === 1;
  return `${isOne ? "reward" : "rewards"} ${each.join(", ")}`;
}

function worth({ value }) {
  const filled = make("span");
  filled.style.width = `${100 * Math.min(1, Math.max(0, value))}%`;
  const bar = make("span", { class: "bar", "aria-hidden": "true" }, filled);
  return make("span", { class: "value", title: "value: mean reward below" }, bar, value.toFixed(2));
}

function credited(message) {
  const credit = message.credit?.[view.method];
  if (credit === undefined) return make("span", { class: "credit" });
  const side = Math.abs(credit) < ZERO ? "" : credit > 0 ? " above" : " below";
  const title = `credit by ${view.method}`;
  const chip = make("span", { class: `credit${side}`, title }, signed(credit));
  chip.style.setProperty("--share", `${10 + 40 * Math.abs(credit / view.reach)}%`);
  return chip;
}

function facts(message) {
  const found = [];
  if (message.count) found.push(tag(`\u00d7${message.count}`));
  if (message.answer !== undefined) found.push(`came to ${said(message.answer)}`);
  if (message.rewards) found.push(earned(message.rewards));
  if (message.logp !== undefined && message.tokens !== 0) found.push(chance(message));
  if (message.cut) found.push(tag("cut at its limit"));
  if (disagree(message)) {
    const each = credits(message).map(([name, x]) => `${name} ${signed(x)}`);
    found.push(tag(`methods disagree: ${each.join(", ")}`));
  }
  return found.map((fact) => make("span", {}, fact));
}

// The picked tree.

function pick(tree) {
  const method = methodOf(tree);
  Object.assign(view, { tree, method, reach: largest(tree, method) || 1 });
  page("list").value = tree.id;
  page("title").textContent = said(tree.title);
  const about = [...tree.about, `mean reward ${tree.value.toFixed(2)}`];
  page("about").textContent = about.join(" \u00b7 ");
  page("method").parentElement.hidden = tree.methods.length < 2;
  page("method").replaceChildren(...tree.methods.map((value) => make("option", { value }, value)));
  page("method").value = method;
  page("tree").replaceChildren(...drawGroups(tree.groups, "", 1));
  select(page("tree").querySelector("[role=treeitem]"));
}

function drawGroups(groups, above, level) {
  return groups.map((group, n) => {
    const name = group.role + (group.beside ? `, beside ${group.beside.join(", ")}` : "");
    const heading = make("li", { role: "none", class: "role" }, name);
    if (isPivotal(group)) heading.append(tag("pivotal"));
    if (group.messages.length > 1) {
      const label = `Compare ${group.messages.length} of ${group.role}`;
      const button = { tabindex: -1, "data-group": `${above}${n}`, "aria-label": label };
      heading.append(make("button", button, "compare"));
    }
    const rows = group.messages.map((_, k) => drawMessage(group, k, `${above}${n}.${k}`, level));
    return make("ul", { role: "group", "aria-label": name }, heading, ...rows);
  });
}

function drawMessage(group, k, node, level) {
  const message = group.messages[k];
  const [credit, more, below] = [credited(message), facts(message), message.below ?? []];
  const spoken = [
    `${group.role} ${k + 1}: ${said(message.text).slice(0, 200)}`,
    `value ${message.value.toFixed(2)}`,
    ...(credit.textContent ? [`credit ${credit.textContent}`] : []),
    ...more.map((fact) => fact.textContent),
  ];
  const attributes = {
    role: "treeitem",
    tabindex: -1,
    "aria-level": level,
    "aria-posinset": k + 1,
    "aria-setsize": group.messages.length,
    "aria-expanded": below.length ? view.tree.small : undefined,
    "aria-label": spoken.join(", "),
    "data-node": node,
  };
  const link = make("a", { href: address(node), tabindex: -1 }, "link");
  const text = make("div", { class: "text folded" }, said(message.text));
  const line = make(
    "div",
    { class: "line" },
    make("span", { class: "twist", "aria-hidden": "true" }, k + 1),
    worth(message),
    credit,
    make("div", { class: "said" }, text, make("div", { class: "facts" }, ...more, link)),
  );
  if (!below.length) return make("li", attributes, line);
  const groups = drawGroups(below, `${node}.`, level + 1);
  return make("li", attributes, line, make("div", { role: "none", class: "under" }, ...groups));
}

// Moving among its messages, by mouse and by key.

const over = (item) => item.parentElement.closest("[role=treeitem]");
const isOpen = (item) => item.getAttribute("aria-expanded") === "true";
const open = (item, how) => item.setAttribute("aria-expanded", how);
const unfold = (item) => item.querySelector(".text").classList.toggle("folded");

function select(item) {
  page("tree").querySelector("[tabindex='0']")?.setAttribute("tabindex", -1);
  item.setAttribute("tabindex", 0);
  view.node = item.dataset.node;
}

function move(item, block = "nearest") {
  select(item);
  item.focus({ preventScroll: true });
  item.querySelector(".line").scrollIntoView({ block });
  history.replaceState(null, "", address(view.node));
}

function press(event) {
  const item = event.target.closest("[role=treeitem]");
  if (!item || event.ctrlKey || event.metaKey || event.altKey) return;
  const shown = [...page("tree").querySelectorAll("[role=treeitem]")].filter(
    (each) => !each.parentElement.closest("[aria-expanded=false]"),
  );
  const at = shown.indexOf(item);
  const follows = item.hasAttribute("aria-expanded");
  const keys = {
    ArrowDown: () => move(shown[at + 1] ?? item),
    ArrowUp: () => move(shown[at - 1] ?? item),
    Home: () => move(shown[0]),
    End: () => move(shown.at(-1)),
    ArrowRight: () => follows && (isOpen(item) ? move(shown[at + 1]) : open(item, true)),
    ArrowLeft: () => (isOpen(item) ? open(item, false) : over(item) && move(over(item))),
    Enter: () => unfold(item),
    " ": () => unfold(item),
    c: () => compare(item.dataset.node.split(".").slice(0, -1).join(".")),
  };
  if (!Object.hasOwn(keys, event.key)) return;
  event.preventDefault();
  keys[event.key]();
}

function click(event) {
  const group = event.target.closest("[data-group]")?.dataset.group;
  if (group !== undefined) {
    // Where the keys go on once the messages have been compared.
    move(page("tree").querySelector(`[data-node="${group}.0"]`));
    compare(group);
    return;
  }
  const item = event.target.closest(".line")?.parentElement;
  // Text that is being selected is not folded away.
  if (!item || event.target.closest("a") || !getSelection().isCollapsed) return;
  const twists = event.target.closest(".twist") && item.hasAttribute("aria-expanded");
  if (twists) open(item, !isOpen(item));
  else unfold(item);
  move(item);
}

// Siblings side by side.

const wordsOf = (text) => text.match(/\p{Script=Han}\s*|[^\s\p{Script=Han}]+\s*|^\s+/gu) ?? [];

// The words of `other` as [word, whether it is new], and null where some of `base` are
// left out, by a longest common subsequence.
function difference(base, other) {
  const [one, two] = [base, other].map((words) => words.map((word) => word.trim()));
  const width = two.length + 1;
  const common = new Uint16Array((one.length + 1) * width);
  for (let i = one.length - 1; i >= 0; i--) {
    for (let j = two.length - 1; j >= 0; j--) {
      const at = i * width + j;
      const [both, left, added] = [common[at + width + 1] + 1, common[at + width], common[at + 1]];
      common[at] = one[i] === two[j] ? both : Math.max(left, added);
    }
  }
  const found = [];
  let [i, j] = [0, 0];
  while (i < one.length || j < two.length) {
    const at = i * width + j;
    const both = i < one.length && j < two.length;
    if (both && one[i] === two[j]) {
      found.push([other[j++], false]);
      i++;
    } else if (i === one.length || (both && common[at + 1] >= common[at + width])) {
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
  const [first, ...rest] = path.split(".");
  let group = view.tree.groups[first];
  while (rest.length) group = group.messages[rest.shift()].below[rest.shift()];
  const { messages, role } = group;
  const best = messages.reduce((a, b) => (b.value > a.value ? b : a));
  const base = wordsOf(said(best.text)).slice(0, WORDS);
  const columns = [best, ...messages.filter((m) => m !== best)].map((message) => {
    const words = wordsOf(said(message.text));
    const marked = difference(base, words.slice(0, WORDS)).flatMap(mark);
    const name = [messages.indexOf(message) + 1, ...(message === best ? [tag("best")] : [])];
    return make(
      "div",
      { class: "column" },
      make("div", { class: "head" }, ...name, worth(message), credited(message)),
      make("div", { class: "text" }, ...marked, words.slice(WORDS).join("")),
      make("div", { class: "facts" }, ...facts(message)),
    );
  });
  page("compared").textContent =
    `${role}: ${messages.length} from one context. Words that the best one does not have are ` +
    `underlined, a bar stands where words of it are left out; the first ${WORDS} are compared.`;
  page("columns").replaceChildren(...columns);
  page("compare").showModal();
}

// The list, and addresses.

const address = (node) =>
  `#${new URLSearchParams({ tree: view.tree.id, node, credit: view.method })}`;

function list() {
  const words = page("search").value.toLowerCase().split(/\s+/);
  const wanted = FILTERS.filter((name) => page(name).checked);
  const shown = data.trees.filter(
    (tree) => wanted.every((name) => tree[name]) && words.every((w) => tree.words.includes(w)),
  );
  if (page("sort").value) {
    const size = new Map(shown.map((tree) => [tree, largest(tree, methodOf(tree))]));
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
    ...sections.map(([label, found]) => make("optgroup", { label }, ...found.map(option))),
  );
  page("count").textContent = `${shown.length} of ${data.trees.length}`;
  if (shown.length && !shown.includes(view.tree)) pick(sections[0][1][0]);
  page("list").value = view.tree.id;
}

function restore() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const tree = data.trees.find(({ id }) => id === asked.get("tree"));
  if (!tree) {
    if (asked.has("tree")) page("count").textContent += "; what the address names is not there";
    return;
  }
  const isShown = tree === view.tree && asked.get("credit") === view.method;
  view.asked = asked.get("credit");
  if (!isShown) pick(tree);
  const item = page("tree").querySelector(`[data-node="${CSS.escape(asked.get("node"))}"]`);
  if (!item) return;
  for (let up = over(item); up; up = over(up)) open(up, true);
  move(item, "center");
}

for (const name of [...FILTERS, "sort"]) page(name).addEventListener("change", list);
page("search").addEventListener("input", list);
page("list").addEventListener("change", () => {
  pick(data.trees.find(({ id }) => id === page("list").value));
  history.replaceState(null, "", address(view.node));
});
page("method").addEventListener("change", () => {
  view.asked = page("method").value;
  pick(view.tree);
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
