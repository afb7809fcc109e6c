"use strict";

/* The review page: detections of recordings, corrected by a person. One script, no library, no network.

   Texts of the data (names of recordings and classes) only ever become text, by textContent and attributes.

   A recording has items: segments that were annotated before ("given"), that the model found ("model"), or that were
   added here. An item is kept, deleted, or open: found by the model and not decided on. Items and lists of them are
   never changed but replaced, so that a step back is the list as it was.

   Sections: data, work and steps, keeping, list, timeline, pictures, segments, mouse, video, dialogs, files, keys. */

const byId = id => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);

const LEAST_SEC = 0.05;        // length of a segment
const STEP_SEC = 0.1;          // of an arrow key; with Shift LONG_STEP_SEC
const LONG_STEP_SEC = 1;
const LEAST_VIEW_SEC = 1;      // that the timeline shows
const AGREES_TIOU = 0.5;       // so alike a detection says nothing new of a recording that is annotated
const MOST_STEPS = 500;        // that can be taken back
const MERGE_MS = 1200;         // so fast after each other, shifts of one edge are one step
const ITEM_PX = 56;            // height of a recording in the list
const DRAG_PX = 4;             // less is a click
const MOST_UNPACKED = 20;      // recordings whose curves are in memory
const AMBIGUOUS = "Ambiguous"; // in annotations: never a class


// --- data ------------------------------------------------------------------------------------------------------------

const classes = data.classes.map(one => ({...one}));
const places = new Map(classes.map((one, index) => [one.name, index]));
const database = new Map(data.database);

/** The index of a class by its name; a new one where nobody has it. */
function classOf(name) {
  if (!places.has(name)) {
    places.set(name, classes.length);
    classes.push({name, color: `hsl(${Math.round(classes.length * 0.618034 % 1 * 360)} 65% 46%)`});
  }
  return places.get(name);
}

/** The items of a recording before anybody has touched it. */
function firstItems(entry) {
  const given = entry.given ? database.get(entry.name).annotations.filter(one => one.label !== AMBIGUOUS) : [];
  return [
    ...given.map(({label, segment: [start, end]}) =>
      ({label: classOf(label), start, end, score: null, source: "given", state: "kept"})),
    ...entry.found.map(([label, start, end, score]) => ({label, start, end, score, source: "model", state: "open"})),
  ].map((item, id) => ({id, ...item}));
}

const recordings = data.recordings.map((entry, index) => {
  const first = firstItems(entry);
  return {...entry, index, first, items: first, reviewed: false, unpacked: null};
});
const byName = new Map(recordings.map(recording => [recording.name, recording]));
const topScore = recordings.reduce((top, {found}) => found.reduce((best, row) => Math.max(best, row[3]), top), 0);

