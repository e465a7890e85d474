/** An object is named like one of ours, but has other content. A retry would fail too. The message names it. */
export class NotOursError extends Error {
  override readonly name = 'NotOursError';
  readonly key: string;

  constructor(key: string, problem: string, options?: ErrorOptions) {
    super(`${key} ${problem}`, options);
    this.key = key;
  }
}
