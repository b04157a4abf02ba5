// Every write carries an Idempotency-Key. When an answer is lost, pressing the button again sends the same key, so
// that nothing happens twice; once an answer has arrived, the next press is a new wish with a new key.

export function randomKey(): string {
  // Not randomUUID: it is missing on plain http, where a server in a private network may well be.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class IdempotencyKeys {
  private readonly open = new Map<string, string>();

  constructor(private readonly make: () => string = randomKey) {}

  /** The key of this very write: the one that is still unanswered, or a fresh one. */
  keyFor(signature: string): string {
    let key = this.open.get(signature);
    if (key === undefined) {
      key = this.make();
      this.open.set(signature, key);
    }
    return key;
  }

  /** An answer arrived. Only a server that could not tell (5xx, 429) leaves the wish open. */
  answered(signature: string, status: number): void {
    if (status < 500 && status !== 429) this.open.delete(signature);
  }
}