/** Seconds as m:ss.s, or h:mm:ss.s. */
function clock(seconds, digits = 1) {
  const unit = 10 ** digits, ticks = Math.round(Math.max(seconds, 0) * unit);
  const whole = Math.floor(ticks / unit), hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  const rest = (ticks / unit - Math.floor(whole / 60) * 60).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/** Seconds of a text such as 62.5 or 1:02.5; NaN for another one. */
function secondsOf(text) {
  const parts = text.trim().replace(",", ".").split(":");
  if (parts.length > 3 || !parts.every(part => /^\d+(\.\d*)?$|^\.\d+$/.test(part))) return NaN;
  return parts.reduce((sum, part) => 60 * sum + Number(part), 0);
}

const nameOf = item => classes[item.label].name;
const rounded = (value, digits = 3) => Number(value.toFixed(digits));
const within = (value, low, high) => Math.min(Math.max(value, low), Math.max(low, high));
const number = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

function tiou(one, other) {
  const shared = Math.min(one.end, other.end) - Math.max(one.start, other.start);
  return shared <= 0 ? 0 : shared / (one.end - one.start + other.end - other.start - shared);
}


// --- work and steps --------------------------------------------------------------------------------------------------

const firstThreshold = data.threshold ?? topScore / 2;
const settings = {threshold: firstThreshold, sort: "unsure", filter: "all", current: null, channels: null, keys: true};
const done = [], undone = [];
let current = null, chosen = null;      // recording, id of an item
let view = {from: 0, to: 1}, playhead = 0;
let lastClass = 0;

/** Is an item to be seen? In what was reviewed or annotated before, only what is kept, or says something new. */
function isShown(recording, item) {
  if (item.state !== "open") return item.state === "kept";
  if (recording.reviewed || item.score < settings.threshold) return false;
  const isTold = other => (other.state === "kept" || other.source === "given") && other.label === item.label
                          && tiou(other, item) >= AGREES_TIOU;
  return !recording.given || !recording.items.some(isTold);
}

const inTime = (one, other) => one.start - other.start || one.end - other.end || one.label - other.label;
const shownItems = recording => recording.items.filter(item => isShown(recording, item)).sort(inTime);
const isTodo = recording => !recording.reviewed && !recording.given;
const isTouched = recording => recording.reviewed || recording.items !== recording.first;
const chosenItem = () => current && current.items.find(item => item.id === chosen && isShown(current, item)) || null;

/** One step that can be taken back. changes: [recording, {items, reviewed}] of each recording that it changes. */
function step(words, changes, merge = null) {
  const time = Date.now(), last = done.at(-1);
  const parts = changes.map(([recording, next]) => {
    const before = {items: recording.items, reviewed: recording.reviewed};
    Object.assign(recording, next);
    return {recording, before, after: {items: recording.items, reviewed: recording.reviewed}};
  });
  if (merge && last?.merge === merge && time - last.time < MERGE_MS && last.parts[0].recording === parts[0].recording) {
    Object.assign(last, {time, words});
    last.parts[0].after = parts[0].after;
  } else {
    done.push({words, parts, merge, time});
    if (done.length > MOST_STEPS) done.shift();
  }
  undone.length = 0;
  parts.forEach(part => keep(part.recording));
  showAll();
}

function travel(from, to, side, verb) {
  const entry = from.pop();
  if (!entry) return say(`Nothing to ${verb.toLowerCase()}`);
  entry.merge = null;
  for (const part of entry.parts) {
    Object.assign(part.recording, part[side]);
    keep(part.recording);
  }
  to.push(entry);
  if (!entry.parts.some(part => part.recording === current)) openRecording(entry.parts[0].recording);
  showAll();
  say(`${verb}: ${entry.words}`);
}

const undo = () => travel(done, undone, "before", "Undo");
const redo = () => travel(undone, done, "after", "Redo");

/** Replace one item of the current recording; what is changed by hand is kept. */
function changeItem(item, changes, words, merge = null) {
  const next = {...item, state: "kept", ...changes};
  step(words, [[current, {items: current.items.map(one => one.id === item.id ? next : one)}]], merge);
}

/** The recording as reviewed: what is to be seen is its annotation. */
function reviewedItems(recording) {
  return recording.given ? recording.items
    : recording.items.map(item => item.state === "open" && isShown(recording, item) ? {...item, state: "kept"} : item);
}

function toggleReviewed() {
  if (!current) return;
  if (current.reviewed) {
    step(`${current.name} is to do again`, [[current, {reviewed: false}]]);
    return say(`${current.name} is open again`);
  }
  const recording = current, next = nextTodo();
  step(`reviewed ${recording.name}`, [[recording, {items: reviewedItems(recording), reviewed: true}]]);
  if (next) openRecording(next);
  const end = next ? "" : " Nothing is left to do: download the annotations.";
  say(`Reviewed: ${recording.name}. ${progressWords()}.${end}`);
}

function startOver() {
  if (!current || !isTouched(current)) return;
  step(`start over with ${current.name}`, [[current, {items: current.first, reviewed: false}]]);
  say(`${current.name} is as the model left it`);
}

function progressCounts() {
  const wanted = recordings.some(one => !one.given) ? recordings.filter(one => !one.given) : recordings;
  return [wanted.filter(one => one.reviewed).length, wanted.length];
}

function progressWords() {
  const [count, total] = progressCounts();
  return `${count.toLocaleString("en")} of ${total.toLocaleString("en")} reviewed`;
}


// --- keeping ---------------------------------------------------------------------------------------------------------

const PREFIX = `spot-review:${data.key}:`;
let isUnsaved = false; // something is neither in the browser nor downloaded

/** What differs from the beginning: ids that are kept and deleted, changed items, new items; null: nothing. */
function encode(recording) {
  if (!isTouched(recording)) return null;
  const stored = {r: recording.reviewed ? 1 : 0, k: [], x: [], c: [], n: []};
  for (const item of recording.items) {
    const first = recording.first[item.id], segment = [nameOf(item), rounded(item.start), rounded(item.end)];
    if (!first) {
      if (item.state === "kept") stored.n.push(segment);
    } else if (item === first) continue;
    else if (item.state === "deleted") stored.x.push(item.id);
    else if (["label", "start", "end"].some(key => item[key] !== first[key])) stored.c.push([item.id, ...segment]);
    else stored.k.push(item.id);
  }
  return stored;
}

/** The work on a recording from what `encode` made; parts that are no such thing are left out. */
function decode(recording, stored) {
  const items = recording.first.slice(), {duration} = recording;
  const listOf = (key, is) => Array.isArray(stored?.[key]) ? stored[key].filter(is) : [];
  const isId = id => Number.isInteger(id) && id >= 0 && id < recording.first.length;
  const isSegment = one => Array.isArray(one) && typeof one[0] === "string" && one[0] && Number.isFinite(one[1])
                           && Number.isFinite(one[2]) && one[1] >= 0 && one[1] < one[2] && one[2] <= duration + 1;
  for (const [key, state] of [["k", "kept"], ["x", "deleted"]])
    for (const id of listOf(key, isId)) items[id] = {...items[id], state};
  for (const [id, ...segment] of listOf("c", one => Array.isArray(one) && isId(one[0]) && isSegment(one.slice(1))))
    items[id] = {...items[id], ...itemOf(segment)};
  for (const segment of listOf("n", isSegment))
    items.push({id: items.length, score: null, source: "added", ...itemOf(segment)});
  const isSame = items.every((item, id) => item === recording.first[id]);
  return {items: isSame ? recording.first : items, reviewed: stored?.r === 1};
}

const itemOf = ([name, start, end]) => ({label: classOf(name), start, end, state: "kept"});

const storage = (() => {
  try { return window.localStorage; } catch { return null; }
})();

function write(key, value) {
  try {
    if (!storage) throw new Error("none");
    if (value === null) storage.removeItem(PREFIX + key);
    else storage.setItem(PREFIX + key, JSON.stringify(value));
    return true;
  } catch (error) {
    const isFull = error.name === "QuotaExceededError" || error.name === "NS_ERROR_DOM_QUOTA_REACHED";
    notice("storage", (isFull ? "The room that this browser has for pages is full."
                              : "This browser keeps nothing for this page.")
                      + " Download your work before you close it.");
    return false;
  }
}

function read(key) {
  try { return JSON.parse(storage.getItem(PREFIX + key)); } catch { return null; }
}

function keep(recording) {
  if (!write(String(recording.index), encode(recording))) isUnsaved = true;
}

const keepSettings = () => write("page", {...settings, current: current?.name ?? null, from: data.threshold});

function restore() {
  const stored = read("page");
  for (const [key, value] of Object.entries(settings))
    if (stored && (typeof stored[key] === typeof value || value === null)) settings[key] = stored[key];
  if (stored?.from !== data.threshold) settings.threshold = firstThreshold; // the page was made with another one since
  if (!(Object.hasOwn(ORDERS, settings.sort))) settings.sort = "unsure";
  if (!(Object.hasOwn(FILTERS, settings.filter))) settings.filter = "all";
  for (const recording of recordings) {
    const work = read(String(recording.index));
    if (work) Object.assign(recording, decode(recording, work));
  }
}


// --- words on the page -----------------------------------------------------------------------------------------------

let sayTimer = 0;

/** A sentence at the bottom for some seconds; screen readers say it. */
function say(words) {
  byId("toast").textContent = words;
  clearTimeout(sayTimer);
  sayTimer = setTimeout(() => { byId("toast").textContent = ""; }, 5000);
}

/** A sentence at the top that stays; one of each kind. */
function notice(kind, words) {
  const known = document.querySelector(`.notice[data-kind="${kind}"] p`);
  if (known) return void (known.textContent = words);
  const box = make("div", {className: "notice", role: "alert"});
  box.dataset.kind = kind;
  const close = make("button", {type: "button", textContent: "Close"});
  close.onclick = () => box.remove();
  box.append(make("p", {textContent: words}), close);
  byId("notices").append(box);
}

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function chip(label) {
  const element = make("span", {className: "chip", ariaHidden: "true"});
  element.style.setProperty("--c", classes[label].color);
  return element;
}


// --- list ------------------------------------------------------------------------------------------------------------

let listed = [];

const ORDERS = {
  unsure: (a, b) => (b.unsure ?? -1) - (a.unsure ?? -1),
  sure: (a, b) => (a.unsure ?? 2) - (b.unsure ?? 2),
  actions: (a, b) => b.number - a.number,
  long: (a, b) => b.duration - a.duration, short: (a, b) => a.duration - b.duration,
  name: (a, b) => a.name.localeCompare(b.name, undefined, {numeric: true}),
};
const FILTERS = {all: () => true, todo: isTodo, reviewed: one => one.reviewed, given: one => one.given};

/** Which recordings the list shows, in order. */
function makeList() {
  const wanted = byId("search").value.trim().toLocaleLowerCase();
  if (settings.sort === "actions") for (const one of recordings) one.number = shownItems(one).length;
  listed = recordings.filter(one => FILTERS[settings.filter](one) && one.name.toLocaleLowerCase().includes(wanted))
    .sort((a, b) => ORDERS[settings.sort](a, b) || a.index - b.index);
  byId("rows").style.height = `${listed.length * ITEM_PX}px`;
  byId("count").textContent = listed.length === recordings.length ? number(recordings.length, "recording")
    : `${listed.length.toLocaleString("en")} of ${number(recordings.length, "recording")}`;
  showList();
}

/** The part of the list that is in sight; recordings out of sight have no element. */
function showList() {
  const list = byId("list"), height = list.clientHeight || 600;
  const from = Math.max(0, Math.floor(list.scrollTop / ITEM_PX) - 3);
  const part = listed.slice(from, Math.ceil((list.scrollTop + height) / ITEM_PX) + 3);
  byId("rows").replaceChildren(...part.map((recording, place) => listItem(recording, from + place)));
  const isThere = part.includes(current);
  if (isThere) list.setAttribute("aria-activedescendant", `item-${current.index}`);
  else list.removeAttribute("aria-activedescendant");
  for (const recording of part) drawStrip(byId(`item-${recording.index}`).querySelector("canvas"), recording);
}

function listItem(recording, place) {
  const isDone = recording.reviewed, shown = shownItems(recording).length;
  const mark = isDone ? "✓ reviewed" : recording.given ? "labeled" : isTouched(recording) ? "begun" : "";
  const facts = [recording.unsure === null ? "no features" : `${Math.round(100 * recording.unsure)} % unsure`,
                 clock(recording.duration, 0), number(shown, "segment")];
  const item = make("div", {className: "item", id: `item-${recording.index}`, role: "option", title: recording.name},
    make("span", {className: "text", textContent: recording.name}),
    make("span", {className: isDone ? "mark done" : "mark", textContent: mark}),
    make("canvas", {ariaHidden: "true"}), make("span", {className: "more", textContent: facts.join(" · ")}));
  item.style.top = `${place * ITEM_PX}px`;
  item.setAttribute("aria-selected", recording === current);
  item.setAttribute("aria-setsize", listed.length);
  item.setAttribute("aria-posinset", place + 1);
  item.onclick = () => openRecording(recording);
  return item;
}

/** Scroll the list to the current recording. */
function revealInList() {
  const list = byId("list"), place = listed.indexOf(current);
  if (place < 0) return;
  const top = place * ITEM_PX;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (top + ITEM_PX > list.scrollTop + list.clientHeight) list.scrollTop = top + ITEM_PX - list.clientHeight;
}

function openNeighbor(direction) {
  const place = listed.indexOf(current);
  const next = listed[place < 0 ? 0 : place + direction];
  if (next) openRecording(next);
  else say(direction > 0 ? "That was the last recording of the list" : "That is the first recording of the list");
}

/** The next recording of the list that is to do, from the current one on, then from the top. */
function nextTodo() {
  const place = listed.indexOf(current);
  const others = [...listed.slice(place + 1), ...listed.slice(0, Math.max(place, 0))];
  return others.find(one => isTodo(one) && one !== current);
}

function openRecording(recording) {
  if (recording === current) return;
  current = recording;
  chosen = null;
  view = {from: 0, to: recording.duration};
  playhead = 0;
  lanes.clear();
  byId("lanes").replaceChildren();
  segments.clear();
  openVideo();
  unpackCurves(recording);
  keepSettings();
  if (settings.filter !== "all") makeList(); // what is done leaves the list of what is to do
  revealInList();
  showAll();
}


// --- timeline --------------------------------------------------------------------------------------------------------

const lanes = new Map();    // class -> {root, track, at}
const segments = new Map(); // id of an item -> {root, bar, start, end}
let preview = null;         // an item as it is being dragged

function showAll() {
  showHead();
  showTimeline();
  showInspector();
  showList();
}

function showHead() {
  const [count, total] = progressCounts();
  byId("progress").max = total || 1;
  byId("progress").value = count;
  const given = recordings.filter(one => one.given).length;
  byId("progress-text").textContent = progressWords()
    + (given && given < recordings.length ? `, ${given.toLocaleString("en")} labeled before` : "");
  byId("undo").disabled = !done.length;
  byId("redo").disabled = !undone.length;
  if (!current) return;
  byId("name").textContent = current.name;
  const shown = shownItems(current), open = shown.filter(item => item.state === "open").length;
  byId("facts").textContent = [
    clock(current.duration),
    current.unsure === null ? "no features, so nothing is found" : `${Math.round(100 * current.unsure)} % unsure`,
    current.given ? "labeled before: its annotation, and what the model finds beside it" : "",
    current.reviewed ? "reviewed" : ""].filter(Boolean).join(" · ");
  byId("shown").textContent = number(shown.length, "segment") + (open && open < shown.length ? `, ${open} open` : "");
  byId("reviewed").textContent = current.reviewed ? "✓ Reviewed: open again" : "Mark as reviewed";
  byId("reviewed").classList.toggle("primary", !current.reviewed);
  byId("reset").disabled = !isTouched(current);
  byId("channels-shown").hidden = !current.channels;
  byId("channels-shown").setAttribute("aria-pressed", String(channelsShown()));
}

const channelsShown = () => Boolean(current?.channels) && (settings.channels ?? !videoFile());

/** The classes that have a row: of segments to be seen, and of curves. */
function laneClasses(shown) {
  return [...new Set([...shown.map(item => item.label), ...(current.curves?.classes ?? [])])].sort((a, b) => a - b);
}

function showTimeline() {
  if (!current) return;
  const shown = shownItems(current), labels = laneClasses(shown);
  if (labels.join() !== [...lanes.keys()].join()) {
    const focused = document.activeElement;
    lanes.clear();
    labels.forEach((label, place) => lanes.set(label, makeLane(label, place)));
    byId("lanes").replaceChildren(...[...lanes.values()].map(lane => lane.root));
    for (const [id, {root}] of segments) moveIntoLane(root, current.items.find(item => item.id === id));
    if (focused?.isConnected) focused.focus({preventScroll: true});
  }
  const ids = new Set(shown.map(item => item.id));
  for (const [id, {root}] of segments) if (!ids.has(id)) { root.remove(); segments.delete(id); }
  if (chosen !== null && !ids.has(chosen)) chosen = null;
  for (const item of shown) showSegment(preview?.id === item.id ? preview : item);
  if (chosen === null && shown.length) segments.get(shown[0].id).bar.tabIndex = 0;
  for (const [label, lane] of lanes) {
    const count = shown.filter(item => item.label === label).length;
    lane.root.setAttribute("aria-label", `${classes[label].name}: ${number(count, "segment")}`);
  }
  byId("empty").hidden = labels.length > 0;
  byId("empty").textContent = "There is nothing to be seen from this score on. Add a segment with I.";
  byId("view-text").textContent = `${clock(view.from, 0)} – ${clock(view.to, 0)}`;
  showWindow();
  showPlayhead();
  drawLater();
}

function moveIntoLane(root, item) {
  const lane = item && lanes.get(item.label);
  if (lane && root.parentNode !== lane.track) lane.track.append(root);
}

function makeLane(label, place) {
  const parts = classes[label].name.split(/(?<=[_/.-])/); // where a long name may go on in the next line
  const name = make("span", {className: "text"}, ...parts.flatMap(part => [part, make("wbr")]));
  const at = make("span", {className: "at", title: "Class probability at the playhead"});
  const gutter = make("div", {className: "gutter", title: classes[label].name}, chip(label), name, at);
  if (place < 9) gutter.append(make("kbd", {textContent: place + 1, ariaHidden: "true"}));
  const track = make("div", {className: "tracks"});
  track.dataset.label = label;
  track.onpointerdown = event => { if (event.target === track) dragInLane(event, label); };
  return {root: make("div", {className: "lane", role: "group"}, gutter, track), track, at};
}

const tracksBox = () => byId("ruler").getBoundingClientRect();
const pixelsPerSec = () => tracksBox().width / (view.to - view.from);
const timeAt = event => within(view.from + (event.clientX - tracksBox().left) / pixelsPerSec(), 0, current.duration);

function stateWords(item) {
  const first = current.first[item.id];
  if (item.state === "open") return "found by the model";
  if (item.source === "added") return "added";
  if (["label", "start", "end"].some(key => item[key] !== first[key])) return "changed";
  return item.source === "given" ? "annotated before" : "accepted";
}

const SIGNS = {"found by the model": "", added: "+", changed: "✎", accepted: "✓", "annotated before": "•"};

function showSegment(item) {
  const known = segments.get(item.id) ?? makeSegment(item.id);
  const {root, bar, start, end} = known, span = view.to - view.from;
  moveIntoLane(root, item);
  const from = Math.max(item.start, 0), to = Math.min(item.end, current.duration), width = (to - from) * pixelsPerSec();
  root.hidden = to < view.from || from > view.to;
  root.style.left = `${100 * (from - view.from) / span}%`;
  root.style.width = `${100 * (to - from) / span}%`;
  root.style.setProperty("--c", classes[item.label].color);
  const words = stateWords(item), score = item.score === null ? "" : `, score ${shortScore(item.score)}`;
  root.className = `segment ${item.state}${item.id === chosen ? " chosen" : ""}${width < 24 ? " slim" : ""}`;
  bar.textContent = width < 26 ? "" : SIGNS[words] || shortScore(item.score);
  bar.setAttribute("aria-label", `${nameOf(item)}, ${clock(item.start)} to ${clock(item.end)}${score}, ${words}`);
  bar.setAttribute("aria-pressed", String(item.id === chosen));
  bar.tabIndex = item.id === chosen ? 0 : -1;
  for (const [handle, edge] of [[start, "start"], [end, "end"]]) {
    handle.tabIndex = item.id === chosen ? 0 : -1;
    handle.setAttribute("aria-valuemin", edge === "start" ? 0 : rounded(item.start));
    handle.setAttribute("aria-valuemax", edge === "start" ? rounded(item.end) : rounded(current.duration));
    handle.setAttribute("aria-valuenow", rounded(item[edge]));
    handle.setAttribute("aria-valuetext", clock(item[edge], 2));
    handle.setAttribute("aria-label", `${edge === "start" ? "Start" : "End"} of ${nameOf(item)}`);
  }
}

const shortScore = score => score >= 0.995 ? "1.0" : Number(score.toPrecision(2)).toString();

function makeSegment(id) {
  const bar = make("button", {type: "button", className: "bar"});
  const handles = ["start", "end"].map(edge => {
    const handle = make("div", {className: `handle ${edge}`, role: "slider"});
    handle.onpointerdown = event => dragEdge(event, id, edge);
    handle.onkeydown = event => handleKeys(event, edge);
    return handle;
  });
  bar.onpointerdown = event => dragSegment(event, id);
  bar.onclick = event => { if (!event.detail) choose(id, {seek: true}); }; // of a screen reader; the mouse: dragSegment
  bar.onfocus = () => { if (chosen !== id && bar.matches(":focus-visible")) choose(id); };
  bar.ondblclick = () => zoomTo(chosenItem());
  const known = {root: make("div", {}, bar, ...handles), bar, start: handles[0], end: handles[1]};
  segments.set(id, known);
  return known;
}

/** What the timeline shows, moved or zoomed. */
function setView(from, to) {
  if (!current) return;
  const span = within(to - from, Math.min(LEAST_VIEW_SEC, current.duration), current.duration);
  const begin = within(from + (to - from - span) / 2, 0, current.duration - span);
  view = {from: begin, to: begin + span};
  showTimeline();
}

function zoom(factor, center = null) {
  const middle = center ?? (playhead > view.from && playhead < view.to ? playhead : (view.from + view.to) / 2);
  setView(middle - (middle - view.from) / factor, middle + (view.to - middle) / factor);
}

function zoomTo(item) {
  if (!item) return;
  const margin = Math.max(item.end - item.start, 2);
  setView(item.start - margin, item.end + margin);
}

const showWhole = () => current && setView(0, current.duration);

/** Bring a span of time into sight, with some room around it. */
function reveal(start, end) {
  const span = view.to - view.from;
  if (start >= view.from && end <= view.to) return;
  if (end - start > span * 0.9) return setView(start - 0.1 * (end - start), end + 0.1 * (end - start));
  const from = start < view.from ? start - 0.1 * span : end - 0.9 * span;
  setView(from, from + span);
}

function showWindow() {
  const box = byId("window"), {duration} = current;
  box.style.left = `${100 * view.from / duration}%`;
  box.style.width = `${100 * (view.to - view.from) / duration}%`;
}

function showPlayhead() {
  const ruler = byId("ruler");
  for (const line of document.querySelectorAll(".playhead")) {
    line.style.left = `${100 * (playhead - view.from) / (view.to - view.from)}%`;
    line.hidden = playhead < view.from || playhead > view.to;
  }
  for (const [label, {at}] of lanes) { // class probabilities there, in %
    const values = current.unpacked?.curves?.get(label), place = playhead / current.duration * values?.length;
    at.textContent = values ? `${Math.round(100 * values[within(Math.floor(place), 0, values.length - 1)])} %` : "";
  }
  byId("playhead-text").textContent = clock(playhead, 2);
  ruler.setAttribute("aria-valuemin", 0);
  ruler.setAttribute("aria-valuemax", current.duration);
  ruler.setAttribute("aria-valuenow", rounded(playhead));
  ruler.setAttribute("aria-valuetext", clock(playhead, 2));
}

/** Move the playhead, and the video with it. */
function setPlayhead(seconds, isOfVideo = false) {
  if (!current) return;
  playhead = within(seconds, 0, current.duration);
  if (!isOfVideo && videoFile()) byId("video").currentTime = playhead;
  showPlayhead();
}


// --- pictures --------------------------------------------------------------------------------------------------------

/** Curves as the page holds them -> rows of 0..1, (count, columns) as Float32Arrays. */
async function unpack(text, count) {
  const packed = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const steps = new Uint8Array(await new Response(stream).arrayBuffer()), columns = steps.length / count;
  return Array.from({length: count}, (_, row) => {
    let value = 0;
    return Float32Array.from(steps.subarray(row * columns, (row + 1) * columns),
                             difference => (value = value + difference & 255) / (data.levels - 1));
  });
}

const unpackedLast = []; // the recordings whose curves are in memory

async function unpackCurves(recording) {
  if (recording.unpacked || !(recording.curves || recording.channels)) return;
  try {
    const {curves, channels} = recording;
    const rows = await Promise.all([curves && unpack(curves.data, curves.classes.length),
                                    channels && unpack(channels.data, channels.names.length)]);
    recording.unpacked = {curves: curves && new Map(curves.classes.map((label, row) => [label, rows[0][row]])),
                          channels: rows[1]};
  } catch {
    notice("old", "This browser is too old to draw the class probabilities; all else works.");
  }
  unpackedLast.push(recording);
  if (unpackedLast.length > MOST_UNPACKED) {
    const oldest = unpackedLast.find(one => one !== current);
    unpackedLast.splice(unpackedLast.indexOf(oldest), 1);
    oldest.unpacked = null;
  }
  if (recording === current) { drawLater(); showPlayhead(); }
}

let drawing = 0;

function drawLater() {
  cancelAnimationFrame(drawing);
  drawing = requestAnimationFrame(() => { drawOverview(); drawRuler(); drawCurves(); drawChannels(); });
}

/** The context of a canvas that is as sharp as the screen, empty, and its size. */
function contextOf(canvas) {
  const box = canvas.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(box.width * ratio));
  canvas.height = Math.max(1, Math.round(box.height * ratio));
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return [context, box.width, box.height];
}

