// The server's clock as this browser sees it. It does not know what it is used for.

const KEPT = 8;

export class Clock {
  private readonly samples: [number, number][] = [];

  /** A question asked at `asked` (performance.now()) was answered with the server's `server`, heard at `heard`. */
  heard(asked: number, server: number, heard: number): void {
    this.samples.push([heard - asked, server - (asked + heard) / 2]);
    if (this.samples.length > KEPT) this.samples.shift();
  }

  /** Milliseconds from performance.now() to the server's clock, by the quickest answer; null when there is none. */
  get offset(): number | null {
    if (this.samples.length === 0) return null;
    return this.samples.reduce((best, next) => (next[0] < best[0] ? next : best))[1];
  }
}
