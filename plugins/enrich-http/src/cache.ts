/** Answers by key: at most so many, each for so long; what was used longest ago goes first. */
export class Cache<Value> {
  // A Map keeps its entries in the order in which they were put.
  #entries = new Map<string, { value: Value; until: number }>();

  constructor(
    private readonly size: number,
    private readonly ms: number,
    private readonly now: () => number,
  ) {}

  get(key: string): Value | undefined {
    const entry = this.#entries.get(key);
    if (!entry) return undefined;
    this.#entries.delete(key);
    if (entry.until <= this.now()) return undefined;
    this.#entries.set(key, entry);
    return entry.value;
  }

  put(key: string, value: Value): void {
    if (this.size === 0) return;
    this.#entries.delete(key);
    this.#entries.set(key, { value, until: this.now() + this.ms });
    if (this.#entries.size > this.size) {
      const oldest = this.#entries.keys().next().value;
      if (oldest !== undefined) this.#entries.delete(oldest);
    }
  }
}