const color = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** The segments of a recording as ticks. */
function drawStrip(canvas, recording, top = 0, bottom = 0) {
  const [context, width, height] = contextOf(canvas);
  context.fillStyle = color("--line");
  if (!bottom) context.fillRect(0, height - 1, width, 1);
  for (const item of shownItems(recording)) {
    const x = item.start / recording.duration * width;
    context.globalAlpha = item.state === "open" ? 0.55 : 1;
    context.fillStyle = classes[item.label].color;
    context.fillRect(x, top, Math.max((item.end - item.start) / recording.duration * width, 1), height - top - bottom);
  }
}

const drawOverview = () => drawStrip(byId("overview").firstElementChild, current, 7, 7);

/** Steps of a time axis that have room for their words. */
function tickStep(span, width) {
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];
  return steps.find(one => one / span * width >= 64) ?? steps.at(-1);
}

function drawRuler() {
  const [context, width, height] = contextOf(byId("ruler").firstElementChild);
  const span = view.to - view.from, each = tickStep(span, width);
  context.fillStyle = color("--quiet");
  context.font = "11px system-ui, sans-serif";
  for (let tick = Math.ceil(view.from / each); tick * each <= view.to; tick++) {
    const x = (tick * each - view.from) / span * width;
    context.fillRect(Math.round(x), height - 7, 1, 7);
    if (x + 40 < width) context.fillText(clock(tick * each, each < 1 ? 1 : 0), x + 3, height - 9);
  }
}

