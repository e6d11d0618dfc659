// The page: puts connection, picture and a person's hands together.

import "./style.css";
import { Connection, type Request, type State } from "./connection";
import { Decoder } from "./decoder";
import { FlatView } from "./flat";
import { Headset } from "./headset";
import { Look, takesText } from "./look";
import { Crowd } from "./crowd";
import { findings } from "./selftest";
import { Shot, standAt, type Told } from "./shot";
import { glassOf, Stage } from "./stage";
import type { View } from "./view";
import { STAGES, type Frame, type Unknown, type Words } from "./wire";

const EXAMPLES = [
  "two pirate ships battling each other as they sail inside a cup of coffee",
  "a red rubber duck drifting in a bathtub at dusk",
  "a lighthouse on the open sea in a storm",
  "three paper boats sailing on a lake at sunrise",
  "a snowman next to a house in a snowy field, orbiting",
  "a toy car and a blue ball rolling on a tabletop, close-up",
];
const LOOKS_PER_SECOND = 30;
const POSES_PER_SECOND = 20;
const RATE_OVER = 20;

const STATE_WORDS: Record<State, string> = {
  connecting: "connecting",
  building: "building the world",
  live: "live",
  stalled: "waiting for frames",
  restarting: "the world is being brought back",
  lost: "reconnecting",
};

function find<T extends HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

const picture = find<HTMLCanvasElement>("picture");
const prompt = find<HTMLInputElement>("prompt");
const mode = find<HTMLSelectElement>("mode");
const notice = find("notice");
const timings = find("timings");
const gentle = matchMedia("(prefers-reduced-motion: reduce)").matches;
const look = new Look();
look.listen(picture);
const shot = new Shot();
const decoder = new Decoder((failed) => connection.askKey(failed));
const gl = glassOf(picture);
const stage = gl && new Stage(picture, gl, find<HTMLCanvasElement>("glow"), find("stage"), decoder, shot, stand);
const headset = stage && new Headset(stage, shot, gentle);
const view: View = stage ?? new FlatView(picture, find<HTMLCanvasElement>("glow"), find("stage"), decoder);
picture.classList.toggle("flat", stage === null);
const arrivals: number[] = [];
let state: State = "connecting";
let people = 1;
let quality: Extract<Words, { type: "quality" }> | null = null;
let across = 0;
let steering = true;

const connection = new Connection(asked(), { onState, onFrame, onWords });
const crowd = new Crowd(connection, subtitle);
if (stage) stage.people = () => crowd.figures(performance.now() / 1e3);

/** Where the person stands on the flat screen. */
function stand(now: number) {
  look.step(now, pads());
  return standAt(shot.at(now), look.yaw, look.pitch, look.place);
}

function pads(): (Gamepad | null)[] {
  return document.hasFocus() ? [...navigator.getGamepads()] : [];
}

function tell(news: Told): void {
  if (connection.send({ type: "look", ...news, across }) && steering) shot.tell(news);
}

function asked(): Request {
  const address = new URLSearchParams(location.search);
  const seed = address.get("seed");
  return {
    prompt: address.get("prompt"),
    seed: seed !== null && /^\d{1,15}$/.test(seed) ? Number(seed) : null,
    mode: address.get("mode"),
  };
}

function ask(words: string, seed: number | null = null): void {
  hideNotice();
  look.reset();
  connection.join({ prompt: words, seed, mode: mode.value || null });
  picture.focus({ preventScroll: true });
}

function onState(next: State): void {
  state = next;
  if (next !== "live") arrivals.length = 0;
  document.body.dataset.state = next;
  find("state").dataset.state = next;
  find("veil").firstElementChild!.textContent = next === "live" ? "" : `${STATE_WORDS[next]} …`;
  if (headset) headset.stalled = next !== "live";
  headset?.say(next === "live" ? "" : `${STATE_WORDS[next]} …`, next === "live" ? 0 : 600);
  showState();
}

/** Tells what happens in the world's own picture, flat or around. */
function subtitle(words: string, seconds = 6): void {
  const line = find("subtitle");
  line.textContent = words;
  line.hidden = words === "";
  headset?.say(words, seconds);
  clearTimeout(Number(line.dataset.timer));
  line.dataset.timer = String(setTimeout(() => (line.hidden = true), 1e3 * seconds));
}

function showState(): void {
  const parts = [STATE_WORDS[state]];
  if (state === "live") {
    parts.push(`${rate().toFixed(0)} frames/s`);
    if (people > 1) parts.push(`${people} people`);
    if (!steering) parts.push("someone else looks around");
    if (quality && quality.fallen > 0) parts.push(`quality ${quality.fallen} below full`);
    if (connection.stalls > 0) parts.push(`${connection.stalls} stall${connection.stalls > 1 ? "s" : ""}`);
  }
  const text = find("state").lastElementChild!;
  const words = parts.join(" · ");
  if (text.textContent !== words) text.textContent = words;
}

