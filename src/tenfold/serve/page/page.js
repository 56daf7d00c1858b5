// The playground: one text, one or two panes that answer it. Nothing leaves this server.
const find = (id) => document.getElementById(id);
const MANY = 9; // more models than this stand in a list, not as chips
let models = [];
let panes = [];
let running = null;

const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
const hue = (name) => {
  const place = models.filter((one) => one.tenfold.kind === "adapter").findIndex((one) => one.id === name);
  return place < 0 ? 180 : (265 + place * 137.5) % 360;
};
const about = (name) => models.find((one) => one.id === name)?.tenfold ?? { columns: [], kind: "base" };
const headers = () => {
  const key = find("key").value.trim();
  return { "content-type": "application/json", ...(key && { authorization: `Bearer ${key}` }) };
};

// ---- panes

const addPane = (model) => {
  const element = find("pane").content.firstElementChild.cloneNode(true);
  const pane = { element, model, number: panes.length, part: (name) => element.querySelector(name) };
  panes.push(pane);
  find("panes").append(element);
  find("panes").dataset.count = panes.length;
  pane.part(".again").addEventListener("click", () => answer([pane]));
  drawPicker(pane);
  return pane;
};

const drawPicker = (pane) => {
  const box = pane.part(".chips");
  pane.part(".label").textContent = panes.length > 1 || pane.number ? `Who answers, ${pane.number ? "right" : "left"}` : "Who answers";
  box.replaceChildren(...(models.length > MANY ? [list(pane)] : models.map((one) => chip(pane, one))));
  tint(pane, pane.model);
};

const chip = (pane, one) => {
  const input = make("input", { type: "radio", name: `model-${pane.number}`, value: one.id, checked: one.id === pane.model });
  input.addEventListener("change", () => choose(pane, one.id));
  const label = make("label", { className: "chip", title: one.id }, input, make("span", { textContent: one.id }));
  label.style.setProperty("--hue", hue(one.id));
  label.toggleAttribute("data-plain", one.tenfold.kind !== "adapter");
  return label;
};

const list = (pane) => {
  const options = models.map((one) => make("option", { value: one.id, textContent: one.id, selected: one.id === pane.model }));
  const select = make("select", { ariaLabel: "Who answers" }, ...options);
  select.addEventListener("change", () => choose(pane, select.value));
  return select;
};

const choose = (pane, model) => {
  pane.model = model;
  tint(pane, model);
  drawFields();
};

const tint = (pane, model) => {
  pane.element.style.setProperty("--hue", hue(model));
  pane.element.toggleAttribute("data-plain", about(model).kind !== "adapter");
};

// ---- what is asked

const severalColumns = (pane) => (about(pane.model).columns.length > 1 ? about(pane.model).columns : []);

const drawFields = () => {
  const before = new Map([...find("fields").querySelectorAll("input")].map((one) => [one.name, one.value]));
  const names = [...new Set(panes.flatMap(severalColumns))];
  const inputs = names.map((name) => make("label", { textContent: name }, make("input", { name, value: before.get(name) ?? "" })));
  find("fields").replaceChildren(...inputs);
  find("fields").hidden = !names.length;
  const plain = panes.some((pane) => !severalColumns(pane).length);
  find("text").hidden = find("text-label").hidden = !plain;
};

const raw = (pane) => about(pane.model).kind === "base" && about(pane.model).style === "raw"; // it has no chat template

const asked = (pane) => {
  const number = (id) => (find(id).value === "" ? undefined : Number(find(id).value));
  const wanted = severalColumns(pane);
  const fields = Object.fromEntries(wanted.map((name) => [name, find("fields").querySelector(`[name="${CSS.escape(name)}"]`).value]));
  const plain = raw(pane) && { prompt: find("text").value };
  const content = plain || (wanted.length ? { columns: fields, messages: [] } : { messages: [{ role: "user", content: find("text").value }] });
  return {
    model: pane.model, ...content, temperature: number("temperature"), max_tokens: number("most"), seed: number("seed"),
    stream: true, stream_options: { include_usage: true },
  };
};

// ---- answers

const answer = async (chosen) => {
  if (running) return;
  const text = find("text");
  if (!text.hidden && !text.value.trim()) return text.focus();
  running = new AbortController();
  working(true);
  await Promise.all(chosen.map((pane) => run(pane, running.signal)));
  running = null;
  working(false);
};

const working = (busy) => {
  const focused = document.activeElement;
  find("send").hidden = busy;
  find("stop").hidden = !busy;
  find("compare").disabled = busy;
  if (busy && focused === find("send")) find("stop").focus();
  if (!busy && focused === find("stop")) find("send").focus();
};

const run = async (pane, signal) => {
  const told = { began: performance.now(), first: 0, last: 0, tokens: 0 };
  clear(pane);
  try {
    const place = raw(pane) ? "v1/completions" : "v1/chat/completions";
    const response = await fetch(place, { method: "POST", headers: headers(), body: JSON.stringify(asked(pane)), signal });
    if (!response.ok) throw await problem(response);
    for await (const chunk of events(response.body)) take(pane, chunk, told);
    state(pane, "done");
  } catch (error) {
    fail(pane, error, signal.aborted);
  }
  facts(pane, told);
};

const problem = async (response) => {
  const body = await response.json().catch(() => null);
  if (response.status === 401) {
    find("settings").open = true;
    find("key").focus();
  }
  return new Error(body?.error?.message ?? `the server answered ${response.status}`);
};

