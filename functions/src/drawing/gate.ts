/** Limits the total weight of the work that runs at the same time. Other work waits in its order. */
export class Gate {
  readonly #limit: number;
  readonly #waiting: { weight: number; begin: () => void }[] = [];
  #inWork = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Runs the work once its weight fits into the limit. Work that is heavier than the limit runs alone. */
  async run<Result>(weight: number, work: () => Promise<Result>): Promise<Result> {
    await new Promise<void>((begin) => {
      this.#waiting.push({ weight, begin });
      this.#admit();
    });
    try {
      return await work();
    } finally {
      this.#inWork -= weight;
      this.#admit();
    }
  }

  #admit(): void {
    for (let next = this.#waiting[0]; next; next = this.#waiting[0]) {
      if (this.#inWork > 0 && this.#inWork + next.weight > this.#limit) return;
      this.#waiting.shift();
      this.#inWork += next.weight;
      next.begin();
    }
  }
}