/** The least and the greatest value of a curve at each pixel of what is shown. */
function curveAt(values, width, mark) {
  const columnsPerSec = values.length / current.duration, secPerPixel = (view.to - view.from) / width;
  for (let x = 0; x < width; x++) {
    const first = within(Math.floor((view.from + x * secPerPixel) * columnsPerSec), 0, values.length - 1);
    const last = within(Math.ceil((view.from + (x + 1) * secPerPixel) * columnsPerSec), first + 1, values.length);
    let low = 1, high = 0;
    for (let column = first; column < last; column++) {
      low = Math.min(low, values[column]);
      high = Math.max(high, values[column]);
    }
    mark(x, low, high);
  }
}

/** Class probabilities, beneath the segments of each class. */
function drawCurves() {
  const [context, width] = contextOf(byId("curves")), curves = current.unpacked?.curves;
  if (!curves) return;
  const origin = byId("lanes").getBoundingClientRect().top;
  for (const [label, {track}] of lanes) {
    const values = curves.get(label);
    if (!values) continue;
    const floor = track.getBoundingClientRect().bottom - origin - 2, height = 16;
    const area = new Path2D(), line = new Path2D();
    area.moveTo(0, floor);
    curveAt(values, Math.ceil(width), (x, low, high) => {
      area.lineTo(x, floor - high * height);
      line[x ? "lineTo" : "moveTo"](x + 0.5, floor - high * height);
    });
    area.lineTo(width, floor);
    context.fillStyle = context.strokeStyle = classes[label].color;
    context.globalAlpha = 0.3;
    context.fill(area);
    context.globalAlpha = 1;
    context.lineWidth = 1.2;
    context.stroke(line);
  }
}

function drawChannels() {
  const box = byId("channels"), names = current.channels?.names ?? [];
  box.hidden = !channelsShown();
  if (box.hidden) return;
  byId("channel-names").replaceChildren(...names.map(name => make("div", {textContent: name, title: name})));
  const canvas = byId("channel-curves");
  canvas.style.height = `${36 * names.length}px`;
  canvas.setAttribute("aria-label", `Features over time: ${names.join(", ")}`);
  const [context, width] = contextOf(canvas);
  context.fillStyle = color("--quiet");
  (current.unpacked?.channels ?? []).forEach((values, row) => {
    const floor = 36 * (row + 1) - 3, height = 30;
    let before = null;
    curveAt(values, Math.ceil(width), (x, low, high) => {
      const top = Math.max(high, before ?? high), bottom = Math.min(low, before ?? low);
      context.fillRect(x, floor - top * height, 1, Math.max((top - bottom) * height, 1.2));
      before = (low + high) / 2;
    });
  });
}