async function* events(body) {
  let rest = "";
  for await (const piece of pieces(body.pipeThrough(new TextDecoderStream()))) {
    const lines = (rest + piece).split("\n\n");
    rest = lines.pop();
    for (const line of lines) {
      if (line === "data: [DONE]") return;
      if (line.startsWith("data: ")) yield JSON.parse(line.slice(6));
    }
  }
  throw new Error("the answer broke off: the server has gone");
}

async function* pieces(stream) { // Safari cannot iterate over a stream
  const reader = stream.getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
}

const take = (pane, chunk, told) => {
  if (chunk.error) throw new Error(chunk.error.message);
  if (chunk.tenfold) decided(pane, chunk.tenfold, chunk.model);
  if (chunk.usage) told.tokens = chunk.usage.completion_tokens;
  const text = chunk.choices[0]?.delta?.content ?? chunk.choices[0]?.text;
  if (!text) return;
  told.last = performance.now();
  told.first ||= told.last;
  told.tokens += 1;
  write(pane, text);
  facts(pane, told);
};

const write = (pane, text) => {
  const box = pane.part(".text");
  const below = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
  box.append(text);
  if (below) box.scrollTop = box.scrollHeight;
  state(pane, "running");
};

const decided = (pane, decision, model) => {
  tint(pane, model);
  const who = pane.part(".who");
  who.textContent = model;
  who.toggleAttribute("data-plain", !decision.adapter);
  who.hidden = false;
  if (decision.choice) drawChoice(pane, decision.choice);
};

const percent = (share) => `${Math.round(share * 100)}%`;

const drawChoice = (pane, choice) => {
  const name = make("b", { textContent: choice.adapter ?? "the base" });
  const words = choice.adapter ? [`The router chose `, name, `, ${percent(choice.probability)} sure.`]
    : [`No adapter fits well enough, so `, name, ` answers: ${choice.reason ?? "the router is not sure"}`];
  pane.part(".verdict").replaceChildren(...words);
  const shares = Object.entries(choice.probabilities).sort((a, b) => b[1] - a[1]).slice(0, 8);
  pane.part(".bars").replaceChildren(...shares.map(([one, share]) => barOf(one, share, one === choice.adapter)));
  pane.part(".choice").hidden = false;
};

const barOf = (name, share, chosen) => {
  const fill = make("span", { className: "fill" });
  fill.style.width = `${share * 100}%`;
  const bar = make("li", {}, make("span", { className: "name", textContent: name }),
    make("span", { className: "track" }, fill), make("span", { className: "share", textContent: percent(share) }));
  bar.style.setProperty("--hue", hue(name));
  bar.toggleAttribute("data-chosen", chosen);
  return bar;
};

const facts = (pane, told) => {
  const spent = (told.last - told.first) / 1000;
  const rows = [
    ["tokens", told.tokens], ["tokens/s", spent > 0 && told.tokens > 1 ? ((told.tokens - 1) / spent).toFixed(1) : null],
    ["to the first token", told.first ? `${((told.first - told.began) / 1000).toFixed(2)} s` : null],
  ].filter((row) => row[1] !== null && told.tokens);
  pane.part(".facts").replaceChildren(...rows.map(([name, value]) =>
    make("div", {}, make("dt", { textContent: name }), make("dd", { textContent: value }))));
  pane.part(".facts").hidden = !rows.length;
};

const state = (pane, name) => { pane.part(".answer").dataset.state = name; };

const clear = (pane) => {
  pane.part(".text").textContent = "";
  for (const name of [".who", ".choice", ".problem", ".facts"]) pane.part(name).hidden = true;
  state(pane, "waiting");
};

const fail = (pane, error, stopped) => {
  if (stopped) return state(pane, "done");
  pane.part(".problem p").textContent = error.message;
  pane.part(".problem").hidden = false;
  state(pane, "bad");
};

// ---- the page

const load = async () => {
  try {
    const response = await fetch("v1/models", { headers: headers() });
    if (!response.ok) throw await problem(response);
    const order = { auto: 0, adapter: 1, base: 2 };
    models = (await response.json()).data.sort((a, b) => order[a.tenfold.kind] - order[b.tenfold.kind]);
    standing("ready", "ready");
  } catch (error) {
    standing("bad", error.message);
  }
  const adapters = models.filter((one) => one.tenfold.kind === "adapter").length;
  find("count").textContent = adapters === 1 ? "one skill" : `${adapters || "many"} skills`;
};

const standing = (name, words) => {
  find("status").dataset.state = name;
  find("status").textContent = words;
};

const redraw = () => {
  for (const pane of panes) {
    if (!models.some((one) => one.id === pane.model)) pane.model = models[0]?.id ?? "";
    drawPicker(pane);
  }
  find("send").disabled = !models.length;
  drawFields();
};

const compare = () => {
  const two = panes.length === 1;
  if (two) addPane((models.find((one) => one.id !== panes[0].model && one.tenfold.kind !== "auto") ?? models[0])?.id);
  else panes.pop().element.remove();
  find("panes").dataset.count = panes.length;
  find("compare").setAttribute("aria-pressed", two);
  redraw();
};

find("composer").addEventListener("submit", (event) => { event.preventDefault(); answer(panes); });
find("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); answer(panes); }
});
document.addEventListener("keydown", (event) => { if (event.key === "Escape") running?.abort(); });
find("stop").addEventListener("click", () => running?.abort());
find("compare").addEventListener("click", compare);
find("key").addEventListener("change", async () => { await load(); redraw(); });

await load();
addPane(models[0]?.id ?? "");
redraw();
