/** A request that can't be served, with its HTTP status. */
export class HttpError extends Error {
  override readonly name = 'HttpError';
  readonly statusCode: number;
  /** The setting that was exceeded, when one was. */
  readonly limit: string | undefined;

  constructor(statusCode: number, message: string, limit?: string) {
    super(message);
    this.statusCode = statusCode;
    this.limit = limit;
  }
}