// --- segments --------------------------------------------------------------------------------------------------------

function showInspector() {
  const item = preview ?? chosenItem();
  byId("nothing").hidden = Boolean(item);
  byId("selected").hidden = !item;
  if (!item) return;
  byId("class-name").textContent = nameOf(item);
  byId("class").firstElementChild.style.setProperty("--c", classes[item.label].color);
  byId("class").setAttribute("aria-label", `Class: ${nameOf(item)}. Change`);
  byId("class").title = `${nameOf(item)}: change (C)`;
  for (const edge of ["start", "end"]) {
    if (document.activeElement !== byId(edge)) byId(edge).value = clock(item[edge], 2);
    byId(edge).classList.remove("wrong");
    byId(edge).removeAttribute("aria-invalid");
  }
  const score = item.score === null ? "" : `score ${shortScore(item.score)}`;
  const about = [`${rounded(item.end - item.start, 2)} s`, score, stateWords(item)];
  byId("about").textContent = about.filter(Boolean).join(" · ");
  byId("accept").disabled = item.state === "kept";
}

/** Choose a segment; seek: the playhead goes to its start; focus: of the keyboard too. */
function choose(id, {seek = false, focus = false} = {}) {
  chosen = id;
  const item = chosenItem();
  if (item) {
    lastClass = item.label;
    reveal(item.start, item.end);
    if (seek) setPlayhead(item.start);
  }
  showTimeline();
  showInspector();
  if (item && focus) {
    segments.get(id).bar.focus({preventScroll: true});
    segments.get(id).root.scrollIntoView({block: "nearest"});
  }
}

/** The next segment in time, or the one before; only open ones: of those that are not decided. */
function neighbor(direction, isOpenOnly = false) {
  const shown = shownItems(current).filter(item => !isOpenOnly || item.state === "open");
  const from = chosenItem() ?? {start: playhead, end: playhead, label: -1, id: -1};
  const [later, earlier] = [shown.filter(item => item.id !== from.id && inTime(item, from) >= 0),
                            shown.filter(item => item.id !== from.id && inTime(item, from) < 0)];
  return direction > 0 ? later[0] : earlier.at(-1);
}

function chooseNeighbor(direction) {
  const next = current && neighbor(direction);
  if (next) choose(next.id, {seek: true, focus: true});
  else say(direction > 0 ? "No segment after this one" : "No segment before this one");
}

const isInTimeline = () =>
  byId("timeline").contains(document.activeElement) || document.activeElement === document.body;

function accept() {
  const item = chosenItem();
  if (!item) return say("Choose a segment first");
  const next = neighbor(1, true), focus = isInTimeline();
  if (item.state === "open") changeItem(item, {}, `accept ${nameOf(item)}`);
  if (next) choose(next.id, {seek: true, focus});
  else if (focus) choose(item.id, {focus});
}

function remove() {
  const item = chosenItem();
  if (!item) return say("Choose a segment first");
  const next = neighbor(1) ?? neighbor(-1), focus = isInTimeline();
  changeItem(item, {state: "deleted"}, `delete ${nameOf(item)} at ${clock(item.start)}`);
  say(`Deleted ${nameOf(item)} at ${clock(item.start)}`);
  if (next) choose(next.id, {seek: true, focus});
  else { choose(null); if (focus) byId("timeline").focus({preventScroll: true}); }
}

function setClass(label) {
  const item = chosenItem();
  if (!item) return;
  lastClass = label;
  if (item.label !== label || item.state !== "kept")
    changeItem(item, {label}, `change ${nameOf(item)} to ${classes[label].name}`);
  choose(item.id, {focus: true});
  say(`Class: ${classes[label].name}`);
}

function changeClass() {
  const item = chosenItem();
  if (item) pickClass(item.label, setClass);
  else say("Choose a segment first");
}

/** A new segment at the playhead; its class can be changed right away. */
function addAtPlayhead() {
  if (!current) return;
  if (playhead < view.from || playhead > view.to) setPlayhead((view.from + view.to) / 2);
  const length = Math.min(Math.max((view.to - view.from) / 20, 1), current.duration);
  const start = Math.min(playhead, current.duration - length);
  pickClass(lastClass, label => addSegment(label, start, start + length));
}

function addSegment(label, start, end) {
  lastClass = label;
  const id = Math.max(-1, ...current.items.map(one => one.id)) + 1;
  const item = {id, label, start: rounded(start), end: rounded(end), score: null, source: "added", state: "kept"};
  step(`add ${classes[label].name}`, [[current, {items: [...current.items, item]}]]);
  choose(item.id, {focus: true});
  say(`Added ${classes[label].name}, ${clock(start)} to ${clock(end)}`);
}

/** The item with an edge, or the whole of it, at another time: within the recording and never empty. */
function moved(item, edge, seconds) {
  const {duration} = current;
  if (edge === "start") return {...item, start: rounded(within(seconds, 0, item.end - LEAST_SEC))};
  if (edge === "end") return {...item, end: rounded(within(seconds, item.start + LEAST_SEC, duration))};
  const length = item.end - item.start, start = rounded(within(seconds, 0, duration - length));
  return {...item, start, end: rounded(start + length)};
}

/** Shift an edge or the whole by some seconds, as the keys do. */
function shift(edge, seconds) {
  const item = chosenItem();
  if (!item) return;
  const to = moved(item, edge, (edge === "end" ? item.end : item.start) + seconds);
  if (to.start === item.start && to.end === item.end) return;
  const words = `move ${edge === "whole" ? "" : `the ${edge} of `}${nameOf(item)}`;
  changeItem(item, {start: to.start, end: to.end}, words, `${item.id} ${edge}`);
  setPlayhead(edge === "end" ? to.end : to.start);
  reveal(edge === "end" ? to.end : to.start, edge === "start" ? to.start : to.end);
}

function handleKeys(event, edge) {
  const direction = {ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1}[event.key];
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (direction) shift(edge, direction * (event.shiftKey ? LONG_STEP_SEC : STEP_SEC));
  else if (event.key === "Escape" || event.key === "Enter") choose(chosen, {focus: true});
  else return;
  event.preventDefault();
  event.stopPropagation();
}

/** The keyboard takes hold of an edge. */
function hold(edge) {
  const known = segments.get(chosenItem()?.id);
  if (!known) return say("Choose a segment first");
  known[edge].focus({preventScroll: true});
  say(`${edge === "start" ? "Start" : "End"}: ← and → move it, with Shift by a second`);
}

/** A typed time. */
function typed(edge) {
  const item = chosenItem(), input = byId(edge), seconds = secondsOf(input.value);
  if (!item || clock(item[edge], 2) === input.value.trim()) return;
  const isRight = edge === "start" ? seconds >= 0 && seconds < item.end
    : seconds > item.start && seconds <= current.duration;
  input.classList.toggle("wrong", !isRight);
  input.setAttribute("aria-invalid", String(!isRight));
  if (!isRight) return say(Number.isNaN(seconds) ? "A time is written as 62.5 or 1:02.5"
    : `A segment lies between 0:00 and ${clock(current.duration)} and ends after it starts`);
  changeItem(item, {[edge]: rounded(seconds)}, `move the ${edge} of ${nameOf(item)}`);
  setPlayhead(seconds);
  input.value = clock(seconds, 2);
}


// --- mouse -----------------------------------------------------------------------------------------------------------

/** Follow a pointer until it is let go: move(event, far), end(event, far), or cancel() after Escape.
    far: it has moved further than for a click. */
function follow(event, move, end, cancel = () => {}) {
  if (event.button) return;
  const beginning = event.clientX, stop = new AbortController(), {signal} = stop;
  let far = false;
  const on = (kind, handler) => window.addEventListener(kind, handler, {signal, capture: true});
  on("pointermove", next => {
    if (next.pointerId !== event.pointerId) return;
    far ||= Math.abs(next.clientX - beginning) >= DRAG_PX;
    move(next, far);
  });
  on("pointerup", next => {
    if (next.pointerId !== event.pointerId) return;
    stop.abort();
    end(next, far);
  });
  on("pointercancel", () => { stop.abort(); cancel(); });
  on("keydown", next => {
    if (next.key !== "Escape") return;
    next.preventDefault();
    next.stopPropagation();
    stop.abort();
    cancel();
  });
}

