// The panel of those who are here: names, mute, block and the host's rights, own camera, voice, and things that happen.

import type { Connection } from "./connection";
import { turnOf } from "./figures";
import { People, hueOf, type Figure } from "./people";
import { positionOf, type Matrix, type Vector } from "./pose";
import type { Person } from "./protocol";
import { Voice } from "./voice";
import type { Words } from "./wire";

const NAME_KEPT = "elsewhere.name";
const HAPPENINGS: [string, string, Record<string, number>][] = [
  ["Rain", "rain", { amount: 0.8 }],
  ["Dry", "rain", { amount: 0 }],
  ["Wind", "wind", { speed: 9 }],
  ["Calm", "wind", { speed: 0 }],
  ["Splash", "splash", {}],
  ["Push", "push", { body: 0, y: 1 }],
];

export class Crowd {
  private readonly people = new People();
  private readonly voice: Voice;
  private readonly panel = document.getElementById("people")!;
  private readonly list = document.getElementById("who")!;
  private told = "";

  constructor(
    private readonly connection: Connection,
    private readonly subtitle: (words: string) => void,
  ) {
    this.voice = new Voice((person, data) => connection.send({ type: "signal", person, data }));
    this.bindName();
    this.bindToggle("show-people", (on) => (this.panel.hidden = !on));
    this.bindToggle("own-camera", (on) => connection.send({ type: "camera", own: on }));
    this.bindToggle("voice", (on) => void this.talk(on));
    document.getElementById("happen")!.append(
      ...HAPPENINGS.map(([words, action, values]) =>
        button(words, `Let it happen: ${words.toLowerCase()}`, () => connection.send({ type: "happen", action, arguments: values })),
      ),
    );
  }

  figures(now: number): Figure[] {
    return this.people.figures(now);
  }

  /** Tells where this person is: a head in the world, and hands. */
  stand(head: Matrix, hands: readonly Vector[], now: number): void {
    this.voice.place(this.people.figures(now), head);
    if (this.people.others.length === 0) return;
    const round = (value: number) => Math.round(1e3 * value) / 1e3;
    const place = {
      position: positionOf(head).map(round),
      turn: turnOf(head).map(round),
      hands: hands.flatMap((hand) => hand.map(round)),
    };
    const words = JSON.stringify(place);
    if (words !== this.told && this.connection.send({ type: "pose", ...place })) this.told = words;
  }

  hear(words: Words): void {
    switch (words.type) {
      case "world":
        this.people.begin(words.you);
        this.press("own-camera", false);
        this.told = "";
        if (this.voice.on) this.connection.send({ type: "voice", on: true });
        this.show();
        break;
      case "people": {
        const { came, left } = this.people.set(words.people);
        for (const person of came) this.subtitle(`${this.people.name(person.id)} is here`);
        for (const person of left) this.subtitle(`${person.name || `Guest ${person.id}`} has left`);
        this.told = ""; // who came anew does not know where one is
        this.meet();
        this.show();
        break;
      }
      case "heads":
        this.people.see(words.heads, performance.now() / 1e3);
        break;
      case "signalled":
        void this.voice.hear(words.person, words.data);
        break;
      case "news":
        if (words.what === "camera") this.press("own-camera", words.message.startsWith("You have a camera"));
        break;
    }
  }

  private meet(): void {
    this.voice.meet(this.people.you, this.people.others, this.people.muted);
  }

  private async talk(on: boolean): Promise<void> {
    if (on) {
      try {
        await this.voice.start();
      } catch (failure) {
        this.press("voice", false);
        this.subtitle(`No microphone. ${failure instanceof Error ? failure.message : ""}`);
        return;
      }
    } else {
      this.voice.stop();
    }
    this.connection.send({ type: "voice", on });
    this.meet();
  }

  private show(): void {
    const rows = this.people.list.map((person) => this.row(person));
    for (const [id, name] of this.people.blocked) {
      const row = document.createElement("li");
      row.append(label(`${name} (blocked)`), button("Unblock", `See ${name} again`, () => this.block(id, name, false)));
      rows.push(row);
    }
    this.list.replaceChildren(...rows);
    const count = this.people.others.length;
    document.getElementById("show-people")!.textContent = count ? `People (${count + 1})` : "People";
  }

  private row(person: Person): HTMLLIElement {
    const row = document.createElement("li");
    const name = this.people.name(person.id);
    const marks = [person.id === this.people.you && "you", person.host && "host", person.watch_only && "watching", person.voice && "voice"];
    const words = [name, ...marks.filter(Boolean)].join(" · ");
    row.append(label(words, hueOf(person.id)));
    if (person.id === this.people.you) return row;
    const muted = this.people.muted.has(person.id);
    row.append(
      button(muted ? "Unmute" : "Mute", `${muted ? "Hear" : "Do not hear"} ${name}`, () => {
        if (!this.people.muted.delete(person.id)) this.people.muted.add(person.id);
        this.meet();
        this.show();
      }),
      button("Block", `Neither see nor be seen by ${name}`, () => this.block(person.id, name, true)),
    );
    if (this.people.hosting) {
      row.append(button("Show out", `Show ${name} out of this world`, () => this.connection.send({ type: "remove", person: person.id })));
    }
    return row;
  }

  private block(person: number, name: string, blocked: boolean): void {
    if (blocked) this.people.blocked.set(person, name);
    else this.people.blocked.delete(person);
    this.connection.send({ type: "block", person, blocked });
    this.show();
  }

  private bindName(): void {
    const field = document.getElementById("name") as HTMLInputElement;
    const watching = document.getElementById("watch-only") as HTMLInputElement;
    try {
      field.value = localStorage.getItem(NAME_KEPT) ?? "";
    } catch {
      // A browser that keeps nothing is asked again next time.
    }
    this.connection.who.name = field.value;
    const change = () => {
      this.connection.who.name = field.value.trim();
      this.connection.who.watch_only = watching.checked;
      try {
        localStorage.setItem(NAME_KEPT, this.connection.who.name);
      } catch {
        // The same.
      }
      this.connection.rejoin();
    };
    field.onchange = watching.onchange = change;
  }

  private bindToggle(id: string, apply: (on: boolean) => void): void {
    const made = document.getElementById(id)!;
    made.onclick = () => {
      const on = made.getAttribute("aria-pressed") !== "true";
      this.press(id, on);
      apply(on);
    };
  }

  private press(id: string, on: boolean): void {
    document.getElementById(id)!.setAttribute("aria-pressed", String(on));
  }
}

function label(words: string, hue?: number): HTMLSpanElement {
  const made = document.createElement("span");
  made.textContent = words;
  if (hue !== undefined) made.style.setProperty("--hue", `${Math.round(360 * hue)}deg`);
  return made;
}

function button(words: string, title: string, act: () => void): HTMLButtonElement {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = words;
  made.title = title;
  made.onclick = act;
  return made;
}
