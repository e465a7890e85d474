import { withoutBrackets } from './address.ts';

const DEFAULT_PORTS: Record<string, number> = {
  'http:': 80,
  'https:': 443,
  'rtsp:': 554,
  'rtsps:': 322,
  'rtmp:': 1935,
  'rtmps:': 443,
  'mqtt:': 1883,
  'mqtts:': 8883,
};

/** Hosts to which a source may refer: its own host and port, and the hosts that its owner names. */
export class AllowedHosts {
  readonly #own: { host: string; port: number };
  readonly #named: Set<string>;

  /**
   * @param url the URL of the source
   * @param named `host`, on any port, or `host:port`
   */
  constructor(url: URL, named: readonly string[] = []) {
    this.#own = { host: plain(url.hostname), port: portOf(url) };
    this.#named = new Set(named.map((one) => one.toLowerCase()));
  }

  /** @param host a name or an address, IPv6 with or without brackets */
  allows(host: string, port: number): boolean {
    const name = plain(host);
    if (name === this.#own.host) {
      // A camera on HTTP may refer to its own address on TLS.
      if (port === this.#own.port || (this.#own.port === 80 && port === 443)) return true;
    }
    const bracketed = name.includes(':') ? `[${name}]` : name;
    return this.#named.has(name) || this.#named.has(bracketed) || this.#named.has(`${bracketed}:${port}`);
  }
}

/** Port of an address; without one, that of its scheme, or 0 if that has none. */
export function portOf({ protocol, port }: URL): number {
  return port === '' ? (DEFAULT_PORTS[protocol] ?? 0) : Number(port);
}

function plain(host: string): string {
  return withoutBrackets(host).toLowerCase();
}