function showPreview(item) {
  preview = item;
  showSegment(item ?? chosenItem());
  showInspector();
}

function endPreview(words) {
  const item = preview, before = chosenItem();
  preview = null;
  if (item && before && (item.start !== before.start || item.end !== before.end))
    changeItem(before, {start: item.start, end: item.end}, words);
  else showTimeline();
}

function dragEdge(event, id, edge) {
  event.preventDefault();
  event.stopPropagation();
  if (chosen !== id) choose(id);
  const item = chosenItem(), offset = item[edge] - timeAt(event);
  segments.get(id)[edge].focus({preventScroll: true});
  follow(event,
    next => {
      showPreview(moved(item, edge, rounded(timeAt(next) + offset, 2)));
      setPlayhead(preview[edge]);
    },
    () => endPreview(`move the ${edge} of ${nameOf(item)}`), () => showPreview(null));
}

function dragSegment(event, id) {
  event.stopPropagation();
  if (event.button) return;
  event.preventDefault();
  const item = current.items.find(one => one.id === id), offset = item.start - timeAt(event);
  choose(id, {focus: true});
  follow(event,
    (next, far) => { if (far) showPreview(moved(item, "whole", rounded(timeAt(next) + offset, 2))); },
    (next, far) => {
      if (far) endPreview(`move ${nameOf(item)}`);
      else setPlayhead(item.start);
    }, () => showPreview(null));
}

/** In an empty place of a row: a new segment is drawn, a click moves the playhead. */
function dragInLane(event, label) {
  const beginning = timeAt(event), box = make("div", {className: "drawn"}), {track} = lanes.get(label);
  const span = next => [beginning, timeAt(next)].sort((a, b) => a - b);
  follow(event,
    (next, far) => {
      if (!far) return;
      const [start, end] = span(next);
      track.append(box);
      box.style.left = `${(start - view.from) * pixelsPerSec()}px`;
      box.style.width = `${(end - start) * pixelsPerSec()}px`;
    },
    (next, far) => {
      box.remove();
      const [start, end] = span(next);
      if (far && end - start >= LEAST_SEC) return addSegment(label, rounded(start, 2), rounded(end, 2));
      choose(null);
      setPlayhead(beginning);
    }, () => box.remove());
}

function dragRuler(event) {
  byId("ruler").focus({preventScroll: true});
  setPlayhead(timeAt(event));
  follow(event, next => setPlayhead(timeAt(next)), () => {});
}

function dragOverview(event) {
  const box = byId("overview").getBoundingClientRect(), span = view.to - view.from;
  const at = next => (next.clientX - box.left) / box.width * current.duration;
  const isInside = at(event) >= view.from && at(event) <= view.to;
  const offset = isInside ? view.from - at(event) : -span / 2;
  const go = next => setView(at(next) + offset, at(next) + offset + span);
  if (!isInside) go(event);
  follow(event, go, () => {});
}

function wheel(event) {
  const span = view.to - view.from;
  if (event.ctrlKey || event.metaKey) zoom(Math.exp(-event.deltaY / 300), timeAt(event));
  else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    const by = (event.deltaX || event.deltaY) / tracksBox().width * span;
    setView(view.from + by, view.to + by);
  } else return;
  event.preventDefault();
}


// --- video -----------------------------------------------------------------------------------------------------------

const files = new Map(); // recording -> File
let address = null, playUntil = null;

const videoFile = () => files.get(current);
const stemOf = name => name.split(/[\\/]/).at(-1).replace(/\.[^.]+$/, "").toLocaleLowerCase();

/** Files that were picked, for the recordings that are called like them; one alone: for the current one. */
function takeFiles(picked) {
  const stems = new Map();
  for (const recording of recordings)
    for (const name of [recording.name, `${recording.name}.x`, recording.media]) // .x: a name may end like a suffix
      if (name) stems.set(stemOf(name), recording);
  let count = 0;
  for (const file of picked) {
    const recording = stems.get(stemOf(file.name)) ?? (picked.length === 1 ? current : null);
    if (recording) { files.set(recording, file); count++; }
  }
  say(count ? `${number(count, "file")} of ${picked.length.toLocaleString("en")} for recordings of this page`
            : "No file is called like a recording of this page");
  openVideo();
  showAll();
}

function openVideo() {
  const video = byId("video"), file = videoFile();
  playUntil = null;
  video.pause();
  if (address) URL.revokeObjectURL(address);
  address = file ? URL.createObjectURL(file) : null;
  if (file) video.src = address;
  else { video.removeAttribute("src"); video.load(); }
  video.hidden = byId("speed-label").hidden = byId("drop-video").hidden = !file;
  video.setAttribute("aria-label", file ? `Video of ${current.name}` : "Video");
  byId("choose").textContent = file ? "Another file…" : "Choose video files…";
  byId("player-text").textContent = file ? file.name : files.size ? "None of the files is called like this recording."
    : "Played here and sent nowhere; files are found by the names of the recordings.";
}

function playing() {
  const video = byId("video");
  setPlayhead(video.currentTime, true);
  if (playUntil !== null && video.currentTime >= playUntil) {
    video.pause();
    playUntil = null;
  }
  if (video.paused) return;
  if (playhead > view.to || playhead < view.from) setView(playhead, playhead + view.to - view.from);
  requestAnimationFrame(playing);
}

function togglePlay() {
  const video = byId("video");
  if (!videoFile()) return say("Choose the video file first");
  playUntil = null;
  if (video.paused) video.play().catch(() => {});
  else video.pause();
}

function playSegment() {
  const item = chosenItem();
  if (!item || !videoFile()) return say(item ? "Choose the video file first" : "Choose a segment first");
  setPlayhead(item.start);
  playUntil = item.end;
  byId("video").play().catch(() => {});
}

function startVideo() {
  const video = byId("video");
  video.onplay = () => { video.playbackRate = Number(byId("speed").value); requestAnimationFrame(playing); };
  video.onseeked = video.ontimeupdate = () => { if (videoFile()) setPlayhead(video.currentTime, true); };
  video.onerror = () => {
    if (videoFile()) byId("player-text").textContent = `${videoFile().name}: this browser cannot play it.`;
  };
  video.onloadedmetadata = () => {
    const off = Math.abs(video.duration - current.duration);
    byId("player-text").textContent = videoFile().name + (off > Math.max(2, 0.1 * current.duration)
      ? `: lasts ${clock(video.duration)}, the recording ${clock(current.duration)}. Is it the right one?` : "");
  };
  byId("speed").onchange = () => { video.playbackRate = Number(byId("speed").value); };
  byId("choose").onclick = () => byId("files").click();
  byId("files").onchange = event => { takeFiles([...event.target.files]); event.target.value = ""; };
  byId("drop-video").onclick = () => { files.delete(current); openVideo(); showAll(); };
}


// --- dialogs ---------------------------------------------------------------------------------------------------------

let picking = null, options = [], marked = 0;

/** Ask for a class, or the name of a new one; then(label). */
function pickClass(label, then) {
  picking = then;
  byId("class-search").value = "";
  showOptions(label);
  byId("class-dialog").showModal();
  byId("class-search").focus();
  byId("class-list").children[marked]?.scrollIntoView({block: "nearest"});
}

const simple = text => text.normalize("NFC").trim().replace(/\s+/g, " ");

function showOptions(label = null) {
  const wanted = simple(byId("class-search").value), folded = wanted.toLocaleLowerCase();
  options = classes.map((_, index) => index).filter(index => classes[index].name.toLocaleLowerCase().includes(folded));
  const isNew = wanted && wanted !== AMBIGUOUS && !classes.some(one => one.name.toLocaleLowerCase() === folded);
  if (isNew) options.push(wanted);
  marked = Math.max(0, options.indexOf(label));
  byId("class-list").replaceChildren(...options.map((option, place) => {
    const row = make("li", {id: `class-${place}`, role: "option"},
      ...(typeof option === "number" ? [chip(option), make("span", {textContent: classes[option].name})]
                                     : [make("span", {textContent: `New class: ${option}`})]));
    row.onclick = () => takeOption(place);
    return row;
  }));
  markOption(0);
}

