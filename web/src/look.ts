// Where the person looks: mouse, touch and keys become yaw, pitch and a place. It does not know who is told.

const TURN_PER_WIDTH = 1.6; // radians for a drag across the picture
const TURN_SPEED = 1.1; // radians a second while an arrow key is down
const PITCH_MOST = 1.4;

const MOVES: Record<string, [number, number, number]> = {
  KeyW: [0, 0, -1],
  KeyS: [0, 0, 1],
  KeyA: [-1, 0, 0],
  KeyD: [1, 0, 0],
  KeyE: [0, 1, 0],
  KeyQ: [0, -1, 0],
};
const TURNS: Record<string, [number, number]> = {
  ArrowLeft: [1, 0],
  ArrowRight: [-1, 0],
  ArrowUp: [0, 1],
  ArrowDown: [0, -1],
};

export class Look {
  yaw = 0;
  pitch = 0;
  /** Metres walked from where the shot stands: right, up and back in the shot's own axes. */
  private place: [number, number, number] = [0, 0, 0];
  /** Metres a second: worlds differ in size. */
  pace = 1;
  private readonly held = new Set<string>();
  private changed = false;

  constructor(element: HTMLElement) {
    element.addEventListener("pointerdown", (event) => {
      element.setPointerCapture(event.pointerId);
      element.classList.add("held");
    });
    for (const end of ["pointerup", "pointercancel"]) {
      element.addEventListener(end, () => element.classList.remove("held"));
    }
    element.addEventListener("pointermove", (event) => {
      if (!element.hasPointerCapture(event.pointerId)) return;
      const scale = TURN_PER_WIDTH / element.clientWidth;
      this.turn(event.movementX * scale, event.movementY * scale);
    });
    addEventListener("keydown", (event) => this.press(event));
    addEventListener("keyup", (event) => this.held.delete(event.code));
    addEventListener("blur", () => this.held.clear());
  }

  /** Back to where the shot looks. */
  reset(): void {
    this.yaw = this.pitch = 0;
    this.place = [0, 0, 0];
    this.changed = true;
  }

  /** Applies the keys held for `seconds`; gives the message to send, or null when nothing changed. */
  step(seconds: number): object | null {
    for (const code of this.held) {
      const turn = TURNS[code];
      if (turn) this.turn(turn[0] * TURN_SPEED * seconds, turn[1] * TURN_SPEED * seconds);
      const move = MOVES[code];
      if (move) this.move(move, this.pace * seconds);
    }
    if (!this.changed) return null;
    this.changed = false;
    return { type: "look", yaw: this.yaw, pitch: this.pitch, offset: this.turned(this.place, -this.yaw) };
  }

  private press(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey || takesText(event.target)) return;
    if (event.code === "KeyR") this.reset();
    if (event.code in MOVES || event.code in TURNS) {
      this.held.add(event.code);
      event.preventDefault();
    }
  }

  private turn(yaw: number, pitch: number): void {
    this.yaw = wrap(this.yaw + yaw);
    this.pitch = Math.max(-PITCH_MOST, Math.min(PITCH_MOST, this.pitch + pitch));
    this.changed = true;
  }

  private move(direction: [number, number, number], distance: number): void {
    this.turned(direction, this.yaw).forEach((value, i) => (this.place[i]! += value * distance));
    this.changed = true;
  }

  /** The server takes offsets in axes that turn with the head; the person stays where the feet are. */
  private turned([x, y, z]: [number, number, number], yaw: number): [number, number, number] {
    const [c, s] = [Math.cos(yaw), Math.sin(yaw)];
    return [c * x + s * z, y, c * z - s * x];
  }
}

function wrap(angle: number): number {
  return Math.atan2(Math.sin(angle), Math.cos(angle));
}

function takesText(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.closest("input, select, textarea") !== null;
}