function rate(): number {
  const first = arrivals[0];
  const last = arrivals.at(-1);
  return first !== undefined && last !== undefined && last > first ? (1e3 * (arrivals.length - 1)) / (last - first) : 0;
}

async function onFrame(frame: Frame): Promise<void> {
  let stages = {};
  try {
    const clocks = await view.draw(frame);
    if (clocks === null) return;
    const offset = connection.clock.offset;
    if (offset !== null) {
      const [receive, total] = [frame.received + offset - frame.sent, performance.now() + offset - frame.begun];
      stages = { receive: Math.max(0, receive), decode: clocks[0], draw: clocks[1], total: Math.max(0, total) };
    }
    arrivals.push(performance.now());
    if (arrivals.length > RATE_OVER) arrivals.shift();
    if (!timings.hidden) showTimings(frame, clocks);
  } finally {
    connection.send({ type: "ack", frame: frame.id, ...stages });
  }
}

function showTimings(frame: Frame, [decode, draw]: [number, number]): void {
  const rows: [string, number][] = STAGES.map((name, i) => [name === "decode" ? "" : name, frame.timings[i] ?? 0]);
  const trip = rows.pop()!;
  rows.push(["unpack", decode], ["draw", draw], ["sum", 0]);
  rows[rows.length - 1]![1] = rows.reduce((sum, [, value]) => sum + value, 0);
  timings.replaceChildren(
    ...[...rows, trip]
      .filter(([name]) => name)
      .flatMap(([name, value]) => [element("dt", name), element("dd", `${value.toFixed(1)} ms`)]),
    ...(stage
      ? [element("dt", "reproject"), element("dd", `${stage.cost.milliseconds.toFixed(1)} ms`)]
      : []),
    ...qualityRows().flatMap(([name, value]) => [element("dt", name), element("dd", value)]),
    element("dt", "frame"),
    element("dd", String(frame.id)),
    element("dt", "tick"),
    element("dd", String(frame.tick)),
  );
}

/** What the world is shown with, and what was lost on the way. */
function qualityRows(): [string, string][] {
  if (!quality) return [];
  const { width, height, steps, fps, kilobits, late, skipped, fallen } = quality;
  return [
    ["quality", fallen ? `${fallen} below full` : "full"],
    ["size", `${width}×${height}`],
    ["evaluations", String(steps)],
    ["rate", `${fps.toFixed(0)}/s, ${kilobits} kb/s`],
    ["late", String(late)],
    ["skipped", String(skipped)],
    ["stalls", String(connection.stalls)],
  ];
}

function onWords(words: Words): void {
  crowd.hear(words);
  if (words.type === "steering") {
    const before = steering;
    ({ people, steering } = words);
    if (!steering) shot.ride();
    else if (!before) tell(look.told);
    if (steering !== before) subtitle(steering ? "you look around" : "someone else looks around");
    showState();
  } else if (words.type === "world") {
    begin(words);
  } else if (words.type === "quality") {
    quality = words;
  } else if (words.type === "news") {
    subtitle(words.message);
  } else if (words.type === "error") {
    showNotice(words.message, words.unknown ?? [], true);
    if (words.code !== "message" && words.code !== "world") revive();
  }
}

function begin(world: Extract<Words, { type: "world" }>): void {
  const name = `${world.prompt}\n${world.seed}\n${world.mode}`;
  if (stage) stage.lens = world.lens;
  across = wanted(performance.now() / 1e3);
  if (name !== picture.dataset.name) {
    // Not after a mere reconnect: what was seen holds, and the person stays where the feet are.
    picture.dataset.name = name;
    look.reset();
    look.pace = world.pace;
    shot.restart(world.pace);
    headset?.recentre();
    subtitle(world.prompt);
    view.begin(true);
  } else {
    view.begin(false);
  }
  tell(look.told);
  if (document.activeElement !== prompt) prompt.value = world.prompt;
  prompt.dataset.seed = world.seed;
  document.title = `${world.prompt} · Elsewhere`;
  picture.setAttribute("aria-label", `${world.prompt}. Drag to look around.`);
  const seed = Number(world.seed);
  const request = { prompt: world.prompt, seed: Number.isSafeInteger(seed) ? seed : null, mode: world.mode };
  connection.remember(request);
  const address = new URLSearchParams({ prompt: world.prompt, seed: world.seed, mode: world.mode });
  history.replaceState(null, "", `?${address}`);
  if (world.unknown.length) showNotice("Not everything was understood.", world.unknown, false);
  else if (world.notes.length) showNotice(world.notes.join(". "), [], false);
}

/** A world that could not be had leaves the last one running, if there is one. */
function revive(): void {
  if (picture.dataset.frame !== undefined) onState("live");
}