function markOption(by) {
  marked = within(marked + by, 0, options.length - 1);
  [...byId("class-list").children].forEach((row, place) => row.setAttribute("aria-selected", String(place === marked)));
  byId("class-list").children[marked]?.scrollIntoView({block: "nearest"});
  byId("class-search").setAttribute("aria-activedescendant", `class-${marked}`);
}

function takeOption(place) {
  const option = options[place];
  if (option === undefined) return;
  byId("class-dialog").close();
  picking(typeof option === "number" ? option : classOf(option));
}

function startDialogs() {
  byId("class-search").oninput = () => showOptions();
  byId("class-search").onkeydown = event => {
    const by = {ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10}[event.key];
    if (by) markOption(by);
    else if (event.key === "Enter") takeOption(marked);
    else return;
    event.preventDefault();
  };
  for (const dialog of document.querySelectorAll("dialog"))
    dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });
  byId("class-dialog").onclose = () => {
    if (document.activeElement === document.body && chosenItem()) segments.get(chosen).bar.focus({preventScroll: true});
  };
  byId("keys-on").onchange = event => { settings.keys = event.target.checked; keepSettings(); };
  byId("copy").onclick = () => copyCommand();
}

function showHelp() {
  const groups = Map.groupBy ? Map.groupBy(KEYS, key => key.group) : new Map();
  if (!Map.groupBy) for (const key of KEYS) groups.set(key.group, [...(groups.get(key.group) ?? []), key]);
  byId("keys").replaceChildren(...[...groups].map(([group, keys]) => make("div", {}, make("h3", {textContent: group}),
    make("dl", {}, ...keys.filter(key => key.words).flatMap(key => [
      make("dt", {}, ...key.shown.split(" ").flatMap(part => [make("kbd", {textContent: part}), " "])),
      make("dd", {textContent: key.words})])))));
  byId("keys-on").checked = settings.keys;
  byId("help-dialog").showModal();
  byId("help-title").focus(); // at its beginning; `autofocus` would be tried, and complained of, when the page opens
}

async function copyCommand() {
  try {
    await navigator.clipboard.writeText(byId("command").textContent);
    byId("copy").textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(byId("command"));
    byId("copy").textContent = "Selected: copy it with Ctrl+C";
  }
}


// --- files -----------------------------------------------------------------------------------------------------------

/** The annotations: those that the run had, in which the reviewed recordings are replaced. */
function correctedEntry(name, entry) {
  const recording = byName.get(name);
  if (!recording?.reviewed) return entry;
  const kept = recording.items.filter(item => item.state === "kept").sort(inTime);
  const annotations = kept.map(item => {
    const annotation = {segment: [rounded(item.start), rounded(item.end)], label: nameOf(item)};
    return data.classIds ? {...annotation, label_id: idOf(annotation.label)} : annotation;
  });
  const ambiguous = entry.annotations.filter(one => one.label === AMBIGUOUS);
  return {...entry, annotated: true, annotations: [...annotations, ...ambiguous]};
}

const newIds = new Map();

function idOf(name) {
  if (Object.hasOwn(data.classIds, name)) return data.classIds[name];
  if (!newIds.has(name)) newIds.set(name, Math.max(...Object.values(data.classIds)) + newIds.size + 1);
  return newIds.get(name);
}

/** The file as text, a line per recording; written by hand, as objects would put names that are numbers first. */
function correctedText() {
  const lines = pairs => pairs.map(pair => pair.map(one => JSON.stringify(one)).join(": ")).join(",\n");
  const entries = data.database.map(([name, entry]) => [name, correctedEntry(name, entry)]);
  const work = recordings.map(one => [one.name, encode(one)]).filter(([, stored]) => stored);
  return `{"version": "SPOT review",\n"database": {\n${lines(entries)}\n},\n`
    + `"review": {"key": ${JSON.stringify(data.key)}, "recordings": {\n${lines(work)}\n}}}\n`;
}

function download() {
  const blob = new Blob([correctedText()], {type: "application/json"});
  const link = make("a", {href: URL.createObjectURL(blob), download: data.corrected});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  isUnsaved = false;
  const reviewed = recordings.filter(one => one.reviewed).length;
  const begun = recordings.filter(one => isTouched(one) && !one.reviewed).length;
  const given = data.database.filter(([name, entry]) => entry.annotated === true && !byName.get(name)?.reviewed).length;
  byId("saved-text").textContent = `${data.corrected}: ${number(reviewed, "recording")} reviewed`
    + (given ? `, ${given.toLocaleString("en")} labeled before` : "") + ". "
    + (begun ? `Begun, but not marked as reviewed and so not labeled: ${number(begun, "recording")}; the file keeps `
               + "what was done there, to go on with." : "");
  byId("saved-command").hidden = byId("copy").hidden = !data.train;
  byId("command").textContent = data.train ?? "";
  byId("copy").textContent = "Copy the command";
  byId("saved-dialog").showModal();
}

/** Go on with a file that was downloaded here, or on a page of other detections of the same recordings. */
function takeWork(text, name) {
  let content = null;
  try { content = JSON.parse(text); } catch { /* told below */ }
  if (typeof content?.database !== "object" || content.database === null || content.version !== "SPOT review")
    return notice("open", `${name} is not a file that a review page has saved.`);
  const isSame = content.review?.key === data.key, changes = [];
  for (const recording of recordings) {
    const stored = content.review?.recordings?.[recording.name], entry = content.database[recording.name];
    if (isSame && stored) changes.push([recording, decode(recording, stored)]);
    else if (!isSame && stored?.r === 1 && Array.isArray(entry?.annotations))
      changes.push([recording, withAnnotations(recording, entry.annotations)]);
  }
  if (changes.length) step(`open ${name}`, changes);
  makeList();
  say(`${name}: the work on ${number(changes.length, "recording")}`);
}

/** A recording as reviewed with these annotations; those that the model finds just so are its own. */
function withAnnotations(recording, annotations) {
  const left = recording.items.map(item => item.state === "kept" ? {...item, state: "deleted"} : item);
  const isSegment = one => typeof one?.label === "string" && one.label !== AMBIGUOUS && Array.isArray(one.segment)
                           && one.segment.every(Number.isFinite) && one.segment[0] < one.segment[1];
  for (const {label, segment: [start, end]} of annotations.filter(isSegment)) {
    const same = left.findIndex(item => item.state !== "kept" && nameOf(item) === label
                                        && Math.abs(item.start - start) < 0.002 && Math.abs(item.end - end) < 0.002);
    if (same >= 0) left[same] = {...left[same], state: "kept"};
    else left.push({id: left.length, score: null, source: "added", ...itemOf([label, start, end])});
  }
  return {items: left, reviewed: true};
}


// --- keys ------------------------------------------------------------------------------------------------------------

function setThreshold(value) {
  settings.threshold = within(Number(value) || 0, 0, Math.max(topScore, data.threshold ?? 0));
  byId("threshold").value = settings.threshold;
  byId("threshold-value").value = rounded(settings.threshold, 4);
  keepSettings();
  showAll();
}

const stepThreshold = direction => setThreshold(settings.threshold + direction * (topScore || 1) / 50);
const frameSec = () => current?.fps ? 1 / current.fps : STEP_SEC;
const pan = direction => { const by = direction * (view.to - view.from) / 4; setView(view.from + by, view.to + by); };

