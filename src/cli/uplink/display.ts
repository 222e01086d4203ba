import type { WriteStream } from 'node:tty';
import type { AgentEvent } from '../../uplink/agent/agent.ts';
import type { Tally } from '../../uplink/agent/conversation.ts';

/** What the person, or the script, sees of an agent. */
export interface Display {
  show(event: AgentEvent): void;
  /** What the local server writes on its stderr. */
  serverOutput(chunk: Buffer): void;
  /** The last words. */
  end(exitCode: number, message: string): void;
}

/** One JSON object a line, for scripts; what the server writes goes to our stderr. */
export function jsonDisplay(connection: string): Display {
  const print = (object: object) => process.stdout.write(`${JSON.stringify(object)}\n`);
  return {
    show: (event) => print({ ...event, connection }),
    serverOutput: (chunk) => process.stderr.write(chunk),
    end: (exitCode, message) => print({ event: 'ended', connection, exitCode, message }),
  };
}

/** One line for each change, where nobody watches. */
export function plainDisplay(connection: string): Display {
  const isNews = newsOnly();
  return {
    show(event) {
      if (isNews(event)) console.log(`${connection}: ${textOf(event)}`);
    },
    serverOutput: (chunk) => process.stderr.write(chunk),
    end: (exitCode, message) => {
      if (exitCode === 0) console.log(`${connection}: ${message}`);
      else console.error(`patchbay: ${message}`);
    },
  };
}

const redrawMs = 250;
const styles = { green: '\u001b[32m', yellow: '\u001b[33m', dim: '\u001b[2m', none: '\u001b[0m' };

/** A line at the bottom of a terminal that is kept up to date; all else scrolls above it. */
export function liveDisplay(
  connection: string,
  terminal: WriteStream,
  tallyOf: () => Tally,
  colours: boolean,
): Display {
  const paint = (style: keyof typeof styles, text: string) =>
    colours ? `${styles[style]}${text}${styles.none}` : text;
  let state: { style: 'green' | 'yellow'; text: string } = { style: 'yellow', text: 'starting' };
  const clear = () => terminal.write('\r\u001b[K');
  const draw = () => {
    const { open, answered, lastMs } = tallyOf();
    const latency =
      lastMs === undefined ? '' : ` · last ${lastMs < 10 ? lastMs.toFixed(1) : Math.round(lastMs)} ms`;
    const counts = `${answered} answered · ${open} open${latency}`;
    // In one line: a second one would stay when the first is written anew.
    const width = Math.max(20, terminal.columns ?? 80) - 3;
    const text = state.text.slice(0, width);
    const rest = `  ${connection} · ${counts}`.slice(0, width - text.length);
    terminal.write(`\r\u001b[K${paint(state.style, '●')} ${text}${paint('dim', rest)}`);
  };
  const isNews = newsOnly();
  const timer = setInterval(draw, redrawMs);
  const above = (write: () => void) => {
    clear();
    write();
    draw();
  };
  return {
    show(event) {
      if (event.event === 'paired') state = { style: 'green', text: 'paired' };
      else if (event.event !== 'warning') state = { style: 'yellow', text: textOf(event) };
      if (event.event === 'paired' || !isNews(event)) draw();
      else above(() => terminal.write(`${textOf(event)}\n`));
    },
    serverOutput: (chunk) => above(() => process.stderr.write(chunk)),
    end(exitCode, message) {
      clearInterval(timer);
      clear();
      if (exitCode === 0) terminal.write(`${message}\n`);
      else process.stderr.write(`patchbay: ${message}\n`);
    },
  };
}

/** Tells what is new from one more try that ended as the one before: a long outage must not fill the screen. */
function newsOnly(): (event: AgentEvent) => boolean {
  let lastReason: string | undefined;
  return (event) => {
    const reason = event.event === 'lost' ? event.reason : undefined;
    const isSame = reason !== undefined && reason === lastReason;
    lastReason = reason;
    return !isSame;
  };
}

/** Without what a terminal would take for commands: a part of it may be the words of a server. */
function textOf(event: AgentEvent): string {
  return wordsOf(event).replaceAll(/\p{Cc}/gu, ' ');
}

function wordsOf(event: AgentEvent): string {
  switch (event.event) {
    case 'starting':
      return `starts ${event.server}`;
    case 'paired':
      return 'paired';
    case 'lost':
      return `not paired: ${event.reason}; again in ${seconds(event.retryMs)}`;
    case 'server_ended':
      return `the local server stopped: ${event.reason}; again in ${seconds(event.retryMs)}`;
    case 'warning':
      return event.text;
  }
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}