function showNotice(message: string, unknown: Unknown[], grave: boolean): void {
  notice.classList.toggle("grave", grave);
  notice.replaceChildren(
    element("p", message),
    ...unknown.map(({ word, nearest }) => {
      const button = element("button", `${word} → ${nearest}`);
      button.title = `Write ${nearest} instead of ${word}`;
      button.onclick = () => {
        prompt.value = prompt.value.replace(new RegExp(escape(word), "i"), nearest);
        ask(prompt.value);
      };
      return button;
    }),
  );
  const close = element("button", "×");
  close.className = "close";
  close.setAttribute("aria-label", "Close this notice");
  close.onclick = hideNotice;
  notice.append(close);
  notice.hidden = false;
}

function hideNotice(): void {
  notice.hidden = true;
}

function element<K extends keyof HTMLElementTagNameMap>(tag: K, text: string): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

function escape(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}

function toggle(id: string, apply: (on: boolean) => void): void {
  const button = find<HTMLButtonElement>(id);
  button.onclick = () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    apply(on);
  };
}

find<HTMLFormElement>("ask").onsubmit = (event) => {
  event.preventDefault();
  ask(prompt.value);
};
find<HTMLButtonElement>("again").onclick = () => ask(prompt.value, Math.floor(Math.random() * 1e9));
mode.onchange = () => {
  const seed = Number(prompt.dataset.seed);
  ask(prompt.value, Number.isSafeInteger(seed) ? seed : null);
};
toggle("show-timings", (on) => (timings.hidden = !on));
toggle("show-depth", (on) => view.showDepth(on));
toggle("show-smooth", (on) => view.smooth(on));
toggle("show-check", (on) => void selfTest(on));
view.smooth(stage !== null);
find("show-smooth").setAttribute("aria-pressed", String(stage !== null));
find("examples").append(
  ...EXAMPLES.map((example) => {
    const button = element("button", example);
    button.type = "button";
    button.onclick = () => {
      prompt.value = example;
      ask(example);
    };
    return button;
  }),
);
document.body.dataset.state = state;
find("veil").firstElementChild!.textContent = "connecting …";

setInterval(() => {
  const now = performance.now() / 1e3;
  if (stage === null) look.step(now, pads());
  let news = headset?.inside ? headset.news(now) : look.news();
  const wider = wanted(now);
  if (Math.abs(wider - across) > 0.01) {
    across = wider;
    news ??= headset?.inside ? null : look.told;
  }
  if (news !== null) tell(news);
}, 1e3 / LOOKS_PER_SECOND);
setInterval(() => {
  const head = headset?.inside ? (headset.body?.head ?? null) : (stage?.eyes ?? null);
  if (head) crowd.stand(head, headset?.body?.hands ?? [], performance.now() / 1e3);
}, 1e3 / POSES_PER_SECOND);
setInterval(showState, 500);

/** Radians across the picture that is asked for: wider than the view, so that turning the head has something to show. */
function wanted(now: number): number {
  return headset?.inside ? headset.across : (stage?.across(now) ?? 0);
}

async function selfTest(on: boolean): Promise<void> {
  const list = find("check");
  list.hidden = !on;
  if (!on) return;
  list.replaceChildren(element("li", "trying …"));
  list.replaceChildren(
    ...(await findings(gl)).map(({ part, good, words }) => {
      const line = element("li", "");
      line.className = good;
      line.append(element("b", part), ` ${words}`);
      return line;
    }),
  );
}

// Hints only for hands that are there.
find("touch-hint").hidden = navigator.maxTouchPoints < 2;
addEventListener("gamepadconnected", () => (find("pad-hint").hidden = false));
addEventListener("gamepaddisconnected", () => (find("pad-hint").hidden = !pads().some(Boolean)));

if (headset) {
  const offer = async () => {
    const possible = await Headset.possible();
    find("enter").hidden = !possible;
    find("comfort").hidden = !possible;
  };
  void offer();
  navigator.xr?.addEventListener("devicechange", () => void offer());
  const go = () => {
    headset.enter().catch((failure: unknown) => showNotice(`The headset did not open. ${String(failure)}`, [], true));
  };
  find("enter").onclick = () => (headset.inside ? headset.leave() : go());
  headset.onChange = (inside) => {
    find("enter").textContent = inside ? "Leave VR" : "Enter VR";
    document.body.classList.toggle("inside", inside);
    if (!inside) tell(look.told);
  };
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") headset.leave();
    if (takesText(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.code === "KeyV" && !find("enter").hidden && !headset.inside) go();
    if (event.code === "KeyR" && headset.inside) headset.recentre();
  });
  const turn = find<HTMLSelectElement>("turn");
  turn.onchange = () => (headset.smoothTurn = turn.value === "smooth");
  const stance = find<HTMLSelectElement>("stance");
  stance.onchange = () => {
    headset.seated = stance.value === "seated";
    headset.recentre();
  };
}