// event.key, in small letters, with Ctrl+ (or ⌘) and Shift+ before it; where: only there.
const KEYS = [
  {group: "Recordings", keys: ["n"], shown: "N", words: "next recording", run: () => openNeighbor(1)},
  {group: "Recordings", keys: ["p"], shown: "P", words: "recording before", run: () => openNeighbor(-1)},
  {group: "Recordings", keys: ["r"], shown: "R", words: "mark as reviewed, go to the next to do", run: toggleReviewed},
  {group: "Recordings", keys: ["/"], shown: "/", words: "search", run: () => byId("search").select()},
  {group: "Recordings", keys: ["[", "]"], shown: "[ ]", words: "lower, higher score from which on",
   run: event => stepThreshold(event.key === "[" ? -1 : 1)},
  {group: "Segments", keys: ["j", "arrowright"], shown: "J →", words: "next segment", run: () => chooseNeighbor(1)},
  {group: "Segments", keys: ["k", "arrowleft"], shown: "K ←", words: "segment before", run: () => chooseNeighbor(-1)},
  {group: "Segments", keys: ["a", "enter"], shown: "A Enter", words: "accept, go to the next open one", run: accept},
  {group: "Segments", keys: ["x", "delete", "backspace"], shown: "X Delete", words: "delete", run: remove},
  {group: "Segments", keys: ["c"], shown: "C", words: "change the class", run: changeClass},
  {group: "Segments", keys: ["1", "2", "3", "4", "5", "6", "7", "8", "9"], shown: "1 … 9", words: "class of that row",
   run: event => { const label = [...lanes.keys()][Number(event.key) - 1]; if (label !== undefined) setClass(label); }},
  {group: "Segments", keys: ["s"], shown: "S", words: "hold the start: ← → move it by 0.1 s, with Shift by 1 s",
   run: () => hold("start")},
  {group: "Segments", keys: ["e"], shown: "E", words: "hold the end", run: () => hold("end")},
  {group: "Segments", keys: ["shift+arrowleft", "shift+arrowright"], shown: "Shift+← Shift+→",
   words: "move the segment by 0.1 s", run: event => shift("whole", event.key === "ArrowLeft" ? -STEP_SEC : STEP_SEC)},
  {group: "Segments", keys: ["i"], shown: "I", words: "add one at the playhead", run: addAtPlayhead},
  {group: "View", keys: ["+", "="], shown: "+", words: "zoom in (Ctrl and wheel too)", run: () => zoom(1.6)},
  {group: "View", keys: ["-"], shown: "−", words: "zoom out", run: () => zoom(1 / 1.6)},
  {group: "View", keys: ["0"], shown: "0", words: "whole recording", run: showWhole},
  {group: "View", keys: ["f"], shown: "F", words: "zoom to the segment (double click too)",
   run: () => zoomTo(chosenItem())},
  {group: "View", keys: ["pageup", "pagedown"], shown: "PgUp PgDn", words: "earlier, later (Shift and wheel too)",
   run: event => pan(event.key === "PageUp" ? -1 : 1)},
  {group: "Video", keys: [" "], shown: "Space", words: "play, pause", run: togglePlay},
  {group: "Video", keys: ["shift+ "], shown: "Shift+Space", words: "play the segment", run: playSegment},
  {group: "Video", keys: [",", "."], shown: ", .", words: "playhead back, on by a frame",
   run: event => setPlayhead(playhead + (event.key === "," ? -1 : 1) * frameSec())},
  {group: "Work", keys: ["z", "ctrl+z"], shown: "Z", words: "undo", run: undo},
  {group: "Work", keys: ["shift+z", "ctrl+shift+z", "ctrl+y"], shown: "Shift+Z", words: "redo", run: redo},
  {group: "Work", keys: ["d", "ctrl+s"], shown: "D", words: "download the annotations", run: download},
  {group: "Work", keys: ["?"], shown: "?", words: "this help", run: showHelp},
  {group: "Work", keys: ["escape"], shown: "Esc", words: "no segment, back to the timeline",
   run: () => { choose(null); byId("timeline").focus({preventScroll: true}); }},
];
const KEY_OF = new Map(KEYS.flatMap(key => key.keys.map(name => [name, key])));

function onKey(event) {
  const target = event.target;
  const isTyping = target.matches?.("input:not([type=range]):not([type=checkbox]), select, textarea");
  if (!event.key || event.altKey || document.querySelector("dialog[open]")) return;
  const isCtrl = event.ctrlKey || event.metaKey, letter = event.key.toLowerCase();
  const withShift = event.shiftKey && (letter.length > 1 || letter === " " || /[a-z]/.test(letter));
  const key = KEY_OF.get(`${isCtrl ? "ctrl+" : ""}${withShift ? "shift+" : ""}${letter}`);
  const isOff = !settings.keys && !isCtrl && letter.length === 1 && letter !== " ";
  if (!key || isOff || (isTyping && !(isCtrl && letter === "s"))) return;
  // What a control does with a key itself comes first.
  const isControl = target.matches?.("button:not(.bar), input, summary, video, a");
  if (isControl && [" ", "enter", "arrowleft", "arrowright", "pageup", "pagedown"].includes(letter)) return;
  event.preventDefault();
  key.run(event);
}

function listKeys(event) {
  const by = {ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8, Home: -Infinity, End: Infinity}[event.key];
  if (by === undefined || !listed.length || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  event.stopPropagation();
  openRecording(listed[within(listed.indexOf(current) + by, 0, listed.length - 1)]);
}

function rulerKeys(event) {
  const by = {ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1}[event.key];
  if (by) setPlayhead(playhead + by * (event.shiftKey ? LONG_STEP_SEC : STEP_SEC));
  else if (event.key === "Home") setPlayhead(0);
  else if (event.key === "End") setPlayhead(current.duration);
  else return;
  reveal(playhead, playhead);
  event.preventDefault();
  event.stopPropagation();
}

function inputKeys(event, edge) {
  const by = {ArrowUp: STEP_SEC, ArrowDown: -STEP_SEC}[event.key];
  if (by) {
    shift(edge, by);
    event.target.value = clock(chosenItem()[edge], 2);
  } else if (event.key === "Enter") typed(edge);
  else if (event.key === "Escape") { event.target.value = clock(chosenItem()[edge], 2); choose(chosen, {focus: true}); }
  else return;
  event.preventDefault();
  event.stopPropagation();
}


// --- beginning -------------------------------------------------------------------------------------------------------

function start() {
  document.title = `Review · ${data.run}`;
  byId("run").textContent = data.run + (data.subset ? ` · ${data.subset}` : "");
  restore();
  const highest = Math.max(topScore, data.threshold ?? 0) || 1;
  byId("threshold").max = byId("threshold-value").max = highest;
  byId("threshold-value").step = "any";
  byId("threshold-run").textContent = data.threshold === null ? "Default" : `Run: ${rounded(data.threshold, 3)}`;
  byId("threshold-run").title = data.threshold === null
    ? "The run has no threshold of its own: half of the highest score" : `Chosen on ${data.chosenOn}`;
  const actions = {
    undo, redo, download, help: showHelp, open: () => byId("open-file").click(), reset: startOver,
    reviewed: toggleReviewed, accept, delete: remove, class: changeClass, add: addAtPlayhead,
    "zoom-in": () => zoom(1.6), "zoom-out": () => zoom(1 / 1.6), "zoom-all": showWhole,
    "threshold-run": () => setThreshold(firstThreshold),
    "channels-shown": () => { settings.channels = !channelsShown(); keepSettings(); showAll(); },
  };
  for (const [id, run] of Object.entries(actions)) byId(id).onclick = () => run();
  byId("open-file").onchange = async event => {
    const [file] = event.target.files;
    if (file) takeWork(await file.text(), file.name);
    event.target.value = "";
  };
  byId("threshold").oninput = event => setThreshold(event.target.value);
  byId("threshold-value").onchange = event => setThreshold(event.target.value);
  byId("search").oninput = () => { byId("list").scrollTop = 0; makeList(); };
  for (const name of ["sort", "filter"]) {
    byId(name).value = settings[name];
    byId(name).onchange = event => {
      settings[name] = event.target.value;
      keepSettings();
      byId("list").scrollTop = 0;
      makeList();
    };
  }
  for (const edge of ["start", "end"]) {
    byId(edge).onchange = () => typed(edge);
    byId(edge).onkeydown = event => inputKeys(event, edge);
  }
  byId("list").onscroll = showList;
  byId("list").onkeydown = listKeys;
  byId("ruler").onpointerdown = dragRuler;
  byId("ruler").onkeydown = rulerKeys;
  byId("overview").onpointerdown = dragOverview;
  byId("timeline").addEventListener("wheel", wheel, {passive: false});
  document.addEventListener("keydown", onKey);
  new ResizeObserver(() => { if (current) { showTimeline(); showList(); } }).observe(byId("ruler"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    if (current) { drawLater(); showList(); }
  });
  window.addEventListener("beforeunload", event => { if (isUnsaved) event.preventDefault(); });
  window.addEventListener("storage", event => { // the same page in another window
    const recording = event.key?.startsWith(PREFIX) && recordings[event.key.slice(PREFIX.length)];
    if (recording) { Object.assign(recording, decode(recording, read(String(recording.index)))); showAll(); }
  });
  startVideo();
  startDialogs();
  makeList();
  setThreshold(settings.threshold);
  openRecording(byName.get(settings.current) ?? listed.find(isTodo) ?? listed[0] ?? recordings[0]);
}

start();
