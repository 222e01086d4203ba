import type { IncomingHttpHeaders } from 'node:http';
import { Client, type Dispatcher } from 'undici';
import { reportReady } from './duties.ts';
import { cpuMicros, percentile, rssBytes } from './measure.ts';

/** The same requests over and over on each connection; the next one goes out when the answer is there. */
export interface Job {
  origin: string;
  /** The process whose CPU and memory are counted. */
  pid: number;
  connections: number;
  warmUpSeconds: number;
  seconds: number;
  /** One after the other they are one call; a session that the first one opens is that of the others. */
  requests: readonly RequestTemplate[];
}

export interface RequestTemplate {
  method: 'GET' | 'POST';
  path: string;
  /** Flat list of names and values. */
  headers: string[];
  /** The JSON-RPC message around its id; undefined for GET. */
  body: { beforeId: string; afterId: string; ids: 'unique' | 'same' } | undefined;
  /** Text that a right answer holds, besides status 200 and the id; a notification has none, and gets 202. */
  expected: string | undefined;
}

export interface LoadResult {
  calls: number;
  requestsPerSecond: number;
  p50Ms: number;
  p99Ms: number;
  cpuMicrosPerCall: number;
  /** How much of its one core the process used; well below 1, the generator or the caller's waiting was the limit. */
  coreShare: number;
  rssBytes: number;
  errors: number;
  firstError: string | undefined;
}

/** The load of one job, shared by its connections. */
class Load {
  readonly job: Job;
  readonly #latencies: number[] = [];
  #measuring = false;
  #errors = 0;
  #firstError: string | undefined;
  stopped = false;
  #lastId = 0;

  constructor(job: Job) {
    this.job = job;
  }

  async run(): Promise<LoadResult> {
    const { pid, connections, warmUpSeconds, seconds } = this.job;
    const opened = Array.from({ length: connections }, () => new Connection(this));
    for (const connection of opened) connection.next();
    await sleep(warmUpSeconds);
    const cpuBefore = cpuMicros(pid);
    const startedAt = performance.now();
    this.#measuring = true;
    await sleep(seconds);
    this.#measuring = false;
    const elapsedMs = performance.now() - startedAt;
    const cpu = cpuMicros(pid) - cpuBefore;
    this.stopped = true;
    await Promise.all(opened.map((connection) => connection.close()));
    const calls = this.#latencies.length;
    return {
      calls,
      requestsPerSecond: (calls / elapsedMs) * 1000,
      p50Ms: percentile(this.#latencies, 0.5),
      p99Ms: percentile(this.#latencies, 0.99),
      cpuMicrosPerCall: cpu / calls,
      coreShare: cpu / (elapsedMs * 1000),
      rssBytes: rssBytes(pid),
      errors: this.#errors,
      firstError: this.#firstError,
    };
  }

  /** JSON text of the next request's id. Equal ids of many callers are what a shared session must tell apart. */
  nextId({ body }: RequestTemplate): string {
    return body?.ids === 'unique' ? `"bench-${++this.#lastId}"` : '1';
  }

  answered(latencyMs: number): void {
    if (this.#measuring) this.#latencies.push(latencyMs);
  }

  failed(reason: string): void {
    this.#errors++;
    this.#firstError ??= reason;
  }
}

/** One connection; its own handler again and again, because the generator shares its core with the upstream. */
class Connection implements Dispatcher.DispatchHandler {
  readonly #load: Load;
  readonly #client: Client;
  #sentAt = 0;
  #step = 0;
  #session: string[] = [];
  #id = '';
  #status = 0;
  #text = '';

  constructor(load: Load) {
    this.#load = load;
    this.#client = new Client(load.job.origin, { pipelining: 1 });
  }

  next(): void {
    if (this.#load.stopped) return;
    this.#step = 0;
    this.#session = [];
    this.#sentAt = performance.now();
    this.#send();
  }

  #send(): void {
    const template = this.#template;
    const { method, path, headers, body } = template;
    this.#id = this.#load.nextId(template);
    this.#text = '';
    const text =
      body && (template.expected === undefined ? body.beforeId : body.beforeId + this.#id + body.afterId);
    const sent = this.#session.length > 0 ? [...headers, ...this.#session] : headers;
    this.#client.dispatch({ method, path, headers: sent, body: text ?? null }, this);
  }

  get #template(): RequestTemplate {
    return this.#load.job.requests[this.#step] as RequestTemplate;
  }

  close(): Promise<void> {
    // What is under way ends first.
    return this.#client.close();
  }

  onRequestStart(): void {}

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    { 'mcp-session-id': session }: IncomingHttpHeaders,
  ): void {
    this.#status = status;
    if (typeof session === 'string') this.#session = ['mcp-session-id', session];
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    // Answers are ASCII, so a character is never split between chunks.
    this.#text += chunk.toString('latin1');
  }

  onResponseEnd(): void {
    if (!this.#isRight()) {
      this.#load.failed(`answered ${this.#status} ${this.#text.slice(0, 300)}`);
      return this.next();
    }
    this.#step++;
    if (this.#load.stopped) return;
    if (this.#step < this.#load.job.requests.length) return this.#send();
    this.#load.answered(performance.now() - this.#sentAt);
    this.next();
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#load.failed(String(error));
    setImmediate(() => this.next());
  }

  #isRight(): boolean {
    const { body, expected } = this.#template;
    if (expected === undefined) return this.#status === 202;
    if (this.#status !== 200 || !this.#text.includes(expected)) return false;
    // Of events, the last one is the answer.
    const json = this.#text.startsWith('{')
      ? this.#text
      : this.#text.slice(this.#text.lastIndexOf('data: ') + 6);
    return !body || JSON.stringify((JSON.parse(json) as { id: unknown }).id) === this.#id;
  }
}

function sleep(seconds: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, seconds * 1000);
  });
}

process.on('message', (job: Job) => {
  new Load(job).run().then(
    (result) => process.send?.(result),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});
reportReady(0);
